"""Images as a network of another package takes them: resized, cropped and normalised as that package states."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ArgumentError
from ..pixel_values import as_unit

INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True)
class Preparation:
    """How images come to a network.

    Args:
        resize: pixels of the shorter side, or (height, width).
        crop: height and width of the middle that the network sees.
        interpolation: "bilinear" or "bicubic"; smoothed where it makes smaller, as Pillow does.
        mean, std: of each channel, on the [0, 1] scale.

    Raises:
        ArgumentError: another interpolation.
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int]
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise ArgumentError(f"interpolation is {self.interpolation!r}; expected one of {', '.join(INTERPOLATIONS)}.")

    def __call__(self, images: Tensor) -> Tensor:
        """float32 [N, 3, *crop] of images [N, 1 or 3, H, W], uint8 or floats in [0, 1]; grey ones are repeated."""
        x = as_unit(images, torch.float32).expand(-1, 3, -1, -1)
        size = self._size(x.shape[2], x.shape[3])
        if size != tuple(x.shape[2:]):
            # bicubic goes beyond black and white, where Pillow clips
            x = F.interpolate(x, size, mode=self.interpolation, align_corners=False, antialias=True).clamp(0, 1)
        top, left = (round((a - b) / 2) for a, b in zip(size, self.crop))
        x = x[:, :, top : top + self.crop[0], left : left + self.crop[1]]
        mean, std = (x.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (x - mean) / std

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if isinstance(self.resize, tuple):
            return self.resize
        if height <= width:
            return self.resize, int(self.resize * width / height)
        return int(self.resize * height / width), self.resize

    def __str__(self) -> str:
        to = f"{self.resize} pixels of the shorter side" if isinstance(self.resize, int) else "x".join(map(str, self.resize))
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return (f"resized to {to} ({self.interpolation}), the middle {'x'.join(map(str, self.crop))}, less the mean {mean}, "
                f"over the deviation {std}")
