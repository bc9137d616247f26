"""Maximum mean discrepancy between latents and N(0, I), with the seven-scale inverse multiquadratic kernel.

    k(a, b) = sum over C of C / (C + |a - b|^2),   C = 2 k {0.1, 0.2, 0.5, 1, 2, 5, 10} at latent dimension k

(Tolstikhin et al. 2018, WAE; METHODS section 3.1. The scales are summed, not averaged.) Judge it by ratios and by
the value of two independent samples of N(0, I), not by its absolute size (METHODS section 1.13).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ArgumentError

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_TILE = 256  # pairs are visited in tiles of 256 x 256: 0.5 MB in float64 stays in a core's cache, whatever n is


@torch.no_grad()
def mmd2_imq(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD between two samples, summed over seven scales; it can come out slightly negative.

    Args:
        x: [N, k], N >= 2, any float dtype.
        y: [M, k], M >= 2.

    Returns:
        MMD^2. Float64 throughout, in tiles: memory does not grow with N * M.

    Raises:
        ArgumentError: shapes that do not fit, fewer than two rows, NaN or infinity.
    """
    x, y = _checked(x), _checked(y)
    if x.shape[1] != y.shape[1]:
        raise ArgumentError(f"Cannot compare samples of {x.shape[1]} and {y.shape[1]} dimensions.")
    y = y.to(x.device)
    centre = x.mean(0)  # distances do not see it, and |a|^2 + |b|^2 - 2ab keeps more digits near the origin
    x, y = x - centre, y - centre
    n, m = len(x), len(y)
    within = _mean_kernel_within(x) + _mean_kernel_within(y)
    return within - 2 * sum(_kernel_sum(a, b) for a in x.split(_TILE) for b in y.split(_TILE)) / (n * m)


def latent_mmd(z: Tensor, seed: int = 0, blocks: int = 5) -> dict[str, float]:
    """Squared MMD between latents and as many fresh draws of N(0, I).

    Args:
        z: latents [N, k], N >= 2 * blocks.
        seed: of the fresh draws.
        blocks: parts that the standard error is estimated from, >= 2.

    Returns:
        "value": `mmd2_imq` of all N latents; "standard_error": that of the mean over the blocks' own estimates,
        which is on the safe side for the value; "reference": the value of two independent samples of N(0, I) of
        the same size, what a perfect match looks like.

    Raises:
        ArgumentError: too few latents for the blocks, wrong shape, NaN or infinity.
    """
    z = _checked(z)
    n, k = z.shape
    if blocks < 2 or n < 2 * blocks:
        raise ArgumentError(f"latent_mmd needs blocks >= 2 of at least 2 latents each, got {blocks} for {n} latents.")
    rng = torch.Generator().manual_seed(seed)
    prior, second = (torch.randn(n, k, generator=rng, dtype=torch.float64).to(z.device) for _ in range(2))
    parts = torch.tensor([mmd2_imq(a, b) for a, b in zip(z.chunk(blocks), prior.chunk(blocks), strict=True)])
    return {
        "value": mmd2_imq(z, prior),
        "standard_error": float(parts.std() / len(parts) ** 0.5),
        "reference": mmd2_imq(prior, second),
    }


def _mean_kernel_within(x: Tensor) -> float:
    """Mean kernel over ordered pairs of different rows."""
    n, tiles, total = len(x), x.split(_TILE), 0.0
    for i, a in enumerate(tiles):
        for j in range(i, len(tiles)):
            total += _kernel_sum(a, tiles[j], same=i == j) * (1 if i == j else 2)
    return (total - n * len(SCALES)) / (n * (n - 1))


def _kernel_sum(a: Tensor, b: Tensor, same: bool = False) -> float:
    d2 = torch.addmm(a.square().sum(1)[:, None] + b.square().sum(1), a, b.T, alpha=-2).clamp_(min=0)
    if same:
        d2.fill_diagonal_(0)
    work, total = torch.empty_like(d2), 0.0
    for scale in SCALES:
        c = 2 * a.shape[1] * scale
        total = total + c * torch.add(d2, c, out=work).reciprocal_().sum()
    return float(total)


def _checked(x: Tensor) -> Tensor:
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise ArgumentError(f"A sample must be [rows, dimensions] with at least 2 rows, got {tuple(x.shape)}.")
    # Apple GPUs have no float64.
    x = x.detach().to("cpu" if x.device.type == "mps" else x.device).to(torch.float64)
    if not torch.isfinite(x).all():
        raise ArgumentError("The sample holds NaN or infinity.")
    return x
