"""The incremental pass of `PixelCNNPlusPlus`.

The stream that sees the rows above is worked on a row at a time, the other one a pixel at a time; each at every scale that
is due: a pixel of scale s when its first pixel of scale 0 is. What a coarse pixel gives its four finer ones is kept until
they come.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.nets.pixelcnn.activations import both_elu, linear_gate
from vaefast.nets.pixelcnn.cache import CachedConv, Rows, pointwise, product
from vaefast.nets.pixelcnn.steps import Steps

if TYPE_CHECKING:
    from vaefast.nets.pixelcnn.causal import CausalConv2d
    from vaefast.nets.pixelcnn.plus_plus import GatedBlock, PixelCNNPlusPlus, Stream

    _Blocks = Iterable[Iterable[GatedBlock]]

Size = tuple[int, int]


class _Block:
    """A gated block at the pixels that it is asked for."""

    def __init__(self, block: GatedBlock, z: Tensor, size: Size) -> None:
        self.first, self.second = (CachedConv(conv, size, len(z)) for conv in (block.first, block.second))
        self.skip: Tensor | None = None
        if block.skip is not None:
            self.skip, bias = pointwise(block.skip)
            self.bias = bias + self.first.bias
        self.code = block.condition(z).t() + self.second.bias

    def __call__(self, pixels: Tensor, x: Tensor, a: Tensor | None = None) -> Tensor:
        self.first.write(pixels, both_elu(x))
        extra = None
        if self.skip is not None:
            assert a is not None
            extra = product(self.skip, both_elu(a), self.bias)
        self.second.write(pixels, both_elu(self.first(pixels, extra)))
        return x + linear_gate(self.second(pixels, self.code))


class _Refine:
    """A transposed convolution from a grid `size` to one twice as fine: coarse pixels in, finer ones kept until read."""

    def __init__(self, conv: nn.ConvTranspose2d, size: Size, batch: int) -> None:
        assert conv.bias is not None
        weight = conv.weight.permute(2, 3, 1, 0)  # [rows, columns, out, in]
        out = weight.shape[2]
        if weight.shape[1] == 2:
            taps, parts = [(0, 0)], [weight[a, b] for a in (0, 1) for b in (0, 1)]
        else:  # three columns: an even pixel has the coarse one's middle, an odd one lies between two coarse ones
            none = torch.zeros_like(weight[0, 0])
            taps = [(0, 0), (0, 1)]
            parts = [torch.cat(p, 1) for a in (0, 1) for p in ((weight[a, 1], none), (weight[a, 2], weight[a, 0]))]
        self.weight, self.bias = torch.cat(parts), conv.bias.repeat(4)[:, None]
        self.out = out
        self.input = Rows(size, 1, conv.in_channels, batch, weight)
        self.windows = self.input.windows(taps)
        height, width = size
        self.finer = Rows((2 * height, 2 * width), 2, out, batch, weight)
        i, j = torch.arange(height).view(-1, 1, 1), torch.arange(width).view(1, -1, 1)
        a, b = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        self.fine_pixels = ((2 * i + a) * 2 * width + 2 * j + b).flatten(0, 1).to(weight.device)

    def write(self, pixels: Tensor, x: Tensor) -> None:
        """Take x [P, in, B] at coarse pixels [P]: a whole row of them, where the window has three columns."""
        self.input.write(pixels, x)
        slots = self.windows.index_select(0, pixels)
        window = self.input.store.index_select(0, slots.view(-1)).view(len(pixels), -1, x.shape[2])
        y = product(self.weight, window, self.bias).view(4 * len(pixels), self.out, x.shape[2])
        self.finer.write(self.fine_pixels.index_select(0, pixels).view(-1), y)

    def read(self, pixels: Tensor) -> Tensor:
        """The output at fine pixels [P], [P, out, B]."""
        return self.finer.read(pixels)


class _Stream:
    """A stream's layers, with what they keep."""

    def __init__(self, stream: Stream, z: Tensor, sizes: list[Size]) -> None:
        up, down = cast("_Blocks", stream.up), cast("_Blocks", stream.down)
        coarsen, refine = cast("Iterable[CausalConv2d]", stream.coarsen), cast("Iterable[nn.ConvTranspose2d]", stream.refine)
        self.up = [[_Block(b, z, size) for b in blocks] for blocks, size in zip(up, sizes)]
        self.down = [[_Block(b, z, size) for b in blocks] for blocks, size in zip(down, sizes)]
        self.coarsen = [CachedConv(conv, size, len(z)) for conv, size in zip(coarsen, sizes)]
        self.refine = [_Refine(conv, size, len(z)) for conv, size in zip(refine, sizes[1:])]


