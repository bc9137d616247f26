"""The incremental pass of `GatedPixelCNN`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from vaefast.nets.pixelcnn.activations import tanh_gate
from vaefast.nets.pixelcnn.cache import CachedConv, pointwise, product
from vaefast.nets.pixelcnn.steps import Steps

if TYPE_CHECKING:
    from vaefast.nets.pixelcnn.gated import GatedLayer, GatedPixelCNN


class _Condition:
    """A layer's biases by z: the same at all pixels [2 width, B], or at pixels [P] from maps, [P, 2 width, B]; v's and h's."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, z: Tensor) -> None:
        self.maps = z if z.ndim == 3 else None
        if self.maps is None:
            self.both = layer(z).t().contiguous().chunk(2)
        else:
            self.weight = layer.weight[:, :, 0, 0]
            self.bias = self.weight.new_zeros(len(self.weight), 1) if layer.bias is None else layer.bias[:, None]

    def __call__(self, pixels: Tensor) -> tuple[Tensor, ...]:
        if self.maps is None:
            return self.both
        return product(self.weight, self.maps.index_select(0, pixels), self.bias).chunk(2, 1)


class _Layer:
    def __init__(self, layer: GatedLayer, z: Tensor, size: tuple[int, int], batch: int) -> None:
        self.first, self.reference, self.silent = layer.first, layer.reference, layer.silent
        self.condition = _Condition(layer.condition, z)
        self.vertical = CachedConv(layer.vertical, size, batch)
        if not self.silent:
            self.horizontal = CachedConv(layer.horizontal, size, batch)
            self.across, self.across_bias = pointwise(layer.across)
            self.onward, self.onward_bias = pointwise(layer.onward)

    def below(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """v at pixels [P], and what the horizontal stack's gates get of it and of z: [P, width, B] and [P, 2 width, B]."""
        z_v, z_h = self.condition(pixels)
        v = tanh_gate(self.vertical(pixels, z_v))
        if self.silent:
            return v, None
        if self.reference:
            across = product(self.across, v, self.across_bias).relu_()
            return v, torch.cat([across, across], 1).add_(z_h)
        return v, product(self.across, v, self.across_bias + z_h)


class GatedSteps(Steps):
    """With standard masks the vertical stack is worked on a row at a time, as it does not see the own row of the image."""

    def __init__(self, net: GatedPixelCNN, z: Tensor, uniforms: Tensor) -> None:
        super().__init__(net, uniforms)
        self.by_row = net.masks == "standard"
        condition = net.condition(z)
        condition = condition.flatten(2).permute(2, 1, 0).contiguous() if condition.ndim == 4 else condition
        self.layers = [_Layer(layer, condition, (self.height, self.width), self.batch)
                       for layer in cast("Iterable[GatedLayer]", net.layers)]
        self.last, self.last_bias = pointwise(net.last)
        self.head, self.head_bias = pointwise(net.head)
        self.columns = torch.arange(self.width, device=z.device)
        self.nothing = z.new_zeros(1, net.width, self.batch)
        self.across = z.new_zeros(len(self.layers), self.width if self.by_row else 1, 2 * net.width, self.batch)

    def _vertical(self, pixels: Tensor) -> None:
        for n, layer in enumerate(self.layers):
            v, across = layer.below(pixels)
            if across is not None:
                self.across[n].copy_(across)
            if n + 1 < len(self.layers):
                self.layers[n + 1].vertical.write(pixels, v)

    def row(self, scales: int) -> None:
        if self.by_row:
            self._vertical(self.line * self.width + self.columns)

    def pixel(self, scales: int) -> None:
        if not self.by_row:
            self._vertical(self.at)
        # of this pixel, for all layers
        across = self.across.index_select(1, self.at % self.width) if self.by_row else self.across
        h = self.nothing
        for n, layer in enumerate(self.layers):
            if layer.silent:
                continue
            if not layer.first:
                layer.horizontal.write(self.at, h)
            out = product(layer.onward, tanh_gate(layer.horizontal(self.at, across[n])), layer.onward_bias)
            if layer.reference:
                out.relu_()
            h = out if layer.first else out.add_(h)
        raw = product(self.head, product(self.last, h, self.last_bias).relu_(), self.head_bias)
        value = self.settle(raw[0])[None]
        self.layers[0].vertical.write(self.at, value)
        if not self.layers[0].silent:
            self.layers[0].horizontal.write(self.at, value)
