"""How much images that share a code differ: what a decoder of fixed Gaussian noise must blur."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ArgumentError
from .mutual_information import checked_posteriors


class PixelVariance(NamedTuple):
    """At each of G codes z, under q(x|z) over the images; float64, on the CPU."""

    variance: Tensor  # V(z), [G]: sum over pixels of Var[x], [0, 1] scale; the least E|x - g|^2 of all pictures g
    mean: Tensor  # m(z) = E[x], [G, *shape]: the g that attains it
    images: Tensor  # exp of the entropy of the weights, [G]: of about how many images m(z) is an average


@torch.no_grad()
def pixel_variance(mean: Tensor, std: Tensor, images: Tensor, grid: Tensor, *, block: int = 2048) -> PixelVariance:
    """Mean and total variance of the images that could have had each code, exactly over the set.

    Weights w_i(z) are proportional to q(z | x_i), as of images that are equally likely; they are formed in log space and streamed
    over blocks of images. V(z) = sum over pixels of (sum_i w_i x_i^2 - m^2).

    Args:
        mean, std: of the posteriors N(mean_i, diag(std_i^2)), [N, k]; std > 0.
        images: the N images, uint8 (divided by 255) or float in [0, 1], [N, ...].
        grid: codes [G, k], such as `square_grid()` for k = 2.
        block: images at a time.

    Raises:
        ArgumentError: shapes that do not fit, values that are not finite, block < 1.

    Source: Zhao, Song & Ermon 2017, figure 2: an ELBO with few latent dimensions blurs where V is high.
    """
    mean, std = checked_posteriors(mean, std)
    if len(images) != len(mean) or images.ndim < 2:
        raise ArgumentError(f"images must be [{len(mean)}, ...], one for each posterior, got {tuple(images.shape)}.")
    if grid.ndim != 2 or grid.shape[1] != mean.shape[1] or not bool(torch.isfinite(grid).all()):
        raise ArgumentError(f"grid must be finite codes [G, {mean.shape[1]}], got {tuple(grid.shape)}.")
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise ArgumentError(f"block is {block!r}; expected an int >= 1.")
    grid = grid.to(mean)
    rows = [slice(i, i + block) for i in range(0, len(mean), block)]
    total = torch.full((len(grid),), -math.inf, dtype=mean.dtype, device=mean.device)
    for at in rows:
        total = torch.logaddexp(total, _log_density(grid, mean[at], std[at]).logsumexp(1))
    moment = mean.new_zeros(len(grid), images[0].numel())
    square, entropy = mean.new_zeros(len(grid)), mean.new_zeros(len(grid))
    for at in rows:
        log_w = _log_density(grid, mean[at], std[at]) - total[:, None]
        w = log_w.exp()
        x = images[at].to(mean.device).flatten(1).to(mean.dtype)
        if images.dtype == torch.uint8:
            x = x / 255
        moment += w @ x
        square += w @ x.square().sum(1)
        entropy -= torch.xlogy(w, w).sum(1)
    variance = (square - moment.square().sum(1)).clamp_min(0)
    moment = moment.unflatten(1, images.shape[1:])
    return PixelVariance(variance.double().cpu(), moment.double().cpu(), entropy.exp().double().cpu())


def square_grid(extent: float = 3.0, side: int = 20) -> Tensor:
    """The codes of a square of `side` x `side` points over [-extent, extent]^2, [side^2, 2], float64, in reading order: the first
    row is the largest second coordinate."""
    if not 0 < extent < math.inf or isinstance(side, bool) or not isinstance(side, int) or side < 2:
        raise ArgumentError(f"extent is {extent!r} and side {side!r}; expected a number above 0, and an int >= 2.")
    line = torch.linspace(-extent, extent, side, dtype=torch.float64)
    y, x = torch.meshgrid(line.flip(0), line, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)


def _log_density(grid: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """log q(z_g | x_i) less what all have in common, [G, n]."""
    log_density = -std.log().sum(1).expand(len(grid), -1)
    for d in range(grid.shape[1]):  # by dimension, so that no [G, n, k] is made
        log_density = log_density - 0.5 * ((grid[:, d, None] - mean[:, d]) / std[:, d]).square()
    return log_density
