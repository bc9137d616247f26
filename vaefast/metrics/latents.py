"""What the latents of an autoencoder look like, and how well it gives back what it was given."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ArgumentError
from ..pixel_values import as_unit


def active_dimensions(mean_variance_per_dim: Tensor, threshold: float = 0.5) -> int:
    """Number of latent dimensions that carry something about the image.

    A dimension that the decoder ignores has posterior variance 1 for every image; a used one has much less
    (Dai & Wipf 2019, section 3).

    Args:
        mean_variance_per_dim: [k], posterior variance s_j^2 of each dimension averaged over images, >= 0.
        threshold: a dimension is active when its mean variance is below this.

    Raises:
        ArgumentError: not one-dimensional, or a value that is NaN or negative.
    """
    variance = mean_variance_per_dim.detach()
    if variance.ndim != 1 or not bool((variance >= 0).all()):
        raise ArgumentError(f"Mean variances must be [k] and >= 0, got shape {tuple(variance.shape)}.")
    return int((variance < threshold).sum())


@torch.no_grad()
def posterior_spectrum(std: Tensor) -> Tensor:
    """Posterior variance of every latent dimension, averaged over images, largest first.

    For posteriors with diagonal covariance these are the eigenvalues of the mean covariance: near 1 where a dimension is
    not used, near 0 where it carries the image (Dai & Wipf 2019, section 3 and figure 1).

    Args:
        std: posterior standard deviations s [N, k], >= 0, any float dtype.

    Returns:
        mean of s^2 over the images, float64 [k] on the CPU, sorted.

    Raises:
        ArgumentError: not a matrix, empty, negative or not finite.
    """
    if std.ndim != 2 or std.numel() == 0 or not bool(torch.isfinite(std).all() and (std >= 0).all()):
        raise ArgumentError(f"Standard deviations must be a finite matrix [N, k] >= 0, got shape {tuple(std.shape)}.")
    return std.detach().cpu().to(torch.float64).square().mean(0).sort(descending=True).values


@torch.no_grad()
def singular_values(z: Tensor) -> Tensor:
    """Singular values of a sample matrix divided by sqrt(n), largest first, not centred.

    For n draws of N(0, I) in k dimensions they lie in about 1 +- sqrt(k / n) (Dai & Wipf 2019, figure 2).

    Args:
        z: [n, k], n >= 1, any float dtype.

    Returns:
        float64 [min(n, k)] on the CPU.

    Raises:
        ArgumentError: not a matrix, empty, NaN or infinity.
    """
    if z.ndim != 2 or z.numel() == 0 or not bool(torch.isfinite(z).all()):
        raise ArgumentError(f"Latents must be a finite matrix [n, k], got shape {tuple(z.shape)}.")
    values: Tensor = torch.linalg.svdvals(z.detach().cpu().to(torch.float64)) / z.shape[0] ** 0.5
    return values


@torch.no_grad()
def reconstruction_error(images: Tensor, reconstructions: Tensor, batch_size: int = 1000) -> float:
    """Mean squared error per pixel value on the [0, 1] scale, summed in float64.

    Its square root is what the learned gamma of a Gaussian decoder converges to.

    Args:
        images: [N, ...], uint8 (divided by 255) or float in [0, 1].
        reconstructions: same shape, uint8 or float.
        batch_size: images at a time.

    Raises:
        ArgumentError: shapes differ, or there is nothing to compare.
    """
    if images.shape != reconstructions.shape or images.numel() == 0:
        raise ArgumentError(
            f"Images {tuple(images.shape)} and reconstructions {tuple(reconstructions.shape)} must have one shape."
        )
    total = 0.0
    for start in range(0, len(images), batch_size):
        a, b = (_unit(x[start : start + batch_size]) for x in (images, reconstructions))
        total += float((a - b.to(a.device)).square().sum(dtype=torch.float64))
    return total / images.numel()


def _unit(x: Tensor) -> Tensor:
    return as_unit(x, torch.float32)
