"""What the KL term of a trained encoder is made of, in nats."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .. import ops
from ..errors import ArgumentError
from .mutual_information import checked_posteriors


class KlDecomposition(NamedTuple):
    """kl = mutual_information + total_correlation + dimension_wise_kl, all in nats an image."""

    kl: float
    mutual_information: float  # of image and latent; at most log n: a value near that means "at least"
    total_correlation: float  # how dependent the dimensions of the aggregate posterior are
    dimension_wise_kl: float  # of the aggregate posterior's marginals to N(0, 1), summed
    per_dimension_kl: Tensor  # its terms, float64 [k]
    exact_kl: float  # mean KL(q(z | x) || N(0, I)) in closed form, what `kl` estimates
    n: int  # images


@torch.no_grad()
def kl_decomposition(mean: Tensor, std: Tensor, *, draws: int = 1, seed: int = 0) -> KlDecomposition:
    """Mutual information, total correlation and dimension-wise KL of the posteriors N(mean_i, diag(std_i^2)) of n images.

    Args:
        mean, std: [n, k], n >= 2; std > 0.
        draws: samples of every posterior; the estimates are averaged. The mixture of all n posteriors is evaluated at each,
            so the cost grows with draws n^2 k.
        seed: of the samples.

    Returns:
        `KlDecomposition`, by `vaefast.ops.elbo_surgery` (Hoffman & Johnson 2016; Chen et al. 2018), with the aggregate
        posterior of these n images: of a part of a data set, the mutual information is at most that of the part.

    Raises:
        ArgumentError: shapes that do not fit, fewer than two images, NaN, infinity, std <= 0, draws < 1.
    """
    mean, std = checked_posteriors(mean, std)
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ArgumentError(f"draws is {draws!r}; expected an int >= 1.")
    log_std = std.log()
    rng = torch.Generator().manual_seed(seed)
    sums = None
    for _ in range(draws):
        noise = torch.randn(mean.shape, generator=rng, dtype=torch.float64).to(mean)
        terms = ops.elbo_surgery(mean + noise * log_std.exp(), mean, log_std, param="logstd")
        part = [terms.kl, terms.mutual_information, terms.total_correlation, terms.dimension_wise_kl, terms.per_dimension_kl]
        sums = part if sums is None else [a + b for a, b in zip(sums, part, strict=True)]
    assert sums is not None
    exact = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1).mean()
    kl, information, correlation, dimension_wise, per_dimension = (value / draws for value in sums)
    return KlDecomposition(float(kl), float(information), float(correlation), float(dimension_wise),
                           per_dimension.cpu().double(), float(exact), len(mean))
