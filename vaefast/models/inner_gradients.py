"""Gradients that are taken inside a loss, where it is computed in float16: small ones would be 0 there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_scale: ContextVar[Tensor | None] = ContextVar("scale", default=None)


@contextmanager
def scaled_by(scale: Tensor | None) -> Iterator[None]:
    """Inside, `norm_of_gradient` multiplies by the scale, a scalar, by which the loss itself will be multiplied."""
    token = _scale.set(scale)
    try:
        yield
    finally:
        _scale.reset(token)


def norm_of_gradient(value: Tensor, weights: Tensor) -> Tensor:
    """Norm of the gradient of a scalar with respect to weights, whose graph is kept; not finite where the scale is too large."""
    scale = _scale.get()
    (gradient,) = torch.autograd.grad(value if scale is None else value * scale, weights, retain_graph=True)
    norm = gradient.float().norm()
    return norm if scale is None else norm / scale


def of_norms(value: Tensor, norms: Sequence[Tensor], last: Tensor) -> Tensor:
    """`value`, which was made of norms; inside `scaled_by`, whose scale may be too large, `last` where one is not finite."""
    return value if _scale.get() is None else torch.where(torch.isfinite(sum(norms, value)), value, last)


def without_float16(device: torch.device) -> torch.autocast:
    """Inside, what autocast would run in float16 runs in float32; bfloat16, which has float32's range, stays."""
    narrow = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.float16
    return torch.autocast(device.type, enabled=torch.is_autocast_enabled(device.type) and not narrow)
