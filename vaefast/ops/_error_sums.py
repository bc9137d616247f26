"""Sums over rows of the error between data and reconstruction: the one pass over the pixels of every likelihood.

A Gaussian negative log-likelihood with one gamma a row is 0.5 sse exp(-2 log gamma) + d (log gamma + c), so the
kernels make sums of errors and never see gamma: rows are whatever shares a gamma, and the rest is arithmetic on a
number a row, with autograd's own derivative. Only a gamma that differs from element to element enters the kernels,
as weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaefast.ops import _library, _native
from vaefast.ops._precision import compute_dtype
from vaefast.ops._registry import Kernels, Op
from vaefast.pixel_values import as_unit

KINDS = ("squared", "absolute", "cross_entropy")
PROBABILITY_FLOOR = 1e-8
"""Probabilities are raised to this inside the logarithms of a cross-entropy, as in Dai and Wipf's code."""


# The reference: the meaning of the op, in plain PyTorch, on any device.


def _wide(x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
    dtype = compute_dtype(x_hat.dtype)
    return as_unit(x, dtype), x_hat.to(dtype)


def _terms(x: Tensor, a: Tensor, kind: str, from_logits: bool) -> Tensor:
    """Error of every element; differentiable by autograd, which the tests hold `_slopes` against."""
    if kind == "cross_entropy":
        if from_logits:
            # a ((a > 0) - x) is max(a, 0) - a x without its cancellation.
            return a * ((a > 0).to(a.dtype) - x) + torch.log1p(torch.exp(-a.abs()))
        return -(x * a.clamp_min(PROBABILITY_FLOOR).log() + (1 - x) * (1 - a).clamp_min(PROBABILITY_FLOOR).log())
    d = (torch.sigmoid(a) if from_logits else a) - x
    return d * d if kind == "squared" else d.abs()


def _slopes(x: Tensor, a: Tensor, kind: str, from_logits: bool) -> tuple[Tensor, Tensor]:
    """Derivatives of `_terms` to x and a."""
    if kind == "cross_entropy":
        if from_logits:
            return -a, torch.sigmoid(a) - x
        p, q = a.clamp_min(PROBABILITY_FLOOR), (1 - a).clamp_min(PROBABILITY_FLOOR)
        to_a = (1 - x) / q * (1 - a >= PROBABILITY_FLOOR) - x / p * (a >= PROBABILITY_FLOOR)
        return q.log() - p.log(), to_a
    d = (torch.sigmoid(a) if from_logits else a) - x
    slope = 2 * d if kind == "squared" else torch.where(d.isnan(), d, d.sign())
    return -slope, slope * (torch.sigmoid(a) * torch.sigmoid(-a)) if from_logits else slope


def _nothing(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """What stands for an output that was not asked for."""
    return x.new_empty(0, dtype=dtype)


def reference_forward(
    x: Tensor, x_hat: Tensor, weight: Tensor | None, kind: str, from_logits: bool
) -> tuple[Tensor, Tensor]:
    terms = _terms(*_wide(x, x_hat), kind, from_logits)
    return terms.sum(1), _nothing(terms) if weight is None else (terms * weight).sum(1)


def reference_backward(
    grad_sums: Tensor | None, grad_weighted: Tensor | None, x: Tensor, x_hat: Tensor, weight: Tensor | None, kind: str,
    from_logits: bool, needs: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    wide, a = _wide(x, x_hat)
    factor = torch.zeros((x.shape[0], 1), dtype=a.dtype, device=a.device)
    if grad_sums is not None:
        factor = factor + grad_sums[:, None]
    if grad_weighted is not None:
        assert weight is not None
        factor = factor + grad_weighted[:, None] * weight
    to_x, to_a = _slopes(wide, a, kind, from_logits)
    grad_x, grad_x_hat, grad_weight = _gradients(x, x_hat, weight, needs)
    if needs[0]:
        grad_x.copy_(factor * to_x)
    if needs[1]:
        grad_x_hat.copy_(factor * to_a)
    if needs[2]:
        assert grad_weighted is not None
        grad_weight.copy_((grad_weighted[:, None] * _terms(wide, a, kind, from_logits)).sum(0))
    return grad_x, grad_x_hat, grad_weight


# The compiled backends.

CHUNK = 8192  # elements of a row that one sum covers; long rows are several sums, added at the end


def _chunks(k: int) -> int:
    return max(1, -(-k // CHUNK))


def _sums(x_hat: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    dtype, parts = compute_dtype(x_hat.dtype), (x_hat.shape[0], _chunks(x_hat.shape[1]))
    return x_hat.new_empty(parts, dtype=dtype), x_hat.new_empty((0,) if weight is None else parts, dtype=dtype)


def _whole(parts: Tensor) -> Tensor:
    """Sum of the chunks of each row."""
    if parts.dim() == 1:
        return parts
    return parts.view(-1) if parts.shape[1] == 1 else parts.sum(1)


def _gradients(x: Tensor, x_hat: Tensor, weight: Tensor | None, needs: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    return (
        x.new_empty(x.shape) if needs[0] else _nothing(x),
        x_hat.new_empty(x_hat.shape) if needs[1] else _nothing(x_hat),
        weight.new_empty(weight.shape) if needs[2] and weight is not None else _nothing(x_hat, compute_dtype(x_hat.dtype)),
    )


def native_forward(
    x: Tensor, x_hat: Tensor, weight: Tensor | None, kind: str, from_logits: bool
) -> tuple[Tensor, Tensor]:
    """`reference_forward` by csrc/{cpu,cuda}/error_sums."""
    x, x_hat = _native.unit_rows(x), _native.unit_rows(x_hat)
    weight = None if weight is None else weight.contiguous()
    sums, weighted = _sums(x_hat, weight)
    _native.run(
        "error_sums_forward", x_hat, x, x_hat, weight, sums, None if weight is None else weighted, *x_hat.shape,
        sums.shape[1], CHUNK, x.stride(0), x_hat.stride(0), x.dtype, x_hat.dtype, KINDS.index(kind), from_logits,
    )  # fmt: skip
    return _whole(sums), _whole(weighted)


ROWS_A_PART = 256  # rows whose share of the gradient to the weights is summed in one go


def _weight_parts(x_hat: Tensor, needed: bool) -> Tensor:
    parts = min(64, max(1, -(-x_hat.shape[0] // ROWS_A_PART))) if needed else 0
    return x_hat.new_empty((parts, x_hat.shape[1]), dtype=torch.float64)


def native_backward(
    grad_sums: Tensor | None, grad_weighted: Tensor | None, x: Tensor, x_hat: Tensor, weight: Tensor | None, kind: str,
    from_logits: bool, needs: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """`reference_backward` by csrc/{cpu,cuda}/error_sums."""
    x, x_hat = _native.unit_rows(x), _native.unit_rows(x_hat)
    weight = None if weight is None else weight.contiguous()
    grads = _gradients(x, x_hat, weight, needs)
    parts = _weight_parts(x_hat, needs[2])
    _native.run(
        "error_sums_backward", x_hat, grad_sums, grad_weighted, x, x_hat, weight,
        *(g if needed else None for g, needed in zip(grads, needs)), parts if needs[2] else None, *x_hat.shape,
        parts.shape[0], 0 if grad_sums is None else grad_sums.stride(0),
        0 if grad_weighted is None else grad_weighted.stride(0), x.stride(0), x_hat.stride(0), x.dtype, x_hat.dtype,
        KINDS.index(kind), from_logits,
    )  # fmt: skip
    return grads


def triton_forward(
    x: Tensor, x_hat: Tensor, weight: Tensor | None, kind: str, from_logits: bool
) -> tuple[Tensor, Tensor]:
    """`reference_forward` by kernels/error_sums.py."""
    x, x_hat = _native.unit_rows(x), _native.unit_rows(x_hat)
    weight = None if weight is None else weight.contiguous()
    sums, weighted = _sums(x_hat, weight)
    _native.kernels("error_sums").forward(x, x_hat, weight, sums, weighted, CHUNK, KINDS.index(kind), from_logits)
    return _whole(sums), _whole(weighted)


def triton_backward(
    grad_sums: Tensor | None, grad_weighted: Tensor | None, x: Tensor, x_hat: Tensor, weight: Tensor | None, kind: str,
    from_logits: bool, needs: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """`reference_backward` by kernels/error_sums.py."""
    x, x_hat = _native.unit_rows(x), _native.unit_rows(x_hat)
    weight = None if weight is None else weight.contiguous()
    grads = _gradients(x, x_hat, weight, needs)
    parts = _weight_parts(x_hat, needs[2])
    _native.kernels("error_sums").backward(
        grad_sums, grad_weighted, x, x_hat, weight, *(g if needed else None for g, needed in zip(grads, needs)),
        parts if needs[2] else None, KINDS.index(kind), from_logits,
    )  # fmt: skip
    if needs[2]:
        grads[2].copy_(parts.sum(0))
    return grads


_OP = Op(
    "error_sums",
    {
        "reference": Kernels(reference_forward, reference_backward),
        "cpp": Kernels(native_forward, native_backward),
        "triton": Kernels(triton_forward, triton_backward),
        "cuda": Kernels(native_forward, native_backward),
    },
    prefer={"cpu": ("cpp",), "cuda": ("triton", "cuda")},
    because={
        "cpu": "twice the eager formula and 0.87 times the compiled one at 64 x 3 x 64 x 64, forward and backward of "
        "gaussian_nll with logits and uint8 data (two AVX-512 threads); compiling at a user's first call would cost more",
        "cuda": "forward and backward of gaussian_nll on an H100, in a graph: 9, 66 and 478 us at 64, 1,024 and 8,192 x 3 x 64 x "
        "64 (cuda 11, 76 and 546; compiled PyTorch 9, 65 and 472)",
    },
)


# What PyTorch sees.


def _fake_forward(
    x: Tensor, x_hat: Tensor, weight: Tensor | None, kind: str, from_logits: bool
) -> tuple[Tensor, Tensor]:
    dtype, rows = compute_dtype(x_hat.dtype), x_hat.shape[:1]
    return x_hat.new_empty(rows, dtype=dtype), x_hat.new_empty((0,) if weight is None else rows, dtype=dtype)


error_sums = _library.define(
    "error_sums(Tensor x, Tensor x_hat, Tensor? weight, str kind, bool from_logits) -> (Tensor sums, Tensor weighted)",
    _OP.forward,
    _fake_forward,
)
_error_sums_backward = _library.define_backward(
    "A likelihood",
    "error_sums_backward(Tensor? grad_sums, Tensor? grad_weighted, Tensor x, Tensor x_hat, Tensor? weight, str kind, "
    "bool from_logits, bool[] needs) -> (Tensor grad_x, Tensor grad_x_hat, Tensor grad_weight)",
    _OP.backward,
    lambda grad_sums, grad_weighted, x, x_hat, weight, kind, from_logits, needs: _gradients(x, x_hat, weight, needs),
)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, x_hat, weight, ctx.kind, ctx.from_logits = inputs
    ctx.save_for_backward(x, x_hat, weight)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_sums: Tensor | None, grad_weighted: Tensor | None) -> _library.Gradients:
    x, x_hat, weight = ctx.saved_tensors
    if weight is None:
        grad_weighted = None
    needs = [*ctx.needs_input_grad[:2], ctx.needs_input_grad[2] and grad_weighted is not None]
    if grad_sums is None and grad_weighted is None or not any(needs):
        return None, None, None, None, None
    grads = _error_sums_backward(grad_sums, grad_weighted, x, x_hat, weight, ctx.kind, ctx.from_logits, needs)
    return (*(g if needed else None for g, needed in zip(grads, needs)), None, None)


_library.define_autograd("error_sums", _setup_context, _backward)