class PlusPlusSteps(Steps):
    def __init__(self, net: PixelCNNPlusPlus, z: Tensor, uniforms: Tensor) -> None:
        scales = len(net.above.up)
        super().__init__(net, uniforms, scales)
        size = (self.height, self.width)
        self.sizes = [(self.height >> s, self.width >> s) for s in range(scales)]
        self.above, self.left = _Stream(net.above, z, self.sizes), _Stream(net.left, z, self.sizes)
        self.first_above, self.first_row, self.first_left = (
            CachedConv(conv, size, self.batch) for conv in (net.first_above, net.first_row, net.first_left))
        self.head, self.head_bias = pointwise(net.head)
        self.one = z.new_ones(1, self.batch)
        filters = net.first_left.out_channels
        self.row_up = [z.new_zeros(len(b), w, filters, self.batch) for b, (_, w) in zip(self.above.up, self.sizes)]
        self.row_down = [z.new_zeros(len(b), w, filters, self.batch) for b, (_, w) in zip(self.above.down, self.sizes)]
        self.columns = [torch.arange(w, device=z.device) for _, w in self.sizes]
        i, j = torch.arange(self.height)[:, None], torch.arange(self.width)[None]
        self.pixels = torch.stack([((i >> s) * (self.width >> s) + (j >> s)).flatten() for s in range(scales)]).to(z.device)

    def row(self, scales: int) -> None:
        stream = self.above
        pixels = [torch.div(self.line, 2**s, rounding_mode="floor") * len(c) + c for s, c in enumerate(self.columns[:scales])]
        u = self.first_above(pixels[0])
        kept: list[list[Tensor]] = []
        for s in range(scales):
            if s:
                u = stream.coarsen[s - 1](pixels[s])
            kept.append([u])
            for n, block in enumerate(stream.up[s]):
                u = block(pixels[s], u)
                self.row_up[s][n].copy_(u)
                kept[s].append(u)
            if s < self.scales - 1:
                stream.coarsen[s].write(pixels[s], u)
        for s in reversed(range(scales)):
            u = kept[s].pop() if s == self.scales - 1 else stream.refine[s].read(pixels[s])
            for n, block in enumerate(stream.down[s]):
                u = block(pixels[s], u, kept[s].pop())
                self.row_down[s][n].copy_(u)
            if s:
                stream.refine[s - 1].write(pixels[s], u)

    def pixel(self, scales: int) -> None:
        stream = self.left
        pixels = [self.pixels[s].index_select(0, self.at) for s in range(scales)]
        columns = [p % len(c) for p, c in zip(pixels, self.columns)]
        v = self.first_row(pixels[0]) + self.first_left(pixels[0])
        kept: list[list[Tensor]] = []
        for s in range(scales):
            if s:
                v = stream.coarsen[s - 1](pixels[s])
            kept.append([v])
            above = self.row_up[s].index_select(1, columns[s])
            for n, block in enumerate(stream.up[s]):
                v = block(pixels[s], v, above[n])
                kept[s].append(v)
            if s < self.scales - 1:
                stream.coarsen[s].write(pixels[s], v)
        for s in reversed(range(scales)):
            v = kept[s].pop() if s == self.scales - 1 else stream.refine[s].read(pixels[s])
            above = self.row_down[s].index_select(1, columns[s])
            for n, block in enumerate(stream.down[s]):
                v = block(pixels[s], v, torch.cat([above[n], kept[s].pop()], 1))
            if s:
                stream.refine[s - 1].write(pixels[s], v)
        raw = product(self.head, F.elu(v), self.head_bias)
        seen = torch.cat([2 * self.settle(raw[0]) - 1, self.one])[None]
        for conv in (self.first_above, self.first_row, self.first_left):
            conv.write(self.at, seen)
