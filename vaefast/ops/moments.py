"""Moments of the aggregate posterior (1/N) sum_i N(mu_i, s_i^2).

The op takes three numbers a dimension in one pass: the mean of the means, the variance of the means ("between") and
the mean of the variances ("within"). They come in float64 whatever the inputs are, because the backward pass
subtracts the mean again; ranks are merged by arithmetic on k numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vaefast.float32 import widest
from vaefast.ops import _check, _library, _native
from vaefast.ops._precision import compute_dtype
from vaefast.ops._registry import Kernels, Op
from vaefast.ops._scale import PARAMS, scale_of

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

VARS = ("mixture", "means")


def mixture_moments(
    mu: Tensor,
    scale: Tensor,
    *,
    param: str = "logvar",
    var: str = "mixture",
    group: ProcessGroup | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and variance, dimension by dimension, of the mixture (1/N) sum_i N(mu_i, s_i^2).

    Args:
        mu: means, [..., k], float32, bfloat16, float16 or float64; all leading dimensions together are the N.
        scale: what `param` says of the standard deviations s, same shape; mixed dtypes are promoted.
        param: "logvar": s = exp(scale / 2); "logstd": s = exp(scale); "softplus": s = 1e-6 + softplus(scale).
        var: "mixture": mean of s_i^2 plus the biased variance of the mu_i, the variance of the mixture; "means": the
            variance of the mu_i alone, as in GAMIX's release. `scale` is then not read and gets no gradient.
        group: take the moments over the rows of all ranks of this process group, which may hold different numbers of
            rows, even none; every rank must call. All ranks get the same bits.

    Returns:
        mean [k] and variance [k], float32 (float64 for float64).

    Differentiable once; the result does not depend on the number of threads, and data far from 0 loses no digits.
    With `group`, the gradient on a rank is that of the sum of all ranks' losses with respect to its own rows: the
    incoming gradients are summed over ranks, so every rank must also run the backward pass. Averaging the gradients
    of the parameters over ranks, as DistributedDataParallel does, then gives those of the mean of the ranks' losses:
    a loss of these moments alone, which is equal on all ranks, trains as in a single process with the whole batch.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not fit, no rows (without `group`), an unknown `param` or `var`.
        BackendError: a forced backend cannot run here.

    Source: Rivera, "How to train your VAE" (2023, GAMIX), with the exact variance of a mixture.
    """
    mean, variance, dtype = wide_moments(mu, scale, param, var, group)
    return mean.to(dtype), variance.to(dtype)


def checked(
    mu: Tensor, scale: Tensor, param: str, var: str, group: ProcessGroup | None
) -> tuple[Tensor, Tensor | None]:
    """mu [N, k] and, where it counts, scale [N, k], of one dtype."""
    _check.float_tensor("mu", mu)
    _check.float_tensor("scale", scale)
    _check.same_shape_and_device("scale", scale, "mu", mu)
    _check.choice("param", param, PARAMS)
    _check.choice("var", var, VARS)
    rows, k = mu.shape[:-1].numel(), mu.shape[-1]
    if group is None and rows == 0:
        _check.fail("mu", f"of shape {list(mu.shape)}", "at least one row")
    if mu.dtype != scale.dtype and var == "mixture":
        dtype = torch.promote_types(mu.dtype, scale.dtype)
        mu, scale = mu.to(dtype), scale.to(dtype)
    return mu.reshape(rows, k), None if var == "means" else scale.reshape(rows, k)


def wide_moments(
    mu: Tensor, scale: Tensor, param: str, var: str, group: ProcessGroup | None
) -> tuple[Tensor, Tensor, torch.dtype]:
    """Mean and variance in float64, and the dtype that results have."""
    mu, counted = checked(mu, scale, param, var, group)
    moments = _mixture_moments(mu, counted, param)
    mean, between, within = moments if group is None else _over_ranks(mu.shape[0], *moments, group)
    return mean, between if counted is None else between + within, compute_dtype(mu.dtype)


