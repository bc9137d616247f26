"""Gradients that are taken inside a loss, where it is computed in float16: small ones would be 0 there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol

import torch
from torch import Tensor


class Scaling(Protocol):
    """Of a loss in float16: `scale`, by which it will be multiplied, and `overflowed`, which becomes 1 where a gradient that was
    taken inside it was not finite at that scale; scalars."""

    scale: Tensor
    overflowed: Tensor


_scaling: ContextVar[Scaling | None] = ContextVar("scaling", default=None)


@contextmanager
def scaled_by(scaling: Scaling | None) -> Iterator[None]:
    """Inside, `norm_of_gradient` multiplies by the scale."""
    token = _scaling.set(scaling)
    try:
        yield
    finally:
        _scaling.reset(token)


def norm_of_gradient(value: Tensor, weights: Tensor) -> Tensor:
    """Norm of the gradient of a scalar with respect to weights, whose graph is kept; not finite where the scale is too large."""
    scaling = _scaling.get()
    (gradient,) = torch.autograd.grad(value if scaling is None else value * scaling.scale, weights, retain_graph=True)
    norm = gradient.float().norm()
    return norm if scaling is None else norm / scaling.scale


def of_norms(value: Tensor, norms: Sequence[Tensor], last: Tensor) -> Tensor:
    """`value`, which was made of norms; inside `scaled_by`, where one is not finite, `last`, and the scale is told."""
    scaling = _scaling.get()
    if scaling is None:
        return value
    finite = torch.isfinite(sum(norms, value))
    scaling.overflowed.copy_(torch.maximum(scaling.overflowed, 1.0 - finite.float()))
    return torch.where(finite, value, last)


def in_float16(device: torch.device) -> bool:
    """Whether autocast runs matrix products in float16 here."""
    return (torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)
            and torch.get_autocast_dtype(device.type) == torch.float16)


def without_float16(device: torch.device) -> AbstractContextManager[Any]:
    """Inside, what autocast would run in float16 runs in float32; bfloat16, which has float32's range, stays."""
    return torch.autocast(device.type, enabled=False) if in_float16(device) else nullcontext()
