"""The velocity of a flow on maps of codes: convolutions where codes have places, with attention between all places at half the
resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.shapes import checked_latents, whole_number
from vaefast.nets.velocity import Told

HEAD = 32
"""Channels of a head of the attention."""


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class MapBlock(nn.Module):
    """h + conv(silu(scale norm(conv(silu(norm(h)))) + shift)), scale and shift by the condition; the identity at first."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.first, self.second = nn.GroupNorm(1, width), nn.GroupNorm(1, width)
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.outer = _zero(nn.Conv2d(width, width, 3, padding=1))
        self.condition = nn.Linear(condition, 2 * width)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.condition(condition)[:, :, None, None].chunk(2, 1)
        inner = self.second(self.inner(F.silu(self.first(h))))
        return h + self.outer(F.silu(torch.addcmul(inner + shift, inner, scale)))


class MapAttention(nn.Module):
    """h + attention of every place to all, the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        most = max(1, width // HEAD)
        self.heads = next(heads for heads in range(most, 0, -1) if width % heads == 0)
        self.norm = nn.GroupNorm(1, width)
        self.parts = nn.Conv2d(width, 3 * width, 1)
        self.out = _zero(nn.Conv2d(width, width, 1))

    def forward(self, h: Tensor) -> Tensor:
        rows, columns = h.shape[2:]
        query, key, value = (self.parts(self.norm(h)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
                             .unbind(1))  # [B, heads, places, channels] each
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(-1, -2)
        return h + self.out(mixed.flatten(1, 2).unflatten(2, (rows, columns)))


class VelocityMaps(Told):
    """Points x [B, c h w] and times t [B] (and classes [B]) -> velocities, [B, c h w]; 0 at first.

    Args:
        shape: (c, h, w) of the maps, which are flat outside.
        width: channels at h x w, and twice as many at half of it.
        depth: residual blocks at each resolution, on the way down and up.
        classes, condition_dim: as of `vaefast.nets.VelocityNet`.

    Raises:
        ArgumentError: a number that cannot work.

    Source: the U-Net of Ho et al. 2020, "Denoising Diffusion Probabilistic Models", appendix B, in two resolutions.
    """

    def __init__(self, shape: tuple[int, int, int], width: int = 64, depth: int = 2, classes: int = 0,
                 condition_dim: int = 0) -> None:
        width, depth = whole_number("width", width), whole_number("depth", depth)
        super().__init__(4 * width, classes, condition_dim)
        _, maps = checked_latents(shape)
        if maps is None:
            raise ArgumentError(f"shape is {shape!r}; expected (channels, height, width) of maps.")
        self.shape, inner = maps, 2 * width

        def blocks(channels: int) -> nn.ModuleList:
            return nn.ModuleList(MapBlock(channels, 4 * width) for _ in range(depth))

        self.embed = nn.Conv2d(maps[0], width, 3, padding=1)
        self.before, self.low, self.after = blocks(width), blocks(inner), blocks(width)
        self.down = nn.Conv2d(width, inner, 3, stride=2, padding=1)
        self.attention = MapAttention(inner)
        self.up = nn.Conv2d(inner, 4 * width, 3, padding=1)
        self.join = nn.Conv2d(2 * width, width, 1)
        self.norm, self.out = nn.GroupNorm(1, width), _zero(nn.Conv2d(width, maps[0], 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        condition = self.condition(t, labels)
        h = self.embed(x.unflatten(1, self.shape))
        for block in self.before:
            h = block(h, condition)
        low = self.down(h)
        for number, block in enumerate(self.low):
            low = block(low, condition)
            if number == 0:
                low = self.attention(low)
        raised = F.pixel_shuffle(self.up(low), 2)[..., :h.shape[2], :h.shape[3]]  # an odd side was rounded up
        h = self.join(torch.cat([h, raised], 1))
        for block in self.after:
            h = block(h, condition)
        return self.out(F.silu(self.norm(h))).flatten(1)
