"""The velocity of a flow on codes: a residual network that is told the time, and the class where there is one."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.nets.shapes import whole_number

TIME_FEATURES = 64


def time_features(t: Tensor, count: int = TIME_FEATURES) -> Tensor:
    """Sines and cosines of times t [B] in [0, 1] at frequencies from 1 to 1,000 by equal ratios, [B, count]."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000.0), count // 2, device=t.device, dtype=t.dtype))
    angles = t[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


class Told(nn.Module):
    """A network that is told times t [B], and classes [B], of which `classes` stands for none, or vectors [B, condition_dim], of
    which NaN stands for none: what its blocks are told is [B, width]."""

    def __init__(self, width: int, classes: int, condition_dim: int = 0) -> None:
        super().__init__()
        self.classes, self.condition_dim = classes, condition_dim
        self.time = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes + 1, width) if classes else None
        if condition_dim:
            self.vector, self.no_vector = nn.Linear(condition_dim, width), nn.Parameter(torch.zeros(width))

    def condition(self, t: Tensor, labels: Tensor | None) -> Tensor:
        told = self.time(time_features(t).to(next(self.time.parameters()).dtype))
        if self.label is not None:
            none = torch.full(t.shape, self.classes, device=t.device, dtype=torch.long)
            told = told + self.label(none if labels is None else labels)
        if self.condition_dim:
            if labels is None:
                told = told + self.no_vector
            else:
                known = labels.isfinite().all(1, keepdim=True)
                told = told + torch.where(known, self.vector(torch.where(known, labels, 0).to(told.dtype)), self.no_vector)
        return F.silu(told)


class VelocityBlock(nn.Module):
    """h + W2 silu(W1 norm(h) + condition), the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner, self.condition, self.outer = (nn.Linear(width, width) for _ in range(3))
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        return h + self.outer(F.silu(self.inner(self.norm(h)) + self.condition(condition)))


class VelocityNet(Told):
    """Points x [B, k] and times t [B] (and classes [B]) -> velocities, [B, k]; 0 at first.

    Args:
        dim: k.
        width: of the hidden layers.
        depth: residual blocks.
        classes: number of classes; class `classes` stands for none (where a label is left out). 0: no classes.
        condition_dim: d, of vectors [B, d] in the place of classes; a row of NaN stands for none. 0: no vectors.

    Raises:
        ArgumentError: a number that cannot work.
    """

    def __init__(self, dim: int, width: int = 512, depth: int = 4, classes: int = 0, condition_dim: int = 0) -> None:
        dim, width, depth = whole_number("dim", dim), whole_number("width", width), whole_number("depth", depth)
        super().__init__(width, classes, condition_dim)
        self.embed = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(VelocityBlock(width) for _ in range(depth))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        condition = self.condition(t, labels)
        h = self.embed(x)
        for block in self.blocks:
            h = block(h, condition)
        return self.out(F.silu(self.norm(h)))
