"""Missing entries of rows, drawn given those that are there: a Markov chain between codes and missing entries.

Each pass draws z ~ q(z | row as it is filled), then the missing entries from p(x|z): pseudo-Gibbs sampling (Rezende, Mohamed &
Wierstra 2014, appendix F). As q is not the posterior, the chain's distribution is not p(missing | there), unless a new z is kept
with the probability of Metropolis and Hastings: Mattei & Frellsen 2018, "Leveraging the Exact Likelihood of Deep Latent Variable
Models", algorithm 2. The first passes are without it, to leave the start behind.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vaefast.models.table_vae import LogPrior, TableVAE


class Imputed(NamedTuple):
    """Rows [B, C] with nothing missing."""

    drawn: Tensor
    """A draw of the missing entries, the last pass's."""
    best: Tensor
    """Numbers, counts: the mean of E[x|z] over the passes; words and booleans: the most frequent draw."""


@torch.no_grad()
def impute(model: TableVAE, x: Tensor, *, passes: int = 100, burn_in: int = 20, generator: torch.Generator | None = None,
           log_prior: LogPrior | None = None) -> Imputed:
    """Fill what is missing of rows [B, C] (NaN), each with a chain of its own.

    Args:
        passes: of the corrected chain, 1 or more.
        burn_in: passes before them, uncorrected.
        log_prior: of codes, [B, k] -> [B]; N(0, I) if None.
    """
    like, prior = model.likelihoods, log_prior or model.log_prior
    x = x.to(model.beta)
    missing = x.isnan()
    z = model.encode(x).sample(generator)
    filled = torch.where(missing, model.draw(z, generator), x)
    discrete = like.discrete
    mean = torch.zeros_like(x, dtype=torch.float64)
    votes = [torch.zeros(len(x), size, dtype=torch.long, device=x.device) for size in like.values]
    for number in range(burn_in + passes):
        posterior = model.encode(filled)
        new = posterior.sample(generator)
        if number >= burn_in:
            old_odds, new_odds = (model.log_likelihood(filled, c) + prior(c) - posterior.log_prob(c) for c in (z, new))
            uniform = torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype)
            new = torch.where((uniform.log() < new_odds - old_odds)[:, None], new, z)
        z = new
        filled = torch.where(missing, model.draw(z, generator), x)
        if number >= burn_in:
            mean += like.mean(model._decode_raw(z)).double()
            for vote, column in zip(votes, discrete):
                vote.scatter_add_(1, filled[:, column, None].long(), torch.ones_like(vote[:, :1]))
    best = (mean / passes).to(x.dtype)
    for vote, column in zip(votes, discrete):
        best[:, column] = vote.argmax(1).to(x.dtype)
    return Imputed(filled, torch.where(missing, best, x))
