"""What an incremental pass keeps of a feature map, and convolutions that read it.

Feature maps lie as [slot, channel, batch]: a slot is a pixel, and the taps of a window, gathered, are the rows of one matrix
[taps * channels, batch], so that a convolution at a pixel is one matrix product. Slots of rows that no window reaches any
more are used again, and one slot more, always zero, stands for all that lies outside of the image. Where a window's slots are
is looked up in a table by the pixel's index, which is a tensor: a step is then the same sequence of kernels for every
pixel, and can be captured into a CUDA graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaefast.nets.pixelcnn.causal import CausalConv2d


def product(weight: Tensor, x: Tensor, bias: Tensor) -> Tensor:
    """weight [out, in] times each of x [P, in, B], plus bias (broadcast to [P, out, B])."""
    if len(x) == 1:
        return torch.addmm(bias[0] if bias.ndim == 3 else bias, weight, x[0])[None]
    return torch.baddbmm(bias, weight.expand(len(x), -1, -1), x)


def pointwise(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight [out, in] and bias [out, 1] of a 1x1 convolution."""
    assert conv.bias is not None
    return conv.weight[:, :, 0, 0], conv.bias[:, None]


class Rows:
    """The latest `rows` rows of a feature map [height, width], each pixel [channels, batch]."""

    def __init__(self, size: tuple[int, int], rows: int, channels: int, batch: int, like: Tensor) -> None:
        self.size, self.rows = size, rows
        self.store = like.new_zeros(rows * size[1] + 1, channels, batch)
        height, width = size
        self.slots = self.at(torch.arange(height)[:, None], torch.arange(width)[None]).flatten().to(like.device)

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """Slots of pixels (i, j); that of zeros where they lie outside."""
        height, width = self.size
        inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
        return torch.where(inside, (i % self.rows) * width + j, self.rows * width)

    def windows(self, taps: list[tuple[int, int]], stride: int = 1) -> Tensor:
        """Slots of the pixels at offsets `taps` from each output pixel of a convolution, [pixels, taps]."""
        height, width = (n // stride for n in self.size)
        i = torch.arange(height).view(-1, 1, 1) * stride + torch.tensor([a for a, _ in taps])
        j = torch.arange(width).view(1, -1, 1) * stride + torch.tensor([b for _, b in taps])
        return self.at(i, j).flatten(0, 1).to(self.store.device)

    def write(self, pixels: Tensor, x: Tensor) -> None:
        """Keep x [P, channels, B] as the features of pixels [P]."""
        self.store.index_copy_(0, self.slots.index_select(0, pixels), x)

    def read(self, pixels: Tensor) -> Tensor:
        """The features of pixels [P], [P, channels, B]."""
        return self.store.index_select(0, self.slots.index_select(0, pixels))


class CachedConv:
    """A `CausalConv2d` over a feature map of `size` that comes pixel by pixel, or row by row."""

    def __init__(self, conv: CausalConv2d, size: tuple[int, int], batch: int) -> None:
        weight, taps = conv.weight, conv.taps()
        self.weight = torch.stack([weight[:, :, a, b] for a, b in taps], 1).flatten(1)
        self.bias = weight.new_zeros(len(weight), 1) if conv.bias is None else conv.bias[:, None]
        self.input = Rows(size, 1 - conv.origin[0], conv.in_channels, batch, weight)
        self.windows = self.input.windows([(conv.origin[0] + a, conv.origin[1] + b) for a, b in taps], conv.stride[0])

    def write(self, pixels: Tensor, x: Tensor) -> None:
        """Keep x [P, in, B] as the input at pixels [P]."""
        self.input.write(pixels, x)

    def __call__(self, pixels: Tensor, bias: Tensor | None = None) -> Tensor:
        """The output at pixels [P] of the output's grid, [P, out, B], with `bias` in place of the convolution's own."""
        slots = self.windows.index_select(0, pixels)
        window = self.input.store.index_select(0, slots.view(-1)).view(len(pixels), -1, self.input.store.shape[2])
        return product(self.weight, window, self.bias if bias is None else bias)
