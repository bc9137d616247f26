"""Dense layers through oneDNN, on the CPUs where torch's own choice, MKL, is the slower one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vaefast.cpu import mkl_is_slow
from vaefast.torch_private import is_transformed, onednn_linear

SMALLEST = 2**23
"""Multiplications of a product from which oneDNN's is the faster one, with the calls around it."""


def fast_dense(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """What makes dense layers fast inside it, where something does; of losses that are not compiled."""
    return OneDNNDense() if device.type == "cpu" and precision == "fp32" and mkl_is_slow() else nullcontext()


class OneDNNDense(TorchFunctionMode):
    """Inside, `F.linear` of float32 matrices on a CPU, and so `nn.Linear`, and its gradients run in oneDNN."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        if func is F.linear and not kwargs and _takes(*args):
            return _product(*args)
        return func(*args, **(kwargs or {}))


def _takes(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    tensors = (x, weight) if bias is None else (x, weight, bias)
    return (all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
            and x.ndim == weight.ndim == 2 and x.shape[1] == weight.shape[1]  # else torch's own error, or another meaning
            and (bias is None or bias.shape == weight.shape[:1])
            and not torch.is_autocast_enabled("cpu") and not is_transformed(x))


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if x.numel() * len(weight) < SMALLEST:
        return F.linear(x, weight, bias)
    product: Tensor = _Dense.apply(x, weight, bias)
    return product


class _Dense(torch.autograd.Function):
    """x [N, K] times weight [M, K] transposed, plus bias [M]; differentiable any number of times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        if not weight.is_contiguous() and not weight.t().is_contiguous():
            weight = weight.contiguous()
        return onednn_linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (_product(gradient, weight.t()) if of_x else None, _gradient(gradient, x, weight) if of_weight else None,
                gradient.sum(0) if of_bias else None)


def _gradient(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """The weight's, in its memory order, in which it will be added to others."""
    return _product(gradient.t(), x.t()) if weight.is_contiguous() else _product(x.t(), gradient.t()).t()
