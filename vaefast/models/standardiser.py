"""The units of data that are real numbers of any scale: their mean and deviation, taken once from the training data."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from vaefast.pixel_values import as_unit

_VALUES = 1 << 24
"""Values that are read at once."""


Self = TypeVar("Self", bound="KeepsUnits")


class KeepsUnits(nn.Module):
    """A module whose buffers called `units`, of those that it has, stay in `narrowest`, or wider, where it becomes narrower: half
    precision has neither the range nor the digits."""

    units: ClassVar[tuple[str, ...]] = ()
    narrowest: ClassVar[torch.dtype] = torch.float32

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = {name: getattr(self, name) for name in self.units if hasattr(self, name)}
        super()._apply(fn, recurse)
        for name, kept in before.items():
            now = getattr(self, name)
            if now.dtype.itemsize < self.narrowest.itemsize:
                setattr(self, name, kept.to(now.device, self.narrowest))
        return self


class Standardiser(KeepsUnits):
    """Data as (x - mean) / std, with one mean and deviation for each dimension of vectors, and for each channel of anything else.

    Until `fit` has been called they are 0 and 1. They are buffers, saved with the model that they belong to, and stay in float32
    where it becomes half precision, which has neither the range nor the digits.

    Args:
        data_shape: shape of one example, (D,) or (C, ...).
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor
    units = ("mean", "std")

    def __init__(self, data_shape: tuple[int, ...]) -> None:
        super().__init__()
        shape = (data_shape[0], *[1] * (len(data_shape) - 1))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.uint8))

    @torch.no_grad()
    def fit(self, data: Tensor) -> Standardiser:
        """Take mean and deviation of examples [N, *data_shape] (uint8 counts as [0, 1]), unless some have been taken before: the
        weights of a model that was trained go with its units. What does not vary keeps its scale."""
        if self.fitted:
            return self
        parts = data.split(max(1, _VALUES // data[0].numel()))
        each = [0, *range(2, data.ndim)]
        count = data.numel() // data.shape[1]
        shape = self.mean.shape
        mean = torch.stack([_wide(part).sum(each) for part in parts]).sum(0) / count
        centred = (_wide(part) - mean.view(1, *shape) for part in parts)
        std = (torch.stack([part.square().sum(each) for part in centred]).sum(0) / count).sqrt()
        std = torch.where(std > torch.finfo(torch.float32).eps * mean.abs(), std, 1.0)  # less is rounding
        self.mean.copy_(mean.view(shape))
        self.std.copy_(std.view(shape).clamp_min(torch.finfo(torch.float32).tiny))
        self.fitted.fill_(1)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Examples [B, *data_shape] in standardised units; uint8 counts as [0, 1]."""
        return (as_unit(x, self.mean.dtype) - self.mean) / self.std

    def undo(self, x: Tensor) -> Tensor:
        """The way back, of floats [B, *data_shape]."""
        return x * self.std + self.mean

    def log_volume(self, shape: tuple[int, ...]) -> Tensor:
        """By how much a log density falls from standardised units to the data's own, in nats, a scalar: the sum of log std over
        an example's dimensions."""
        return self.std.log().expand(shape).sum()


def _wide(x: Tensor) -> Tensor:
    return as_unit(x, torch.float64)
