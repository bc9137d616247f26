"""KL of the moment-matched Gaussian of the aggregate posterior (1/N) sum_i N(mu_i, s_i^2) to N(0, I).

On a GPU the CUDA backend takes it in two kernels, and its gradients in one. Elsewhere it is made of the moments and arithmetic
on k numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vaefast.ops import _check, _library, _native, moments
from vaefast.ops._precision import compute_dtype
from vaefast.ops._registry import Kernels, Op
from vaefast.ops._scale import PARAMS

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Outputs = tuple[Tensor, Tensor, Tensor, Tensor]


def mixture_kl(
    mu: Tensor,
    scale: Tensor,
    *,
    param: str = "logvar",
    var: str = "mixture",
    eps: float = 1e-8,
    group: ProcessGroup | None = None,
) -> Tensor:
    """KL(N(mean, variance) || N(0, I)) of the moments of `mixture_moments`, in nats, a scalar.

    0.5 sum_k (mean^2 + variance - log max(variance, eps) - 1): the variance inside the logarithm is raised to eps, and
    where it is below, the logarithm has no gradient; so one row with var="means" gives a finite value.

    It bounds the divergence of the mixture itself from below, and equals the mean over i of KL(N(mu_i, s_i^2) ||
    N(0, I)) less 0.5 sum_k (log variance - mean_i log s_i^2). Arguments, gradients and errors are those of
    `mixture_moments`.

    Source: Rivera, "How to train your VAE" (2023, GAMIX); his release has var="means".
    """
    if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not 0 <= eps < math.inf:
        _check.fail("eps", repr(eps), "a number >= 0")
    if group is not None:
        mean, variance, dtype = moments.wide_moments(mu, scale, param, var, group)
        return _divergence(mean, variance, eps).to(dtype)
    return _mixture_kl(*moments.checked(mu, scale, param, var, None), param, float(eps))[0]


def _divergence(mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """KL(N(mean, variance) || N(0, I)), the variance raised to eps inside the logarithm."""
    return (0.5 * (mean * mean + variance - variance.clamp_min(eps).log() - 1)).sum()


def _made_of(of: Kernels) -> Kernels:
    """The op from the moments of a backend and PyTorch's arithmetic."""

    def forward(mu: Tensor, scale: Tensor | None, param: str, eps: float) -> Outputs:
        mean, between, within = of.forward(mu, scale, param)
        variance = between if scale is None else between + within
        return _divergence(mean, variance, eps).to(compute_dtype(mu.dtype)), mean, between, within

    def backward(
        grad: Tensor, mean: Tensor, between: Tensor, within: Tensor, mu: Tensor, scale: Tensor | None, param: str, eps: float,
        to_scale: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        half = 0.5 * grad.to(mean.dtype)
        variance = between if scale is None else between + within
        to_variance = half - torch.where(variance >= eps, half / variance.clamp_min(eps), 0)
        to_variance = torch.where(variance.isnan(), variance, to_variance)
        to_mean = half * mean * 2
        gradients: tuple[Tensor, Tensor] = of.backward(
            to_mean, to_variance, to_variance, mean, mu, scale if to_scale else None, param
        )
        return gradients

    return Kernels(forward, backward)


def cuda_forward(mu: Tensor, scale: Tensor | None, param: str, eps: float) -> Outputs:
    """The op by csrc/cuda/mixture_moments."""
    mu, scale = _native.unit_rows(mu), None if scale is None else _native.unit_rows(scale)
    rows, k = mu.shape
    parts, kl = moments.part_count(mu), mu.new_empty((), dtype=compute_dtype(mu.dtype))
    room = mu.new_empty(parts * 3 * k + -(-k // 8) + 1, dtype=torch.float64)
    # not views of one tensor: PyTorch forbids that results share memory
    mean, between, within = (mu.new_empty(k, dtype=torch.float64) for _ in range(3))
    _native.run(
        "mixture_kl_forward", mu, mu, scale, room, mean, between, within, kl, rows, k, parts, mu.stride(0),
        0 if scale is None else scale.stride(0), eps, mu.dtype, PARAMS.index(param),
    )  # fmt: skip
    return kl, mean, between, within


def cuda_backward(
    grad: Tensor, mean: Tensor, between: Tensor, within: Tensor, mu: Tensor, scale: Tensor | None, param: str, eps: float,
    to_scale: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The op's gradients by csrc/cuda/mixture_moments."""
    scale = scale if to_scale else None
    mu, scale = _native.unit_rows(mu), None if scale is None else _native.unit_rows(scale)
    grad_mu, grad_scale = moments._gradients(mu, scale)
    _native.run(
        "mixture_kl_backward", mu, grad, mean, between, within, mu, scale, grad_mu, None if scale is None else grad_scale,
        *mu.shape, mu.stride(0), 0 if scale is None else scale.stride(0), eps, mu.dtype, PARAMS.index(param),
    )  # fmt: skip
    return grad_mu, grad_scale


_OF_MOMENTS = {name: _made_of(kernels) for name, kernels in moments._OP.kernels.items()}


def _native_forward(mu: Tensor, scale: Tensor | None, param: str, eps: float) -> Outputs:
    return (cuda_forward if _native.on_gpu(mu) else _OF_MOMENTS["cpp"].forward)(mu, scale, param, eps)


def _native_backward(
    grad: Tensor, mean: Tensor, between: Tensor, within: Tensor, mu: Tensor, scale: Tensor | None, param: str, eps: float,
    to_scale: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    backward = cuda_backward if _native.on_gpu(mu) else _OF_MOMENTS["cpp"].backward
    return backward(grad, mean, between, within, mu, scale, param, eps, to_scale)


_OP = Op(
    "mixture_kl",
    {
        "reference": _OF_MOMENTS["reference"],
        "cpp": Kernels(_native_forward, _native_backward),
        "triton": _OF_MOMENTS["triton"],
        "cuda": Kernels(_native_forward, _native_backward),
    },
    prefer=moments._OP.prefer,
    because=moments._OP.because,
)


# What PyTorch sees.


_mixture_kl: Callable[..., Outputs] = _library.define(
    "mixture_kl(Tensor mu, Tensor? scale, str param, float eps) -> (Tensor kl, Tensor mean, Tensor between, Tensor within)",
    _OP.forward,
    lambda mu, *others: (mu.new_empty((), dtype=compute_dtype(mu.dtype)), *moments._outputs(mu)),
)
_mixture_kl_backward = _library.define_backward(
    "mixture_kl",
    "mixture_kl_backward(Tensor grad, Tensor mean, Tensor between, Tensor within, Tensor mu, Tensor? scale, str param, "
    "float eps, bool to_scale) -> (Tensor grad_mu, Tensor grad_scale)",
    _OP.backward,
    lambda grad, mean, between, within, mu, scale, param, eps, to_scale: moments._gradients(mu, scale if to_scale else None),
)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
    mu, scale, ctx.param, ctx.eps = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(mu, scale, *output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, *_: object) -> _library.Gradients:
    if grad is None:
        return None, None, None, None
    mu, scale, *saved = ctx.saved_tensors
    to_scale = scale is not None and ctx.needs_input_grad[1]
    grads = _mixture_kl_backward(grad, *saved, mu, scale, ctx.param, ctx.eps, to_scale)
    return grads[0], grads[1] if to_scale else None, None, None


_library.define_autograd("mixture_kl", _setup_context, _backward)