def _over_ranks(
    rows: int, mean: Tensor, between: Tensor, within: Tensor, group: ProcessGroup
) -> tuple[Tensor, Tensor, Tensor]:
    """The three moments of all ranks' rows together."""
    import torch.distributed as dist

    from vaefast.collectives import all_sum

    k, rank, world = mean.shape[0], dist.get_rank(group), dist.get_world_size(group)
    if rank < 0:
        _check.fail("group", "a group that this rank is not in", "a group of this rank, or None")
    mine = torch.cat([mean.new_full((1,), rows), mean, between, within])
    # A slot for every rank: a sum with zeros is exact, so all ranks merge the same numbers in the same order.
    slots = torch.nn.functional.pad(mine[None], (0, 0, rank, world - 1 - rank))
    counts, means, betweens, withins = all_sum(slots, group).split([1, k, k, k], dim=1)
    share = counts / counts.sum()
    mean = (share * means).sum(0)
    between = (share * (betweens + (means - mean) ** 2)).sum(0)
    return mean, between, (share * withins).sum(0)


# The reference: the meaning of the op, in plain PyTorch, on any device.


def _variance(a: Tensor, param: str) -> tuple[Tensor, Tensor]:
    """s^2 and its derivative to a."""
    if param == "logvar":
        return torch.exp(a), torch.exp(a)
    if param == "logstd":
        return torch.exp(2 * a), 2 * torch.exp(2 * a)
    s = scale_of(a, param)[0]
    return s * s, 2 * s * torch.sigmoid(a)


def reference_forward(mu: Tensor, scale: Tensor | None, param: str) -> tuple[Tensor, Tensor, Tensor]:
    dtype = widest(mu.device)
    m = mu.to(dtype)
    if mu.shape[0] == 0:
        return m.new_zeros(m.shape[1]), m.new_zeros(m.shape[1]), m.new_zeros(m.shape[1])
    mean = m.mean(0)
    within = torch.zeros_like(mean) if scale is None else _variance(scale.to(dtype), param)[0].mean(0)
    return mean, (m - mean).square().mean(0), within


