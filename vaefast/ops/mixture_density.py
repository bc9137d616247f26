"""mixture_log_density: log density of a mixture of diagonal Gaussians, streamed over the components.

With the posteriors of N images as components it is the log of the aggregate posterior q(z); the functions of
vaefast/ops/aggregate_posterior.py are made of it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaefast.ops import _check, _library, _native, _rounds
from vaefast.ops._precision import compute_dtype
from vaefast.ops._registry import Kernels, Op
from vaefast.ops._scale import PARAMS, scale_of

LOG_TWO_PI = math.log(2 * math.pi)


def mixture_log_density(
    z: Tensor,
    mu: Tensor,
    scale: Tensor,
    *,
    param: str = "logvar",
    per_dimension: bool = False,
    exclude_self: bool = False,
) -> Tensor:
    """log (1/N) sum_j N(z_i | mu_j, diag(s_j^2)) of every row of z, in nats.

    With the posteriors of N images as components this is log q(z), the log of the aggregate posterior.

    Args:
        z: points, [M, k], float32, bfloat16, float16 or float64.
        mu: means of the N >= 1 components, [N, k]; mixed dtypes are promoted.
        scale: what `param` says of their standard deviations s, [N, k].
        param: "logvar": s = exp(scale / 2); "logstd": s = exp(scale); "softplus": s = 1e-6 + softplus(scale).
        per_dimension: the marginal log densities log (1/N) sum_j N(z_id | mu_jd, s_jd^2) of all dimensions d instead,
            [M, k]. Their sum over d is the log of the product of marginals in a total correlation.
        exclude_self: leave component i out of row i, and average over the other N - 1. Needs M == N >= 2.

    Returns:
        [M], or [M, k] per dimension; float32 (float64 for float64). A row that is infinitely far from all components
        has -inf, and no gradient.

    Differentiable once, to z, mu and scale. No array of M x N elements is ever made and only the inputs and the
    result's log-sum-exp are kept: the backward pass computes the distances again. They come from differences z - mu
    wherever products would lose digits, so that means of 100 and widths of 1e-4 keep theirs. A component whose share in
    a row is below 2^-100 (float32; e^-690 in float64) counts as absent from that row. Gradients do not depend on the
    number of threads.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not fit, no component, an unknown `param`.
        BackendError: a forced backend cannot run here.

    Source: Hoffman and Johnson, "ELBO surgery" (2016), for q(z); Chen et al., "Isolating sources of disentanglement in
    VAEs" (2018), for its marginals.
    """
    for name, x in (("z", z), ("mu", mu), ("scale", scale)):
        _check.float_tensor(name, x, min_dim=2)
        if x.dim() != 2:
            _check.fail(name, f"of shape {list(x.shape)}", "2 dimensions")
    _check.same_shape_and_device("scale", scale, "mu", mu)
    if z.shape[1] != mu.shape[1]:
        _check.fail("z", f"of shape {list(z.shape)}", f"[M, {mu.shape[1]}], as mu has shape {list(mu.shape)}")
    if z.device != mu.device:
        _check.fail("z", f"on device {z.device}", f"the device of mu, {mu.device}")
    _check.choice("param", param, PARAMS)
    for name, value in (("per_dimension", per_dimension), ("exclude_self", exclude_self)):
        if not isinstance(value, bool):
            _check.fail(name, repr(value), "True or False")
    if exclude_self and z.shape[0] != mu.shape[0]:
        _check.fail("exclude_self", True, f"False, as z has {z.shape[0]} rows and mu {mu.shape[0]}")
    if mu.shape[0] < 1 + exclude_self:
        _check.fail("mu", f"of shape {list(mu.shape)}", f"at least {1 + exclude_self} component(s)")
    dtype = torch.promote_types(torch.promote_types(z.dtype, mu.dtype), scale.dtype)
    return _mixture_log_density(z.to(dtype), mu.to(dtype), scale.to(dtype), param, per_dimension, exclude_self)[0]


class Components(NamedTuple):
    """What the kernels need of the components: c_j - |(z - mu_j) inverse_j|^2 / 2 is component j's log density, less
    an offset that all of them share. Without the offset the rest is of the size of its differences, and keeps more
    digits where thousands of nats are common to all.

    Joint: constant [N], offset []; per dimension: constant [N, k], offset [k].
    """

    inverse: Tensor  # 1 / s, [N, k]
    constant: Tensor
    offset: Tensor


def _components(scale: Tensor, param: str, per_dimension: bool, exclude_self: bool) -> Components:
    dtype = compute_dtype(scale.dtype)
    s, two_log_s, _ = scale_of(scale.to(dtype), param)
    dimensions = 1 if per_dimension else scale.shape[1]
    constant = -0.5 * (two_log_s.double() if per_dimension else two_log_s.sum(1, dtype=torch.float64))
    centre = constant.nan_to_num(0.0, 0.0, 0.0).mean(0)
    offset = centre - (0.5 * dimensions * LOG_TWO_PI + math.log(scale.shape[0] - exclude_self))
    return Components(1 / s, (constant - centre).to(dtype), offset.to(dtype))


def _finish(scale: Tensor, param: str, inverse: Tensor, s0: Tensor, s1: Tensor, s2: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients to mu and scale from s0 = sum_i a_ij, s1 = sum_i a_ij (z_i - mu_j) and s2 = sum_i a_ij (z_i - mu_j)^2,
    a_ij the gradient of row i times the share of component j in it. s0 may lack the dimension k."""
    precision = inverse * inverse
    to_mu, to_scale = s1 * precision, s2 * precision - (s0 if s0.dim() == 2 else s0[:, None])
    if param == "logvar":
        to_scale = 0.5 * to_scale
    elif param == "softplus":
        to_scale = to_scale * inverse * torch.sigmoid(scale.to(inverse.dtype))
    return to_mu.to(scale.dtype).contiguous(), to_scale.to(scale.dtype).contiguous()


