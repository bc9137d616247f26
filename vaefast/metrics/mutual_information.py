"""How much the codes of an encoder tell about its images, in nats."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vaefast.float32 import widest

from .. import ops
from ..errors import ArgumentError


class MutualInformation(NamedTuple):
    """An estimate and what it can be at most."""

    value: float  # nats; noise can take it slightly below 0
    ceiling: float  # log n: a value near it means "at least that"
    standard_error: float  # by bootstrap over the images
    n: int  # images

    def scores(self) -> dict[str, float]:
        """Value, ceiling and standard error by the names that records and evaluations have for them."""
        return {"mutual_information": self.value, "mutual_information_ceiling": self.ceiling,
                "mutual_information_standard_error": self.standard_error}


@torch.no_grad()
def mutual_information(mean: Tensor, std: Tensor, *, z: Tensor | None = None, seed: int = 0,
                       resamples: int = 200) -> MutualInformation:
    """I(x; z) of n images whose posteriors are N(mean_i, diag(std_i^2)), by one draw z_i of each.

    mean_i [log q(z_i | x_i) - log (1/n) sum_j q(z_i | x_j)], in log space and streamed over the posteriors, in float64 (float32
    where the device has no float64). An estimate never exceeds log n: saturated, it says "at least".

    Args:
        mean, std: [n, k], n >= 2; std > 0. The cost grows with n^2 k; 60,000 images are fine.
        z: draws [n, k], one of each posterior; made from `seed` if None.
        seed: of the draws and of the bootstrap.
        resamples: of the bootstrap, 2 or more. It resamples the n terms; the mixture stays that of all n images.

    Raises:
        ArgumentError: shapes that do not fit, fewer than two images, NaN, infinity, std <= 0, resamples < 2.

    Source: Zhao, Song & Ermon 2017, figure 5, and their code, which multiplies densities where this adds logarithms.
    """
    mean, std = checked_posteriors(mean, std)
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 2:
        raise ArgumentError(f"resamples is {resamples!r}; expected an int >= 2.")
    rng = torch.Generator().manual_seed(seed)
    if z is None:
        z = mean + std * torch.randn(mean.shape, generator=rng, dtype=torch.float64).to(mean)
    elif z.shape != mean.shape or not bool(torch.isfinite(z).all()):
        raise ArgumentError(f"z must be finite draws of shape {tuple(mean.shape)}, one of each posterior, got {tuple(z.shape)}.")
    else:
        z = z.detach().to(mean)
    log_std = std.log()
    conditional = -(0.5 * ((z - mean) / std).square() + log_std + ops.HALF_LOG_2PI).sum(1)
    terms = (conditional - ops.mixture_log_density(z, mean, log_std, param="logstd")).double().cpu()
    n = len(terms)
    means = torch.stack([terms[torch.randint(n, (n,), generator=rng)].mean() for _ in range(resamples)])
    return MutualInformation(float(terms.mean()), math.log(n), float(means.std()), n)


def checked_posteriors(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """mean and std [n, k], n >= 2, finite and std > 0, detached, in float64 (float32 on devices without it)."""
    if mean.shape != std.shape or mean.ndim != 2 or len(mean) < 2:
        raise ArgumentError(f"mean and std must both be [n, k] with n >= 2, got {tuple(mean.shape)} and {tuple(std.shape)}.")
    if not bool(torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all()):
        raise ArgumentError("mean must be finite, and std finite and above 0.")
    dtype = widest(mean.device)
    return mean.detach().to(dtype), std.detach().to(dtype)
