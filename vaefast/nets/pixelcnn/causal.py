"""Convolutions that see only what comes before a pixel in raster order."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CausalConv2d(nn.Conv2d):
    """A convolution [B, in, H, W] -> [B, out, H / stride, W / stride] whose window lies where `origin` says.

    Output (i, j) sees input rows i s + origin[0], ... and columns j s + origin[1], ..., as many as the kernel has; zeros lie
    outside the image. So (2, 3) at (-1, -1) sees the row above and the own row, and at (-2, -1) the two rows above.

    Args:
        in_channels, out_channels: as in `nn.Conv2d`.
        kernel_size: rows and columns.
        origin: of the window's first row and column, relative to the output pixel.
        stride: of both axes; it divides the input's size.
        hidden: how many taps at the end of the kernel's last row are masked.
        bias: as in `nn.Conv2d`.
    """

    mask: Tensor | None

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple[int, int], origin: tuple[int, int], *,
                 stride: int = 1, hidden: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, bias=bias)
        self.origin, self.hidden = origin, hidden
        rows, columns = kernel_size
        self._pads = (-origin[1], columns - stride + origin[1], -origin[0], rows - stride + origin[0])
        mask = None
        if hidden:
            mask = torch.ones(rows, columns)
            mask[-1, columns - hidden:] = 0
        self.register_buffer("mask", mask, persistent=False)

    def taps(self) -> list[tuple[int, int]]:
        """Row and column of every tap that is not masked, in the kernel."""
        rows, columns = self.kernel_size
        return [(a, b) for a in range(rows) for b in range(columns - (self.hidden if a == rows - 1 else 0))]

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if self.mask is None else self.weight * self.mask
        return F.conv2d(F.pad(x, self._pads), weight, self.bias, self.stride)
