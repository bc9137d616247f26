"""Normalisers of convolutional maps that a network takes by name."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.layers import BatchNorm

KERAS_EPS = 1e-3
KERAS_DECAY = 0.99
GROUPS = 32


class ChannelAffine(nn.Module):
    """x w / sqrt(1 + eps) + b, a w and a b for each channel of [B, C, H, W].

    What Keras' batch norm computes as long as its moving statistics keep their first values, mean 0 and variance 1.
    """

    def __init__(self, features: int, eps: float = KERAS_EPS) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # in half precision under autocast, as the convolutions around it are
        scale, shift = self.weight / math.sqrt(1 + self.eps), self.bias
        return torch.addcmul(shift.to(x.dtype).view(-1, 1, 1), x, scale.to(x.dtype).view(-1, 1, 1))


NormName = Literal["batch", "affine", "group"]
NORMS: tuple[NormName, ...] = get_args(NormName)
"""Batch norm with Keras' decay and eps; `ChannelAffine`; group norm with at most 32 groups."""


def make_norm(name: str, features: int) -> nn.Module:
    """The normaliser `name` of `NORMS` for maps of `features` channels; each has 2 `features` parameters."""
    if name == "batch":
        return BatchNorm(features, decay=KERAS_DECAY, eps=KERAS_EPS)
    if name == "affine":
        return ChannelAffine(features)
    return nn.GroupNorm(math.gcd(GROUPS, features), features, eps=KERAS_EPS)


def checked_norm(name: str) -> str:
    """`name`, if it is one of `NORMS`; `ArgumentError` otherwise."""
    if name not in NORMS:
        raise ArgumentError(f"norm is {name!r}; expected one of {', '.join(NORMS)}.")
    return name
