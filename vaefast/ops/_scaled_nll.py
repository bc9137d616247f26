"""Likelihoods whose scale gamma is one number: one kernel forward and one backward on a GPU, gamma's arithmetic included.

What error_sums is for a gamma of another shape. On the CPU, and for sizes and dtypes that the kernels leave out, it is made of
error_sums and arithmetic on a number a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vaefast.ops import _error_sums, _library, _native
from vaefast.ops._error_sums import KINDS
from vaefast.ops._precision import compute_dtype
from vaefast.ops._registry import Kernels, Op

LONGEST = 2**18
"""Elements of a row up to which one team of threads sums it up."""

FACTOR_AND_POWER = {"squared": (0.5, 2), "absolute": (1.0, 1)}


def _made_of(sums: Kernels) -> Kernels:
    """The op from the sums of errors of a backend and PyTorch's arithmetic."""

    def forward(
        x: Tensor, x_hat: Tensor, log_gamma: Tensor, kind: str, from_logits: bool, constant: float
    ) -> tuple[Tensor, Tensor]:
        error, (factor, power), dims = sums.forward(x, x_hat, None, kind, from_logits)[0], FACTOR_AND_POWER[kind], x_hat.shape[1]
        return torch.addcmul(log_gamma * dims + dims * constant, error, torch.exp(log_gamma * -power), value=factor), error

    def backward(
        grad_nll: Tensor | None, grad_error: Tensor | None, x: Tensor, x_hat: Tensor, log_gamma: Tensor, error: Tensor,
        kind: str, from_logits: bool, needs: list[bool],
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        (factor, power), grad_log_gamma, grad = FACTOR_AND_POWER[kind], _nothing(log_gamma), grad_error
        if grad_nll is not None:
            weight = torch.exp(log_gamma * -power)
            grad = grad_nll * (weight * factor)
            grad = grad if grad_error is None else grad + grad_error
            if needs[2]:
                grad_log_gamma = grad_nll.sum() * x_hat.shape[1] - power * ((grad_nll * (error * factor)).sum() * weight)
        elif needs[2]:
            grad_log_gamma = torch.zeros_like(log_gamma)
        if needs[0] or needs[1]:
            grad_x, grad_x_hat, _ = sums.backward(grad, None, x, x_hat, None, kind, from_logits, [*needs[:2], False])
        else:
            grad_x, grad_x_hat = _nothing(x), _nothing(x_hat)
        return grad_x, grad_x_hat, grad_log_gamma

    return Kernels(forward, backward)


def _nothing(x: Tensor) -> Tensor:
    return x.new_empty(0)


def _gradients(x: Tensor, x_hat: Tensor, log_gamma: Tensor, needs: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    grad_x, grad_x_hat, grad_log_gamma = (
        t.new_empty(t.shape) if needed else _nothing(t) for t, needed in zip((x, x_hat, log_gamma), needs)
    )
    return grad_x, grad_x_hat, grad_log_gamma


def _fits(x_hat: Tensor) -> bool:
    """Whether the kernels of one pass take it."""
    return x_hat.dtype != torch.float64 and x_hat.shape[0] > 0 and 0 < x_hat.shape[1] <= LONGEST


def _one_pass(
    forward_kernel: Callable[..., None], backward_kernel: Callable[..., None], otherwise: Kernels,
    usable: Callable[[Tensor], bool] = lambda x: True,
) -> Kernels:  # fmt: skip
    """The op by kernels of one pass, called with tensors whose rows have unit stride, None for what is not wanted."""

    def forward(
        x: Tensor, x_hat: Tensor, log_gamma: Tensor, kind: str, from_logits: bool, constant: float
    ) -> tuple[Tensor, Tensor]:
        if not (_fits(x_hat) and usable(x_hat)):
            outputs: tuple[Tensor, Tensor] = otherwise.forward(x, x_hat, log_gamma, kind, from_logits, constant)
            return outputs
        x, x_hat = _native.unit_rows(x), _native.unit_rows(x_hat)
        # not views of one tensor: PyTorch forbids that results share memory
        nll, error = (x_hat.new_empty(x_hat.shape[0], dtype=torch.float32) for _ in range(2))
        forward_kernel(x, x_hat, log_gamma, nll, error, constant, KINDS.index(kind), from_logits)
        return nll, error

    def backward(
        grad_nll: Tensor | None, grad_error: Tensor | None, x: Tensor, x_hat: Tensor, log_gamma: Tensor, error: Tensor,
        kind: str, from_logits: bool, needs: list[bool],
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        if not (_fits(x_hat) and usable(x_hat)):
            grads: tuple[Tensor, Tensor, Tensor]
            grads = otherwise.backward(grad_nll, grad_error, x, x_hat, log_gamma, error, kind, from_logits, needs)
            return grads
        x, x_hat = _native.unit_rows(x), _native.unit_rows(x_hat)
        grads = _gradients(x, x_hat, log_gamma, needs)
        wanted = (g if needed else None for g, needed in zip(grads, needs))
        backward_kernel(grad_nll, grad_error, x, x_hat, log_gamma, error, *wanted, KINDS.index(kind), from_logits)
        return grads

    return Kernels(forward, backward)


def _cuda_forward(
    x: Tensor, x_hat: Tensor, log_gamma: Tensor, nll: Tensor, error: Tensor, constant: float, kind: int, from_logits: bool
) -> None:
    _native.run(
        "scaled_nll_forward", x_hat, x, x_hat, log_gamma, nll, error, *x_hat.shape, x.stride(0), x_hat.stride(0), constant,
        x.dtype, x_hat.dtype, kind, from_logits,
    )  # fmt: skip


def _cuda_backward(
    grad_nll: Tensor | None, grad_error: Tensor | None, x: Tensor, x_hat: Tensor, log_gamma: Tensor, error: Tensor,
    grad_x: Tensor | None, grad_x_hat: Tensor | None, grad_log_gamma: Tensor | None, kind: int, from_logits: bool,
) -> None:  # fmt: skip
    _native.run(
        "scaled_nll_backward", x_hat, grad_nll, grad_error, x, x_hat, log_gamma, error, grad_x, grad_x_hat, grad_log_gamma,
        *x_hat.shape, 0 if grad_nll is None else grad_nll.stride(0), 0 if grad_error is None else grad_error.stride(0),
        x.stride(0), x_hat.stride(0), x.dtype, x_hat.dtype, kind, from_logits,
    )  # fmt: skip


def _triton_forward(*args: Any) -> None:
    _native.kernels("error_sums").scaled_forward(*args)


def _triton_backward(*args: Any) -> None:
    _native.kernels("error_sums").scaled_backward(*args)


_OF_SUMS = {name: _made_of(kernels) for name, kernels in _error_sums._OP.kernels.items()}
_native_kernels = _one_pass(_cuda_forward, _cuda_backward, _OF_SUMS["cuda"], lambda x: _native.on_gpu(x))

_OP = Op(
    "scaled_nll",
    {
        "reference": _OF_SUMS["reference"],
        "cpp": _native_kernels,
        "triton": _one_pass(_triton_forward, _triton_backward, _OF_SUMS["triton"]),
        "cuda": _native_kernels,
    },
    prefer=_error_sums._OP.prefer,
    because=_error_sums._OP.because,
)


# What PyTorch sees.


# log_gamma has no dimensions and the dtype of the results.
scaled_nll = _library.define(
    "scaled_nll(Tensor x, Tensor x_hat, Tensor log_gamma, str kind, bool from_logits, float constant) "
    "-> (Tensor nll, Tensor error)",
    _OP.forward,
    lambda x, x_hat, *others: tuple(x_hat.new_empty(x_hat.shape[:1], dtype=compute_dtype(x_hat.dtype)) for _ in range(2)),
)
_scaled_nll_backward = _library.define_backward(
    "A likelihood",
    "scaled_nll_backward(Tensor? grad_nll, Tensor? grad_error, Tensor x, Tensor x_hat, Tensor log_gamma, Tensor error, "
    "str kind, bool from_logits, bool[] needs) -> (Tensor grad_x, Tensor grad_x_hat, Tensor grad_log_gamma)",
    _OP.backward,
    lambda grad_nll, grad_error, x, x_hat, log_gamma, *others: _gradients(x, x_hat, log_gamma, others[-1]),
)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, x_hat, log_gamma, ctx.kind, ctx.from_logits, _ = inputs
    ctx.save_for_backward(x, x_hat, log_gamma, output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_nll: Tensor | None, grad_error: Tensor | None) -> _library.Gradients:
    needs = list(ctx.needs_input_grad[:3])
    if grad_nll is None and grad_error is None or not any(needs):
        return (None,) * 6
    x, x_hat, log_gamma, error = ctx.saved_tensors
    grads = _scaled_nll_backward(grad_nll, grad_error, x, x_hat, log_gamma, error, ctx.kind, ctx.from_logits, needs)
    return (*(g if needed else None for g, needed in zip(grads, needs)), None, None, None)


_library.define_autograd("scaled_nll", _setup_context, _backward)
