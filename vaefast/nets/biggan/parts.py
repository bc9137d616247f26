"""What BigGAN's blocks are made of: convolutions, dense layers, norms and an activation, chosen once for a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.biggan.conditional import ClassTable, ConditionalBatchNorm
from vaefast.nets.layers import SpectralConv2d, SpectralLinear
from vaefast.nets.upsampling import bilinear

LEAK = 0.2
"""Slope of the leaky ReLU; Hinrichsen does not say which he tried."""
Init = Literal["torch", "orthogonal", "normal"]
INITS: tuple[Init, ...] = get_args(Init)


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2."""
    return F.leaky_relu(x, LEAK)


Activation = Literal["relu", "leaky_relu"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "leaky_relu": leaky_relu}


@dataclass(frozen=True)
class Parts:
    """Choices that all blocks of a network share.

    Args:
        activation: a name in `ACTIVATIONS`. Never in place: a block's skip reads the same tensor.
        spectral_norm: divide every weight by its largest singular value.
        bias: whether the blocks' convolutions have biases.
        upsampling: "bilinear" (corners aligned) or "nearest".
        condition: dimensions of what the norms are conditioned on; 0 for nothing.
        tables: the condition is one-hot classes, and each norm's gain and bias a table of them, which spectral norm leaves alone.
    """

    activation: str = "relu"
    spectral_norm: bool = False
    bias: bool = True
    upsampling: str = "bilinear"
    condition: int = 0
    tables: bool = False

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ArgumentError(f"activation is {self.activation!r}; expected one of {', '.join(ACTIVATIONS)}.")

    def act(self, x: Tensor) -> Tensor:
        """The activation of x."""
        return ACTIVATIONS[self.activation](x)

    def conv(self, inputs: int, outputs: int, kernel: int = 3, *, bias: bool | None = None) -> nn.Module:
        """A convolution that keeps height and width."""
        layer = SpectralConv2d if self.spectral_norm else nn.Conv2d
        return layer(inputs, outputs, kernel, stride=1, padding=kernel // 2, bias=self.bias if bias is None else bias)

    def linear(self, inputs: int, outputs: int, *, bias: bool = True) -> nn.Module:
        """A dense layer."""
        return (SpectralLinear if self.spectral_norm else nn.Linear)(inputs, outputs, bias=bias)

    def norm(self, features: int) -> ConditionalBatchNorm:
        """A batch norm of a block, called with the map and the condition."""
        return ConditionalBatchNorm(features, self.condition, ClassTable if self.tables else self.linear)

    def upsample(self, x: Tensor, side: int | None) -> Tensor:
        """x [B, C, S, S] at another side; x itself if None."""
        if side is None:
            return x
        if self.upsampling == "nearest":
            return F.interpolate(x, size=(side, side), mode="nearest")
        return bilinear(x, side)


def initialise(module: nn.Module, init: str) -> None:
    """Weights (biases as torch has them): "torch" leaves them, "orthogonal" (Brock et al.), or "normal" with std 0.02."""
    if init not in INITS:
        raise ArgumentError(f"init is {init!r}; expected one of {', '.join(INITS)}.")
    if init == "torch":
        return
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear, nn.Embedding)):
            with torch.no_grad():
                nn.init.orthogonal_(layer.weight) if init == "orthogonal" else nn.init.normal_(layer.weight, std=0.02)
