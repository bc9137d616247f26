"""Maximum mean discrepancy between latents and N(0, I), with the seven-scale inverse multiquadratic kernel.

    k(a, b) = sum over C of C / (C + |a - b|^2),   C = 2 k {0.1, 0.2, 0.5, 1, 2, 5, 10} at latent dimension k

(Tolstikhin et al. 2018, WAE, and its code. The scales are summed, not averaged.) Judge it by ratios and by
the value of two independent samples of N(0, I), not by its absolute size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import ops
from ..errors import ArgumentError
from .precision import float64


@torch.no_grad()
def mmd2_imq(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD between two samples, summed over seven scales; it can come out slightly negative.

    Args:
        x: [N, k], N >= 2, any float dtype.
        y: [M, k], M >= 2.

    Returns:
        MMD^2 by `vaefast.ops.mmd2`, in float64.

    Raises:
        ArgumentError: shapes that do not fit, fewer than two rows, NaN or infinity.
    """
    x, y = _checked(x), _checked(y)
    if x.shape[1] != y.shape[1]:
        raise ArgumentError(f"Cannot compare samples of {x.shape[1]} and {y.shape[1]} dimensions.")
    return float(ops.mmd2(x, y.to(x.device)))


def latent_mmd(z: Tensor, seed: int = 0, blocks: int = 5, confidence: float = 0.95) -> dict[str, float]:
    """Squared MMD between latents and as many fresh draws of N(0, I).

    Args:
        z: latents [N, k], N >= 2 * blocks.
        seed: of the fresh draws.
        blocks: parts that the standard error is estimated from, >= 2.
        confidence: of the interval, in (0, 1).

    Returns:
        "value": `mmd2_imq` of all N latents; "standard_error": that of the mean over the blocks' own estimates, which is on
        the safe side for the value; "low" and "high": the value less and plus so many standard errors as Student's t with
        blocks - 1 degrees of freedom asks for at this confidence; "reference": the value of two independent samples of
        N(0, I) of the same size, what a perfect match looks like.

    Raises:
        ArgumentError: too few latents for the blocks, wrong shape, NaN or infinity.
    """
    z = _checked(z)
    n, k = z.shape
    if blocks < 2 or n < 2 * blocks:
        raise ArgumentError(f"latent_mmd needs blocks >= 2 of at least 2 latents each, got {blocks} for {n} latents.")
    if not 0 < confidence < 1:
        raise ArgumentError(f"confidence is {confidence!r}; expected a number between 0 and 1.")
    rng = torch.Generator().manual_seed(seed)
    prior, second = (torch.randn(n, k, generator=rng, dtype=torch.float64).to(z.device) for _ in range(2))
    parts = torch.tensor([mmd2_imq(a, b) for a, b in zip(z.chunk(blocks), prior.chunk(blocks), strict=True)])
    value, error = mmd2_imq(z, prior), float(parts.std() / len(parts) ** 0.5)
    reach = _student_t(len(parts) - 1, confidence) * error
    return {
        "value": value,
        "standard_error": error,
        "low": value - reach,
        "high": value + reach,
        "reference": mmd2_imq(prior, second),
    }


def _student_t(degrees: int, confidence: float) -> float:
    """t with P(|T| < t) = confidence, for Student's t of whole degrees of freedom.

    Source: Abramowitz & Stegun, 26.7.3 and 26.7.4: the probability is a finite sum in theta = atan(t / sqrt(degrees)), inverted
    here by halving.
    """
    def within(theta: float) -> float:
        sine, cosine = math.sin(theta), math.cos(theta)
        odd = degrees % 2
        term, total = (cosine if odd else 1.0), 0.0
        for power in range(1 + odd, degrees, 2):
            total += term
            term *= cosine**2 * power / (power + 1)
        return (theta + sine * total) * 2 / math.pi if odd else sine * total

    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _checked(x: Tensor) -> Tensor:
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise ArgumentError(f"A sample must be [rows, dimensions] with at least 2 rows, got {tuple(x.shape)}.")
    x = float64(x)
    if not torch.isfinite(x).all():
        raise ArgumentError("The sample holds NaN or infinity.")
    return x