# The reference: the meaning of the op, in plain PyTorch, on any device. Rows go through in groups, so that the
# fallback too runs at sizes whose [M, N, k] would not fit.

REFERENCE_ELEMENTS = 2**23


def _groups(z: Tensor, mu: Tensor) -> list[slice]:
    step = max(1, REFERENCE_ELEMENTS // max(1, mu.numel()))
    return [slice(i, min(i + step, z.shape[0])) for i in range(0, z.shape[0], step)]


def _log_terms(
    z: Tensor, rows: slice, mu: Tensor, c: Components, per_dimension: bool, exclude_self: bool
) -> tuple[Tensor, Tensor]:
    """z - mu, [m, N, k], and the components' log densities less the offset, [m, N] or [m, N, k], of the rows."""
    difference = z[rows, None, :] - mu
    quadratic = (difference * c.inverse).square()
    terms = c.constant - 0.5 * (quadratic if per_dimension else quadratic.sum(2))
    if exclude_self:
        i = torch.arange(rows.start, rows.stop, device=z.device)
        left_out = i[:, None] == torch.arange(mu.shape[0], device=z.device)
        terms = terms.masked_fill(left_out[:, :, None] if per_dimension else left_out, -math.inf)
    return difference, terms


def reference_forward(
    z: Tensor, mu: Tensor, scale: Tensor, param: str, per_dimension: bool, exclude_self: bool
) -> tuple[Tensor, Tensor]:
    """The log density and, for the backward pass, the same less the offset."""
    dtype = compute_dtype(z.dtype)
    z, mu, c = z.to(dtype), mu.to(dtype), _components(scale, param, per_dimension, exclude_self)
    parts = [_log_terms(z, rows, mu, c, per_dimension, exclude_self)[1].logsumexp(1) for rows in _groups(z, mu)]
    log_sum = torch.cat(parts) if parts else _output(z, per_dimension)
    return log_sum + c.offset, log_sum


def reference_backward(
    grad: Tensor, log_sum: Tensor, z: Tensor, mu: Tensor, scale: Tensor, param: str, per_dimension: bool,
    exclude_self: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients to z, mu and scale."""
    input_dtype, dtype = z.dtype, compute_dtype(z.dtype)
    z, mu, c = z.to(dtype), mu.to(dtype), _components(scale, param, per_dimension, exclude_self)
    to_z, precision = torch.zeros_like(z, memory_format=torch.contiguous_format), c.inverse * c.inverse
    s0 = torch.zeros_like(c.constant)
    s1, s2 = torch.zeros_like(precision), torch.zeros_like(precision)
    for rows in _groups(z, mu):
        difference, terms = _log_terms(z, rows, mu, c, per_dimension, exclude_self)
        total = log_sum[rows, None]
        share = torch.where(total == -math.inf, 0.0, torch.exp(terms - total)) * grad[rows, None]
        s0 += share.sum(0)
        if not per_dimension:
            share = share[:, :, None]
        # A row at infinity has no share in anything, and 0 times its distance is not NaN but nothing.
        difference = torch.where(difference.isinf(), 0.0, difference)
        weighted = share * difference
        to_z[rows] = -(weighted * precision).sum(1)
        s1 += weighted.sum(0)
        s2 += (weighted * difference).sum(0)
    return to_z.to(input_dtype), *_finish(scale, param, c.inverse, s0, s1, s2)


# The compiled backends. They take everything in float32 or float64; per dimension everything is transposed, [k, M] and
# [k, N], so that neighbouring points and components of one dimension lie side by side.


def _output(z: Tensor, per_dimension: bool) -> Tensor:
    return z.new_empty(z.shape if per_dimension else z.shape[:1], dtype=compute_dtype(z.dtype))


def _splits(owners: int, streamed: int, dimensions: int, device_type: str) -> int:
    """Into how many ranges, merged in their order, what a block streams through is cut, for enough blocks at work.

    A function of the sizes alone, so that results do not depend on how many threads or processors there are.
    """
    blocks, most, least = dimensions * -(-owners // 64), *((512, 64) if device_type == "cuda" else (64, 256))
    return max(1, min(most // max(1, blocks), -(-streamed // least)))


def _operand(x: Tensor, per_dimension: bool) -> Tensor:
    x = x.to(compute_dtype(x.dtype))
    return (x.t() if per_dimension and x.dim() == 2 else x).contiguous()


PRODUCTS = range(32, 65)
"""Dimensions of the joint density in float32 that go to the tensor cores. With fewer, pairs whose distance must come from
differences are frequent, and the differences of all are not much work."""


def _by_products(points: Tensor, per_dimension: bool) -> bool:
    return points.dtype == torch.float32 and not per_dimension and points.shape[1] in PRODUCTS and _native.has_products(points)


def _room(points: Tensor, means: Tensor, orders: int) -> tuple[Tensor, ...]:
    """DensityRoom of csrc/core/mixture_density_args.h: the middle of the means, and room for the rest."""

    def packed(x: Tensor) -> Tensor:
        return x.new_empty(2 * orders, -(-x.shape[0] // 64) * 64, 64)  # two halves take the room of a float

    center = means.nan_to_num(0.0, 0.0, 0.0).mean(0)
    return center, points.new_zeros(3), means.new_empty(means.shape[0]), packed(points), packed(means)


def _parts(owners: int, streamed: int, at_a_time: int) -> int:
    return _rounds.parts(-(-owners // 64), min(8, -(-streamed // 64)), at_a_time)


def native_forward(
    z: Tensor, mu: Tensor, scale: Tensor, param: str, per_dimension: bool, exclude_self: bool
) -> tuple[Tensor, Tensor]:
    """`reference_forward` by csrc/{cpu,cuda}/mixture_density."""
    if z.numel() == 0:
        return reference_forward(z, mu, scale, param, per_dimension, exclude_self)
    (m, k), n = z.shape, mu.shape[0]
    c = _components(scale, param, per_dimension, exclude_self)
    points, means, inverse, constant = (_operand(x, per_dimension) for x in (z, mu, c.inverse, c.constant))
    products = _by_products(points, per_dimension)
    splits = _parts(m, n, 396) if products else _splits(m, n, k if per_dimension else 1, z.device.type)
    out = points.new_empty((k, m) if per_dimension else (m,))
    scratch = points.new_empty((2, splits, out.numel())) if splits > 1 else None
    name, room = ("mixture_density_forward_products", _room(points, means, 1)) if products else ("mixture_density_forward", ())
    _native.run(
        name, points, points, means, inverse, constant, out, scratch, m, n, k, splits, per_dimension, exclude_self, points.dtype,
        *room,
    )  # fmt: skip
    log_sum = out.t().contiguous() if per_dimension else out
    return log_sum + c.offset, log_sum


def native_backward(
    grad: Tensor, log_sum: Tensor, z: Tensor, mu: Tensor, scale: Tensor, param: str, per_dimension: bool,
    exclude_self: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """`reference_backward` by csrc/{cpu,cuda}/mixture_density."""
    if z.numel() == 0:
        return reference_backward(grad, log_sum, z, mu, scale, param, per_dimension, exclude_self)
    (m, k), n = z.shape, mu.shape[0]
    c = _components(scale, param, per_dimension, exclude_self)
    operands = [_operand(x, per_dimension) for x in (grad, log_sum, z, mu, c.inverse, c.constant)]
    points = operands[2]
    dimensions = k if per_dimension else 1
    products = _by_products(points, per_dimension)
    if products:
        splits_z, splits_components = _parts(m, n, 264), _parts(n, m, 264)
    else:
        splits_z, splits_components = _splits(m, n, dimensions, z.device.type), _splits(n, m, dimensions, z.device.type)
    to_z, s1, s2 = torch.empty_like(points), torch.empty_like(operands[3]), torch.empty_like(operands[3])
    s0 = torch.empty_like(operands[5])
    scratch_z = points.new_empty((splits_z, to_z.numel())) if splits_z > 1 else None
    per_split = s0.numel() + 2 * s1.numel()
    scratch_components = points.new_empty(splits_components * per_split) if splits_components > 1 else None
    name = "mixture_density_backward_products" if products else "mixture_density_backward"
    room = _room(points, operands[3], 2) if products else ()
    _native.run(
        name, points, *operands, to_z, s0, s1, s2, scratch_z, scratch_components, m, n, k, splits_z, splits_components,
        per_dimension, exclude_self, points.dtype, *room,
    )  # fmt: skip
    if per_dimension:
        to_z, s0, s1, s2 = (x.t() for x in (to_z, s0, s1, s2))
    to_mu, to_scale = _finish(scale, param, c.inverse, s0, s1, s2)
    return to_z.to(z.dtype).contiguous(), to_mu, to_scale


def triton_forward(
    z: Tensor, mu: Tensor, scale: Tensor, param: str, per_dimension: bool, exclude_self: bool
) -> tuple[Tensor, Tensor]:
    """`reference_forward` by kernels/mixture_density.py."""
    if z.numel() == 0:
        return reference_forward(z, mu, scale, param, per_dimension, exclude_self)
    (m, k), n = z.shape, mu.shape[0]
    c = _components(scale, param, per_dimension, exclude_self)
    operands = [_operand(x, True) for x in (z, mu, c.inverse, c.constant)]
    splits = _splits(m, n, k if per_dimension else 1, z.device.type)
    out = _native.kernels("mixture_density").forward(*operands, not per_dimension, exclude_self, splits)
    log_sum = out.t().contiguous() if per_dimension else out
    return log_sum + c.offset, log_sum


def triton_backward(
    grad: Tensor, log_sum: Tensor, z: Tensor, mu: Tensor, scale: Tensor, param: str, per_dimension: bool,
    exclude_self: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """`reference_backward` by kernels/mixture_density.py."""
    if z.numel() == 0:
        return reference_backward(grad, log_sum, z, mu, scale, param, per_dimension, exclude_self)
    (m, k), n = z.shape, mu.shape[0]
    c = _components(scale, param, per_dimension, exclude_self)
    operands = [_operand(x, True) for x in (grad, log_sum, z, mu, c.inverse, c.constant)]
    planes = k if per_dimension else 1
    splits = _splits(m, n, planes, z.device.type), _splits(n, m, planes, z.device.type)
    to_z, s0, s1, s2 = _native.kernels("mixture_density").backward(*operands, not per_dimension, exclude_self, *splits)
    sums = (x.t() if x.dim() == 2 else x for x in (s0, s1, s2))
    to_mu, to_scale = _finish(scale, param, c.inverse, *sums)
    return to_z.t().to(z.dtype).contiguous(), to_mu, to_scale


_OP = Op(
    "mixture_log_density",
    {
        "reference": Kernels(reference_forward, reference_backward),
        "cpp": Kernels(native_forward, native_backward),
        "triton": Kernels(triton_forward, triton_backward),
        "cuda": Kernels(native_forward, native_backward),
    },
    prefer={"cpu": ("cpp",), "cuda": ("cuda", "triton")},
    because={
        "cpu": "33 times eager and 62 times compiled PyTorch at 4,096 x 4,096 x 64 where all pairs count, 169 times eager for "
        "narrow posteriors; 1.2 and 5.9 times the compiled Gram form, which keeps fewer digits and wins at 1,024 rows (0.77); "
        "below about 64 x 64 x 10 plain PyTorch is quicker, by some 0.2 ms (two AVX-512 threads)",
        "cuda": "forward and backward on an H100, 10,000 x 10,000 x 64: 7.2 ms (triton 26.8; compiled PyTorch 29.4, and 3.5 from "
        "Gram matrices, which keep fewer digits)",
    },
)


# What PyTorch sees.


def _fake_forward(
    z: Tensor, mu: Tensor, scale: Tensor, param: str, per_dimension: bool, exclude_self: bool
) -> tuple[Tensor, Tensor]:
    return _output(z, per_dimension), _output(z, per_dimension)


_mixture_log_density = _library.define(
    "mixture_log_density(Tensor z, Tensor mu, Tensor scale, str param, bool per_dimension, bool exclude_self) -> "
    "(Tensor log_density, Tensor log_sum)",
    _OP.forward,
    _fake_forward,
)
_mixture_log_density_backward = _library.define_backward(
    "mixture_log_density",
    "mixture_log_density_backward(Tensor grad, Tensor log_sum, Tensor z, Tensor mu, Tensor scale, str param, "
    "bool per_dimension, bool exclude_self) -> (Tensor grad_z, Tensor grad_mu, Tensor grad_scale)",
    _OP.backward,
    lambda grad, log_sum, z, mu, *options: (z.new_empty(z.shape), mu.new_empty(mu.shape), mu.new_empty(mu.shape)),
)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    z, mu, scale, *ctx.options = inputs
    ctx.save_for_backward(output[1], z, mu, scale)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> _library.Gradients:
    # log_sum stays inside this file, so no gradient comes to it.
    if grad is None:
        return None, None, None, None, None, None
    return (*_mixture_log_density_backward(grad, *ctx.saved_tensors, *ctx.options), None, None, None)


_library.define_autograd("mixture_log_density", _setup_context, _backward)
