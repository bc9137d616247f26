"""The residual blocks of BigGAN ("normal") and BigGAN-deep ("deep"), up and down.

Generators' blocks take the map and what their norms are conditioned on; discriminators' blocks have no norms. Pooling and
upsampling commute with a 1x1 convolution, so that the skips convolve whichever map is smaller.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.nets.biggan.parts import Parts


class NormalUp(nn.Module):
    """[B, inputs, ., .] -> [B, outputs, side, side]: norm, act, upsample, 3x3, norm, act, 3x3; the skip is 1x1 and upsampled."""

    def __init__(self, inputs: int, outputs: int, side: int | None, parts: Parts) -> None:
        super().__init__()
        self.parts, self.side = parts, side
        self.norm1, self.norm2 = parts.norm(inputs), parts.norm(outputs)
        self.conv1, self.conv2 = parts.conv(inputs, outputs), parts.conv(outputs, outputs)
        self.skip = parts.conv(inputs, outputs, 1) if inputs != outputs or side is not None else None

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        parts = self.parts
        h = self.conv1(parts.upsample(parts.act(self.norm1(x, condition)), self.side))
        h = self.conv2(parts.act(self.norm2(h, condition)))
        return h + (x if self.skip is None else parts.upsample(self.skip(x), self.side))


class DeepUp(nn.Module):
    """[B, inputs, ., .] -> [B, outputs, side, side] through a quarter of the width: 1x1, (upsample) 3x3, 3x3, 1x1, each after
    norm and act; the skip is the first `outputs` channels, upsampled."""

    def __init__(self, inputs: int, outputs: int, side: int | None, parts: Parts) -> None:
        super().__init__()
        self.parts, self.side, self.outputs = parts, side, outputs
        hidden = inputs // 4
        self.norms = nn.ModuleList(parts.norm(n) for n in (inputs, hidden, hidden, hidden))
        self.convs = nn.ModuleList([parts.conv(inputs, hidden, 1), parts.conv(hidden, hidden), parts.conv(hidden, hidden),
                                    parts.conv(hidden, outputs, 1)])

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        parts, h = self.parts, x
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs)):
            h = parts.act(norm(h, condition))
            h = conv(parts.upsample(h, self.side) if i == 1 else h)
        return h + parts.upsample(x[:, :self.outputs], self.side)


class NormalDown(nn.Module):
    """[B, inputs, S, S] -> [B, outputs, ., .]: act, 3x3, act, 3x3, average pool; the skip is pooled and 1x1.

    Without `preactivation`, for a block that sees the image, the first act is left out.
    """

    def __init__(self, inputs: int, outputs: int, pool: bool, parts: Parts, *, preactivation: bool = True) -> None:
        super().__init__()
        self.parts, self.pool, self.preactivation = parts, pool, preactivation
        self.conv1, self.conv2 = parts.conv(inputs, outputs), parts.conv(outputs, outputs)
        self.skip = parts.conv(inputs, outputs, 1) if inputs != outputs or pool else None

    def forward(self, x: Tensor) -> Tensor:
        parts = self.parts
        h = self.conv2(parts.act(self.conv1(parts.act(x) if self.preactivation else x)))
        if self.pool:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return h + (x if self.skip is None else self.skip(x))


class DeepDown(nn.Module):
    """[B, inputs, S, S] -> [B, outputs, ., .] through `hidden` channels: 1x1, 3x3, 3x3, (average pool) 1x1, each after act; the
    skip is the pooled input, with a 1x1 convolution of it for the channels that are missing."""

    def __init__(self, inputs: int, outputs: int, pool: bool, hidden: int, parts: Parts) -> None:
        super().__init__()
        self.parts, self.pool = parts, pool
        self.convs = nn.ModuleList([parts.conv(inputs, hidden, 1), parts.conv(hidden, hidden), parts.conv(hidden, hidden),
                                    parts.conv(hidden, outputs, 1)])
        self.skip = parts.conv(inputs, outputs - inputs, 1) if outputs > inputs else None

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for conv in self.convs[:3]:
            h = conv(self.parts.act(h))
        h = self.parts.act(h)
        if self.pool:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        h = self.convs[3](h)
        return h + (x if self.skip is None else torch.cat([x, self.skip(x)], 1))
