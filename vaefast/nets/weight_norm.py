"""Weight normalisation as in the PixelCNN++ code: its initialisation, also from data."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from vaefast.errors import ArgumentError

_Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
L = TypeVar("L", bound=_Layer)


def weight_normed(layer: L, scale: float = 1.0) -> L:
    """`layer` with each output's weights normalised: directions N(0, 0.05^2), lengths `scale`, biases 0.

    Source: Salimans & Kingma 2016, "Weight Normalization"; the PixelCNN++ code for the numbers.
    """
    assert isinstance(layer, _Layer)
    nn.init.normal_(layer.weight, std=0.05)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    parametrizations.weight_norm(layer, dim=1 if isinstance(layer, nn.ConvTranspose2d) else 0)
    normed: Any = layer  # with attributes that its type does not have
    normed.init_scale = scale
    with torch.no_grad():
        normed.parametrizations.weight.original0.fill_(scale)
    return layer


def normed_layers(net: nn.Module) -> list[nn.Module]:
    """Its layers from `weight_normed`."""
    return [m for m in net.modules() if isinstance(m, _Layer) and parametrize.is_parametrized(m, "weight")
            and hasattr(m, "init_scale")]


@torch.no_grad()
def initialise_from_data(net: nn.Module, *inputs: Tensor) -> None:
    """Set lengths and biases so that, on these inputs, every weight-normed layer's outputs have mean 0 and std `scale`.

    Args:
        net: a network with layers from `weight_normed`; each is normalised after those before it.
        inputs: what it is called with: some hundred examples or fewer.

    Raises:
        ArgumentError: a network without weight-normed layers.

    Source: Salimans & Kingma 2016, section 3.
    """
    layers = normed_layers(net)
    if not layers:
        raise ArgumentError(f"{type(net).__name__} has no weight-normed layers; nothing in it is initialised from data.")

    def normalise(layer: Any, _: Any, y: Tensor) -> Tensor:
        dims, shape = [0, *range(2, y.ndim)], (1, -1, *[1] * (y.ndim - 2))
        mean, factor = y.mean(dims), layer.init_scale / (y.var(dims, correction=0) + 1e-10).sqrt()
        length = layer.parametrizations.weight.original0
        length.mul_(factor.view([-1 if n > 1 else 1 for n in length.shape] if len(factor) > 1 else length.shape))
        if layer.bias is None:
            return y * factor.view(shape)
        layer.bias.copy_((layer.bias - mean) * factor)
        return (y - mean.view(shape)) * factor.view(shape)

    hooks = [layer.register_forward_hook(normalise) for layer in layers]
    try:
        net(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
