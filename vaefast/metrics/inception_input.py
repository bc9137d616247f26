"""Images as the 2015 Inception network takes them: three channels of 299x299, in the range that its authors chose."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ArgumentError
from ..pixel_values import as_unit
from .inception_network import SIDE

RESIZES = ("pytorch-fid", "tf")


def network_input(images: Tensor, resize: str, dtype: torch.dtype) -> Tensor:
    """[N, 3, 299, 299] of images [N, 1 or 3, H, W], uint8 or floats in [0, 1].

    "pytorch-fid" samples between pixel centres (torch's bilinear with align_corners=False) and scales to [-1, 1]. "tf" is
    what the frozen TensorFlow graph does: position i of 299 reads i H / 299, counted from the first pixel's centre, so
    that enlarged images lie half an input pixel further up and left; and 0 ... 255 becomes (x - 128) / 128.
    """
    if resize == "tf":
        levels = images.to(dtype) if images.dtype == torch.uint8 else images.to(dtype) * 255
        x = (_tf_bilinear(levels) - 128) / 128
    else:
        unit = as_unit(images, dtype)
        x = 2 * F.interpolate(unit, size=(SIDE, SIDE), mode="bilinear", align_corners=False) - 1
    return x.expand(-1, 3, -1, -1)


def checked_images(images: Tensor) -> Tensor:
    """`images`, if they are [N, 1 or 3, H, W] of uint8 or of finite floats in [0, 1].

    Raises:
        ArgumentError: anything else.
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
        given = list(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ArgumentError(f"Images must be [N, C, H, W] with 1 or 3 channels, got {given}.")
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise ArgumentError(f"Images must be uint8, or float in [0, 1], got {images.dtype}.")
    return unit_range(images)


def unit_range(x: Tensor) -> Tensor:
    """Floats in [0, 1], clipped of what rounding adds. Raises ArgumentError for other ones."""
    # Written so that NaN fails it; the slack is for the rounding of a sigmoid in half precision.
    if x.numel() and not (x.min() >= -1e-3 and x.max() <= 1 + 1e-3):
        low, high = float(x.min()), float(x.max())
        raise ArgumentError(f"Float images must be finite and in [0, 1], got values from {low:.3g} to {high:.3g}.")
    return x.clamp(0, 1)


def stretched(images: Tensor) -> Tensor:
    """Each image's darkest value at 0 and its brightest at 1, over all channels together; an even image becomes 0.

    The reference implementation of the Two-Stage VAE does this to generated images, and to them only, before the FID.
    """
    x = as_unit(images)
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return (x - low) / (high - low).clamp_min(torch.finfo(x.dtype).tiny)


def rounded(images: Tensor) -> Tensor:
    """uint8 of images in [0, 1], as an image file holds them."""
    return images if images.dtype == torch.uint8 else (images * 255).round().to(torch.uint8)


def _tf_bilinear(x: Tensor) -> Tensor:
    """TensorFlow 1's resize_bilinear with align_corners=False, to 299x299."""
    for axis in (2, 3):
        size = x.shape[axis]
        # Positions in float32, as TensorFlow has them.
        position = torch.arange(SIDE, device=x.device, dtype=torch.float32) * (torch.tensor(size, dtype=torch.float32) / SIDE)
        first = position.floor().long().clamp_max(size - 1)
        share = (position - first).to(x.dtype).unsqueeze(-1) if axis == 2 else (position - first).to(x.dtype)
        low, high = x.index_select(axis, first), x.index_select(axis, (first + 1).clamp_max(size - 1))
        x = low + (high - low) * share
    return x
