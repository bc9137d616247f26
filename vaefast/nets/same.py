"""Convolutions with TensorFlow's SAME padding, which is asymmetric where kernel minus stride is odd."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis of `size` so that a convolution gives ceil(size / stride)."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """`nn.Conv2d` [B, in, H, W] -> [B, out, ceil(H / stride), ceil(W / stride)] as TensorFlow pads it."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        top, bottom = same_padding(x.shape[2], kernel, stride)
        left, right = same_padding(x.shape[3], kernel, stride)
        if (top, left) == (bottom, right):
            return F.conv2d(x, self.weight, self.bias, stride, (top, left))
        return F.conv2d(F.pad(x, (left, right, top, bottom)), self.weight, self.bias, stride)


class SameConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` [B, in, H, W] -> [B, out, stride H, stride W]: the gradient of a SAME convolution of its output.

    Where the padding is asymmetric, the last row and column are dropped; torch's `output_padding` would shift the image.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        surplus = kernel_size - stride
        super().__init__(in_channels, out_channels, kernel_size, stride, padding=max(surplus, 0) // 2,
                         output_padding=max(-surplus, 0))
        self.drop = max(surplus, 0) % 2

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # the size is SAME's, and no argument
        y = super().forward(x)
        return y[:, :, :-1, :-1] if self.drop else y
