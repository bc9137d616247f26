"""How sharp images are: the variance of their Laplacian."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ArgumentError
from ..pixel_values import as_unit

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601."""
_BATCH = 1000


@torch.no_grad()
def sharpness(images: Tensor) -> Tensor:
    """Variance over the pixels of the Laplacian of each image, float64 [N]; 0 for a constant image or a linear ramp.

    The Laplacian is that of the four neighbours, on the luma of colour images (Rec. 601), without the border. Noise counts as
    sharpness, and the scale depends on what the images show and on their size: compare with the value of the data themselves.

    Args:
        images: [N, 1 or 3, H, W], uint8 or float in [0, 1], of 3x3 pixels or more.

    Raises:
        ArgumentError: another shape or dtype.

    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy: a comparative study".
    """
    if (not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] not in (1, 3) or min(images.shape[2:]) < 3
            or not (images.is_floating_point() or images.dtype == torch.uint8)):
        given = f"{images.dtype} {list(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ArgumentError(f"images are {given}; expected uint8 or float [N, 1 or 3, H, W] of 3x3 pixels or more.")
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64, device=images.device)
    if not len(images):
        return images.new_empty(0, dtype=torch.float64)
    parts = [_laplacian(x, kernel[None, None]).flatten(1).var(1, correction=0) for x in images.split(_BATCH)]
    return torch.cat(parts)


def _laplacian(x: Tensor, kernel: Tensor) -> Tensor:
    x = as_unit(x, torch.float64)
    if x.shape[1] == 3:
        x = (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return F.conv2d(x, kernel)