def reference_backward(
    grad_mean: Tensor | None, grad_between: Tensor | None, grad_within: Tensor | None, mean: Tensor, mu: Tensor,
    scale: Tensor | None, param: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    grad_mu, grad_scale = _gradients(mu, scale)
    n = max(mu.shape[0], 1)
    to_mu = mean.new_zeros(mu.shape)
    if grad_mean is not None:
        to_mu += grad_mean / n
    if grad_between is not None:
        # The derivative through the mean vanishes, because deviations sum to 0.
        to_mu += 2 * grad_between / n * (mu - mean)
    grad_mu.copy_(to_mu)
    if scale is not None:
        slope = _variance(scale.to(mean.dtype), param)[1]
        grad_scale.copy_(torch.zeros_like(slope) if grad_within is None else grad_within / n * slope)
    return grad_mu, grad_scale


# The compiled backends.


def _outputs(mu: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    k, dtype = mu.shape[1], widest(mu.device)
    return mu.new_empty(k, dtype=dtype), mu.new_empty(k, dtype=dtype), mu.new_empty(k, dtype=dtype)


def _gradients(mu: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor]:
    return mu.new_empty(mu.shape), mu.new_empty(0) if scale is None else scale.new_empty(scale.shape)


def part_count(mu: Tensor) -> int:
    """Of the rows, by the shape and the kind of device alone."""
    rows, k = mu.shape
    if mu.is_cuda:  # three blocks of 128 columns a multiprocessor of an H200, as many as it holds at a time
        return max(1, min(396 // max(1, -(-k // 128)), -(-rows // 64)))
    return max(1, min(256, -(-rows // 1024)))


def _parts(mu: Tensor) -> Tensor:
    """Room for the sums of parts of the rows."""
    return mu.new_empty((part_count(mu), 3, mu.shape[1]), dtype=widest(mu.device))


def native_forward(mu: Tensor, scale: Tensor | None, param: str) -> tuple[Tensor, Tensor, Tensor]:
    """`reference_forward` by csrc/{cpu,cuda}/mixture_moments."""
    mu, scale = _native.unit_rows(mu), None if scale is None else _native.unit_rows(scale)
    outputs, parts = _outputs(mu), _parts(mu)
    _native.run(
        "mixture_moments_forward", mu, mu, scale, parts, *outputs, *mu.shape, parts.shape[0], mu.stride(0),
        0 if scale is None else scale.stride(0), mu.dtype, PARAMS.index(param),
    )  # fmt: skip
    return outputs


def _dense(grads: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    return [None if g is None else g.contiguous() for g in grads]


def native_backward(
    grad_mean: Tensor | None, grad_between: Tensor | None, grad_within: Tensor | None, mean: Tensor, mu: Tensor,
    scale: Tensor | None, param: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`reference_backward` by csrc/{cpu,cuda}/mixture_moments."""
    mu, scale = _native.unit_rows(mu), None if scale is None else _native.unit_rows(scale)
    grads, (grad_mu, grad_scale) = _dense((grad_mean, grad_between, grad_within)), _gradients(mu, scale)
    _native.run(
        "mixture_moments_backward", mu, *grads, mean, mu, scale, grad_mu, None if scale is None else grad_scale,
        *mu.shape, mu.stride(0), 0 if scale is None else scale.stride(0), mu.dtype, PARAMS.index(param),
    )  # fmt: skip
    return grad_mu, grad_scale


def triton_forward(mu: Tensor, scale: Tensor | None, param: str) -> tuple[Tensor, Tensor, Tensor]:
    """`reference_forward` by kernels/mixture_moments.py."""
    mu, scale = _native.unit_rows(mu), None if scale is None else _native.unit_rows(scale)
    outputs, parts = _outputs(mu), _parts(mu)
    _native.kernels("mixture_moments").forward(mu, scale, parts, *outputs, PARAMS.index(param))
    return outputs


def triton_backward(
    grad_mean: Tensor | None, grad_between: Tensor | None, grad_within: Tensor | None, mean: Tensor, mu: Tensor,
    scale: Tensor | None, param: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`reference_backward` by kernels/mixture_moments.py."""
    mu, scale = _native.unit_rows(mu), None if scale is None else _native.unit_rows(scale)
    grads, (grad_mu, grad_scale) = _dense((grad_mean, grad_between, grad_within)), _gradients(mu, scale)
    _native.kernels("mixture_moments").backward(
        *grads, mean, mu, scale, grad_mu, None if scale is None else grad_scale, PARAMS.index(param)
    )
    return grad_mu, grad_scale


_OP = Op(
    "mixture_moments",
    {
        "reference": Kernels(reference_forward, reference_backward),
        "cpp": Kernels(native_forward, native_backward),
        "triton": Kernels(triton_forward, triton_backward),
        "cuda": Kernels(native_forward, native_backward),
    },
    prefer={"cpu": ("cpp",), "cuda": ("cuda", "triton")},
    because={
        "cpu": "8 times the eager formula and 2 times the compiled one at 60,000 x 64, forward and backward of mixture_kl "
        "(two AVX-512 threads)",
        "cuda": "forward and backward of mixture_kl on an H100, in a graph: 0.014, 0.046 and 1.17 ms at 512, 60,000 and "
        "2,097,152 x 64 (triton 0.045, 0.093 and 1.52, compiled PyTorch 0.015, 0.061 and 1.30)",
    },
)


# What PyTorch sees.


_mixture_moments = _library.define(
    "mixture_moments(Tensor mu, Tensor? scale, str param) -> (Tensor mean, Tensor between, Tensor within)",
    _OP.forward,
    lambda mu, scale, param: _outputs(mu),
)
_mixture_moments_backward = _library.define_backward(
    "mixture_moments",
    "mixture_moments_backward(Tensor? grad_mean, Tensor? grad_between, Tensor? grad_within, Tensor mean, Tensor mu, "
    "Tensor? scale, str param) -> (Tensor grad_mu, Tensor grad_scale)",
    _OP.backward,
    lambda grad_mean, grad_between, grad_within, mean, mu, scale, param: _gradients(mu, scale),
)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    mu, scale, ctx.param = inputs
    ctx.save_for_backward(mu, scale, output[0])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_mean: Tensor | None, grad_between: Tensor | None, grad_within: Tensor | None) -> _library.Gradients:
    mu, scale, mean = ctx.saved_tensors
    if grad_mean is None and grad_between is None and grad_within is None:
        return None, None, None
    if not ctx.needs_input_grad[1]:
        scale = None
    grads = _mixture_moments_backward(grad_mean, grad_between, grad_within, mean, mu, scale, ctx.param)
    return grads[0], None if scale is None else grads[1], None


_library.define_autograd("mixture_moments", _setup_context, _backward)
