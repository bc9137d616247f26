"""A variational autoencoder of the rows of a table, whose columns are distributed each in its own way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError, DataError
from vaefast.models.column_likelihoods import ColumnLikelihoods
from vaefast.models.diagnostics import collapse_terms
from vaefast.models.doors import takes_codes
from vaefast.models.latent_model import LatentModel
from vaefast.models.posterior import DiagonalGaussian
from vaefast.nets.own import own_network
from vaefast.ops import HALF_LOG_2PI

LogPrior = Callable[[Tensor], Tensor]
"""Codes [B, k] -> log density, [B]."""


class TableVAE(LatentModel):
    """q(z|x) = N(mu, diag s^2) of the entries of x that are there, p(x|z) a product over the columns, p(z) = N(0, I).

    A plain `nn.Module`: `model(x)` returns the loss and its terms. Rows x are float [B, C], NaN where an entry is missing;
    numbers standardised, counts as they are, words as their index, booleans as 0 and 1 (`vaefast.data.Schema` makes such of
    frames).

    Args:
        encoder: module (x with 0 where nothing is, [B, C]; what is there, bool [B, C]) -> (mu, raw), such as
            `vaefast.nets.TableEncoder`.
        decoder: module z -> [B, likelihoods.width].
        likelihoods: of the columns.
        latent_dim: k.
        beta: weight of the KL; a buffer, which a stage's `ramps` can schedule.

    Raises:
        ArgumentError: beta below 0.

    Source: the bound of the entries that are there: Nazabal et al. 2020, "Handling Incomplete Heterogeneous Data using VAEs",
    equation 4; Mattei & Frellsen 2019, "MIWAE", equation 3 with one sample.
    """

    beta: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, likelihoods: ColumnLikelihoods, *, latent_dim: int,
                 beta: float = 1.0) -> None:
        super().__init__()
        if isinstance(beta, bool) or not 0 <= beta < math.inf:
            raise ArgumentError(f"beta is {beta!r}; expected 0 or more.")
        self.encoder, self.decoder = own_network("encoder", encoder), own_network("decoder", decoder)
        self.likelihoods, self.latent_dim, self.sync = likelihoods, latent_dim, False
        self.data_shape = (len(likelihoods.order),)
        self.register_buffer("beta", torch.tensor(float(beta)), persistent=False)

    @property
    def _like(self) -> Tensor:
        return self.beta

    def _rows(self, x: Any) -> tuple[Tensor, Tensor]:
        """Rows with 0 where nothing is, and what is there."""
        if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1:] != self.data_shape or not x.is_floating_point():
            got = f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise ArgumentError(f"the rows are {got}; expected a tensor of floats [B, {self.data_shape[0]}], NaN where an entry "
                                "is missing.")
        x = x.to(self.beta)
        there = ~x.isnan()
        return torch.where(there, x, 0), there

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """q(z|x) of rows [B, C], NaN where an entry is missing: its `mean`, `std` and `sample(generator)` are [B, k]."""
        return self._posterior(self.encoder(*self._rows(x)))

    @takes_codes
    def decode(self, z: Tensor) -> Tensor:
        """Rows [B, C] of codes [B, k]: the mean of numbers and counts, the most probable word or boolean."""
        return self.likelihoods.best(self._decode_raw(z))

    @takes_codes
    def draw(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """x ~ p(x|z) of codes [B, k], [B, C]."""
        return self.likelihoods.draw(self._decode_raw(z), generator)

    def reconstruct(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Rows decoded from a *drawn* code of each row, [B, C]."""
        return self.decode(self.encode(x).sample(generator))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n rows, [n, C]: codes of the prior, and x ~ p(x|z) of each. Without the columns' noise they would be no rows."""
        return self.draw(self.prior(n, generator), generator)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) in nats of rows [B, C], of the entries that are there, given codes [B, k]: [B]."""
        rows, there = self._rows(x)
        return -self.likelihoods.nll(rows, self._decode_raw(z), there)

    def log_prior(self, z: Tensor) -> Tensor:
        """log N(z; 0, I) of codes [B, k], [B]."""
        return -(0.5 * z.square() + HALF_LOG_2PI).sum(1)

    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the negative ELBO of rows [B, C], in nats per row (batch means), of standardised numbers.

        Returns scalars `loss` = `reconstruction` + beta `kl`, with gradient, and, detached, those of `collapse_terms`.

        Raises:
            DataError: no rows.
        """
        rows, there = self._rows(x)
        if not len(rows):
            raise DataError("the batch has no rows; a loss is a mean over rows.")
        posterior = self._posterior(self.encoder(rows, there))
        z, kl = posterior.sample_and_kl(generator)
        reconstruction, kl = self.likelihoods.nll(rows, self._decode_raw(z), there).mean(), kl.mean()
        return {"loss": torch.addcmul(reconstruction, self.beta, kl), "reconstruction": reconstruction, "kl": kl,
                **collapse_terms(posterior, self.sync)}

    forward = loss

    @torch.no_grad()
    def bound(self, x: Tensor, samples: int = 64, generator: torch.Generator | None = None,
              log_prior: LogPrior | None = None) -> Tensor:
        """Lower bound of log p(x) in nats of rows [B, C], of the entries that are there, float64 [B]; it rises with `samples`.

        log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x) with z_k ~ q(z|x): Burda, Grosse & Salakhutdinov 2016, equation 8; of the entries
        that are there, Mattei & Frellsen 2019, equation 4. `log_prior` is that of codes in the place of N(0, I).
        """
        posterior, prior = self.encode(x), log_prior or self.log_prior
        total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=posterior.mean.device)
        for _ in range(samples):
            z = posterior.sample(generator)
            total = torch.logaddexp(total, (self.log_likelihood(x, z) + prior(z) - posterior.log_prob(z)).double())
        return total - math.log(samples)
