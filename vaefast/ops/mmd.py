"""mmd2: squared maximum mean discrepancy of two samples, batched, all scales in one pass over the pairs.

Forward and gradient visit the same pairs, and the dot products are most of the work, so the gradient is computed in
the forward pass where it will be asked for, and the backward pass only scales it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vaefast.float32 import widest
from vaefast.ops import _check, _library, _native
from vaefast.ops import _mmd_reference as reference
from vaefast.ops._mmd_pairs import Prepared, splits, tiles
from vaefast.ops._mmd_reference import KERNELS, Spec
from vaefast.ops._precision import compute_dtype
from vaefast.ops._registry import Kernels, Op

ESTIMATORS = ("unbiased", "biased", "linear", "block")
IMQ_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
MAX_SCALES = 16
MAX_DEGREE = 8
_MEDIAN_ROWS = 512

Outputs = tuple[Tensor, Tensor | None, Tensor | None]
"""MMD^2 and, where wished, its gradients to x and y."""


def mmd2(
    x: Tensor,
    y: Tensor,
    *,
    kernel: str = "imq",
    scales: float | Sequence[float] | str | None = None,
    estimator: str = "unbiased",
    weights: tuple[Tensor | None, Tensor | None] | None = None,
    block_size: int | None = None,
    degree: int = 3,
    gamma: float | None = None,
    coef0: float = 1.0,
) -> Tensor:
    """Squared maximum mean discrepancy between the samples x and y, of every problem of a batch.

    Args:
        x, y: samples [P, n, k] and [P, m, k], or [n, k] and [m, k]; float32, bfloat16, float16 or float64 (mixed dtypes
            are promoted). n and m may differ.
        kernel: with d = |a - b|, the Euclidean distance, and the terms of all scales summed, not averaged,
            "imq": C / (C + d^2), C = 2 k scale (k: dimensions; scales {0.1, 0.2, 0.5, 1, 2, 5, 10} by default);
            "rbf": exp(-d^2 / (2 s^2)), s = scale;
            "laplacian": exp(-d / s), with the Euclidean distance as in geomloss (not the L1 norm);
            "energy": -d, which makes MMD^2 the energy distance;
            "polynomial": (gamma a . b + coef0)^degree.
        scales: numbers > 0, at most 16, or "median" (rbf and laplacian, the default there): one scale, the
            `median_distance` of both samples together.
        estimator: "unbiased": means over pairs of different rows, n, m >= 2, can come out negative; "biased": means
            over all pairs, >= 0; "linear": the mean of k(x, x') + k(y, y') - k(x, y') - k(x', y) over consecutive
            pairs of rows (Gretton et al. 2012, section 6), O(n k); "block": the mean over blocks of `block_size`
            consecutive rows of the statistic that leaves out i = j in all its sums (Zaremba et al. 2013). The last two
            use as many rows of both samples as both have, and drop those that fill no pair or block.
        weights: of the rows of x and y, [P, n] and [P, m] (or [n] and [m]), each >= 0 with a positive sum, or None;
            for "unbiased" and "biased". They are normalised: a mean over pairs i, j is divided by (sum w)^2, and one
            over i != j by (sum w)^2 - sum w^2. No gradient flows to them.
        block_size: for "block", >= 2; the square root of the smaller sample by default.
        degree, gamma, coef0: of the polynomial kernel; degree 1 to 8, gamma > 0, 1 / k by default.

    Returns:
        MMD^2, [P] or a scalar, float32 (float64 for float64). Differentiable once, to x and y; the gradient of a
        distance is 0 at distance 0. Memory is O(P (n + m) k), whatever the number of pairs.

    Rows are centred first (by the mean of both samples), so an offset that both share costs no digits.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not fit, too few rows, an unknown kernel or estimator, scales
            that are not numbers > 0, options that the kernel or estimator does not have.
        BackendError: a forced backend cannot run here.

    Source: Gretton et al., "A Kernel Two-Sample Test" (2012), lemma 6 and section 6; Tolstikhin et al.,
    "Wasserstein Auto-Encoders" (2018) for the imq kernel and its seven scales; Zaremba et al., "B-tests" (2013).
    """
    x, y, single = samples(x, y)
    _check.choice("estimator", estimator, ESTIMATORS)
    spec = checked_spec(kernel, scales, degree, gamma, coef0, x.shape[2])
    n, m = x.shape[1], y.shape[1]
    for name, rows in (("x", n), ("y", m)):
        least = 1 if estimator == "biased" else 2
        if rows < least:
            _check.fail(name, f"a sample of {rows} row(s)", f"at least {least} for estimator {estimator!r}")
    if block_size is not None and estimator != "block":
        _check.fail("block_size", f"given with estimator {estimator!r}", "it with 'block' only")
    wx, wy = _weights(weights, x, y, single, estimator)
    bandwidth = median_distance(x, y) if _wants_median(kernel, scales) else None
    if estimator == "linear":
        value = _linear(x, y, bandwidth, spec)
    elif estimator == "block":
        value = _blocks(x, y, bandwidth, spec, block_size)
    else:
        value = _call(x, y, wx, wy, bandwidth, spec._replace(sums=estimator))
    return value[0] if single else value


def median_distance(x: Tensor, y: Tensor) -> Tensor:
    """The median heuristic: median Euclidean distance between different rows of both samples together.

    Taken over a fixed part of them, 512 rows at even steps through x and then y, so that it needs no n x m array and
    repeats. Where half of these rows are one point it is their mean distance, and 1 where all are. No gradient.

    Args:
        x, y: [P, n, k] and [P, m, k], or [n, k] and [m, k].

    Returns:
        [P] or a scalar, float32 (float64 for float64).

    Raises:
        ArgumentError: shapes, dtypes or devices that do not fit.

    Source: Gretton et al., "A Kernel Two-Sample Test" (2012), section 8.
    """
    x, y, single = samples(x, y)
    x, y = x.detach(), y.detach()
    dtype, rows = compute_dtype(x.dtype), x.shape[1] + y.shape[1]
    count = min(rows, _MEDIAN_ROWS)
    if count < 2:
        return x.new_ones(() if single else x.shape[:1], dtype=dtype)
    index = torch.arange(count, device=x.device) * rows // count
    from_x = (index < x.shape[1])[None, :, None]
    some = torch.where(
        from_x, x[:, index.clamp(max=x.shape[1] - 1)], y[:, (index - x.shape[1]).clamp(min=0)]
    ).to(dtype)  # fmt: skip
    some = some - some.mean(1, keepdim=True)
    distances = reference.squared_distances(some, some).sqrt()
    i, j = torch.triu_indices(count, count, 1, device=x.device).unbind(0)
    distances = distances[:, i, j]
    median, mean = distances.median(1).values, distances.mean(1)
    bandwidth = torch.where(median > 0, median, torch.where(mean > 0, mean, torch.ones_like(mean)))
    bandwidth = torch.where(median.isnan(), median, bandwidth)
    return bandwidth[0] if single else bandwidth


# The checks at the door.


def samples(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, bool]:
    """x and y as [P, n, k] and [P, m, k] of one dtype, and whether they came as single matrices."""
    _check.float_tensor("x", x, 2)
    _check.float_tensor("y", y, 2)
    if x.dim() > 3:
        _check.fail("x", f"of shape {list(x.shape)}", "[P, n, k] or [n, k]")
    if y.dim() != x.dim() or y.shape[-1] != x.shape[-1] or y.shape[:-2] != x.shape[:-2]:
        wished = ", ".join([*map(str, x.shape[:-2]), "m", str(x.shape[-1])])
        _check.fail("y", f"of shape {list(y.shape)}", f"[{wished}], to fit x of shape {list(x.shape)}")
    if x.device != y.device:
        _check.fail("y", f"on device {y.device}", f"the device of x, {x.device}")
    for name, z in (("x", x), ("y", y)):
        if z.shape[-1] < 1 or z.shape[-2] < 1:
            _check.fail(name, f"of shape {list(z.shape)}", "at least one row and one dimension")
    if x.dtype != y.dtype:
        dtype = torch.promote_types(x.dtype, y.dtype)
        x, y = x.to(dtype), y.to(dtype)
    return (x[None], y[None], True) if x.dim() == 2 else (x, y, False)


def _wants_median(kernel: str, scales: object) -> bool:
    return kernel in ("rbf", "laplacian") and (scales is None or isinstance(scales, str))


def _number(argument: str, value: object, positive: bool = True) -> float:
    expected = "a number > 0" if positive else "a number"
    if isinstance(value, bool) or not isinstance(value, (int, float, torch.SymFloat, torch.SymInt)):
        _check.fail(argument, repr(value), expected)
    if not (0 if positive else -math.inf) < value < math.inf:
        _check.fail(argument, value, expected)
    return float(value)


def checked_spec(
    kernel: str, scales: object, degree: int = 3, gamma: float | None = None, coef0: float = 1.0, k: int = 1
) -> Spec:
    """The kernel that the arguments of `mmd2` state."""
    _check.choice("kernel", kernel, KERNELS)
    if kernel in ("energy", "polynomial"):
        if scales is not None:
            _check.fail("scales", f"{scales!r} with kernel {kernel!r}", "None, as this kernel has no scales")
        kernel_scales: tuple[float, ...] = ()
    elif isinstance(scales, str):
        if scales != "median" or kernel == "imq":
            _check.fail("scales", repr(scales), "numbers > 0" + (" or 'median'" if kernel != "imq" else ""))
        kernel_scales = (1.0,)
    elif scales is None:
        kernel_scales = IMQ_SCALES if kernel == "imq" else (1.0,)
    else:
        if isinstance(scales, torch.Tensor) or not isinstance(scales, (Sequence, int, float)):
            _check.fail("scales", f"a {type(scales).__name__}", "a number > 0, or a list or tuple of such")
        numbers = scales if isinstance(scales, Sequence) else (scales,)
        if not 1 <= len(numbers) <= MAX_SCALES:
            _check.fail("scales", f"{len(numbers)} numbers", f"1 to {MAX_SCALES} of them")
        kernel_scales = tuple(_number("scales", s) for s in numbers)
    if isinstance(degree, bool) or not isinstance(degree, int) or not 1 <= degree <= MAX_DEGREE:
        _check.fail("degree", repr(degree), f"an int from 1 to {MAX_DEGREE}")
    gamma = _number("gamma", 1.0 / k if gamma is None and kernel == "polynomial" else 1.0 if gamma is None else gamma)
    return Spec(kernel, kernel_scales, "unbiased", degree, gamma, _number("coef0", coef0, positive=False))


def _weights(
    weights: object, x: Tensor, y: Tensor, single: bool, estimator: str
) -> tuple[Tensor | None, Tensor | None]:
    if weights is None:
        return None, None
    if estimator not in ("unbiased", "biased"):
        _check.fail("weights", f"given with estimator {estimator!r}", "them with 'unbiased' or 'biased' only")
    if not isinstance(weights, (tuple, list)) or len(weights) != 2:
        _check.fail("weights", f"a {type(weights).__name__}", "a pair: weights of x and of y, each a tensor or None")
    checked_weights = []
    for name, w, z in (("weights[0]", weights[0], x), ("weights[1]", weights[1], y)):
        if w is not None:
            _check.float_tensor(name, w)
            wished = z.shape[1:2] if single else z.shape[:2]
            if w.shape != wished:
                _check.fail(name, f"of shape {list(w.shape)}", f"{list(wished)}, one weight a row")
            if w.device != z.device:
                _check.fail(name, f"on device {w.device}", f"the device of x, {z.device}")
            if w.requires_grad and torch.is_grad_enabled():
                _check.fail(name, "a tensor that requires a gradient", "one that does not (detach it)")
            w = w[None] if single else w
        checked_weights.append(w)
    return checked_weights[0], checked_weights[1]


# The estimators.


def _call(
    x: Tensor, y: Tensor, wx: Tensor | None, wy: Tensor | None, bandwidth: Tensor | None, spec: Spec
) -> Tensor:
    grad = torch.is_grad_enabled()
    grad_x, grad_y = grad and x.requires_grad, grad and y.requires_grad
    return _mmd2(x, y, wx, wy, bandwidth, *spec, grad_x, grad_y)[0]


def _linear(x: Tensor, y: Tensor, bandwidth: Tensor | None, spec: Spec) -> Tensor:
    """Four numbers for every two rows: elementwise work that PyTorch does well by itself."""
    dtype, pairs, k = widest(x.device), min(x.shape[1], y.shape[1]) // 2, x.shape[2]
    result = compute_dtype(x.dtype)
    x, y = x[:, : 2 * pairs].to(dtype), y[:, : 2 * pairs].to(dtype)
    bandwidth = None if bandwidth is None else bandwidth.to(dtype)

    def mean(a: Tensor, b: Tensor) -> Tensor:
        t = (a * b).sum(2) if spec.kernel == "polynomial" else (a - b).square().sum(2)
        return reference.profile(spec, t, k, bandwidth, slope=False)[0].mean(1)

    x1, x2, y1, y2 = x[:, ::2], x[:, 1::2], y[:, ::2], y[:, 1::2]
    return (mean(x1, x2) + mean(y1, y2) - mean(x1, y2) - mean(x2, y1)).to(result)


def _blocks(x: Tensor, y: Tensor, bandwidth: Tensor | None, spec: Spec, size: int | None) -> Tensor:
    rows = min(x.shape[1], y.shape[1])
    if size is None:
        size = max(2, math.isqrt(int(rows)))
    elif isinstance(size, bool) or not isinstance(size, int) or not 2 <= size <= rows:
        _check.fail("block_size", repr(size), f"an int from 2 to the rows of the smaller sample, {rows}")
    count = rows // size
    problems, k = x.shape[0], x.shape[2]
    x, y = (z[:, : count * size].reshape(problems * count, size, k) for z in (x, y))
    bandwidth = None if bandwidth is None else bandwidth.repeat_interleave(count)
    return _call(x, y, None, None, bandwidth, spec._replace(sums="paired")).view(problems, count).mean(1)


# The backends. Each takes the arguments of the schema as (x, y, weights, bandwidth, spec, wished gradients).


def reference_forward(
    x: Tensor, y: Tensor, wx: Tensor | None, wy: Tensor | None, bandwidth: Tensor | None, spec: Spec, grad_x: bool, grad_y: bool
) -> Outputs:
    """The definition, in float64."""
    return reference.forward(x, y, wx, wy, bandwidth, spec, grad_x, grad_y)


PRODUCTS = range(16, 65)
"""Columns of float rows that go to the tensor cores. Below, pairs whose distance must come from differences are frequent."""
PRODUCT_ROWS = 64  # of a problem: with fewer most of a tile would be padding


def native_forward(
    x: Tensor, y: Tensor, wx: Tensor | None, wy: Tensor | None, bandwidth: Tensor | None, spec: Spec, grad_x: bool, grad_y: bool
) -> Outputs:
    """`reference_forward` by csrc/{cpu,cuda}/mmd and, on tensor cores, csrc/cuda/mmd_products."""
    return _pairs(x, y, wx, wy, bandwidth, spec, grad_x, grad_y, _native_pairs)


def _native_pairs(name: str, x: Tensor, z: Tensor, *fields: Any) -> None:
    problems, rows, k = *z.shape[:2], fields[11]
    if z.dtype == torch.float64 or k not in PRODUCTS or rows < PRODUCT_ROWS or not _native.has_products(x):
        return _native.run(name, x, z, *fields)
    padded, depth = -(-rows // 64) * 64, -(-k // 32) * 32
    packed = z.new_empty((2, problems, padded, max(depth, 64)))  # two halves take the room of a float
    largest = torch.linalg.vector_norm(z, math.inf, (1, 2))
    return _native.run("mmd_products", x, z, *fields, largest, packed[0], packed[1])


def triton_forward(
    x: Tensor, y: Tensor, wx: Tensor | None, wy: Tensor | None, bandwidth: Tensor | None, spec: Spec, grad_x: bool, grad_y: bool
) -> Outputs:
    """`reference_forward` by kernels/mmd.py."""
    return _pairs(x, y, wx, wy, bandwidth, spec, grad_x, grad_y, lambda _, *a: _native.kernels("mmd").forward(*a[1:]))


def _pairs(
    x: Tensor, y: Tensor, wx: Tensor | None, wy: Tensor | None, bandwidth: Tensor | None, spec: Spec, grad_x: bool, grad_y: bool,
    run: Callable[..., None],
) -> Outputs:  # fmt: skip
    ready = Prepared(x, y, wx, wy, bandwidth, spec)
    rows, count = ready.n + ready.m, spec.degree if ready.dot else len(spec.scales)
    # On a GPU one part of the value comes from every block of threads. The CPU's kernel writes the first part alone.
    blocks = tiles(rows, ready.dtype)
    parts = splits(ready.problems, blocks, x.is_cuda)
    value = x.new_zeros((parts * blocks, ready.problems), dtype=torch.float64)
    shape = (parts, ready.problems, rows) if grad_x or grad_y else (0, 0, 0)
    sums = x.new_zeros(shape, dtype=torch.float64)
    out = x.new_zeros((*shape, ready.k), dtype=ready.dtype)
    scales = torch.tensor(spec.scales or (1.0,), dtype=torch.float64, device="cpu")
    run(
        "mmd_pairs", x, ready.z, ready.e, ready.w, ready.factors, ready.offset if ready.dot else None, scales, value, sums, out,
        ready.problems, ready.n, ready.m, ready.k, ready.stride, parts, count, ready.dtype,
        KERNELS.index(spec.kernel), int(spec.sums == "paired"), int(grad_x) + 2 * int(grad_y),
    )  # fmt: skip
    return ready.finish(value, sums, out if shape[0] else None, grad_x, grad_y)


_OP = Op(
    "mmd2",
    {
        "reference": Kernels(reference_forward),
        "cpp": Kernels(native_forward),
        "triton": Kernels(triton_forward),
        "cuda": Kernels(native_forward),
    },
    prefer={"cpu": ("cpp",), "cuda": ("cuda", "triton")},
    because={
        "cpu": "n = m = 10,000, k = 64, seven IMQ scales, forward and backward, 2 threads: 0.30 s, compiled PyTorch 1.4 s; "
        "the products alone take 0.21 s at the cores' peak. n = m = 64: 0.47 ms, compiled 0.29 ms, which is the calls' price",
        "cuda": "forward and backward on an H100, n = m = 10,000, k = 64, seven IMQ scales, in a graph: 2.4 ms (triton 11.3; "
        "compiled PyTorch 7.2, from 2.7 GB of matrices)",
    },
)


# What PyTorch sees.


def _outputs(x: Tensor, y: Tensor, grad_x: bool, grad_y: bool) -> tuple[Tensor, Tensor, Tensor]:
    dtype = compute_dtype(x.dtype)
    return (
        x.new_empty(x.shape[:1], dtype=dtype),
        x.new_empty(x.shape if grad_x else (0,), dtype=dtype),
        y.new_empty(y.shape if grad_y else (0,), dtype=dtype),
    )


def _run(
    x: Tensor, y: Tensor, weights_x: Tensor | None, weights_y: Tensor | None, bandwidth: Tensor | None, kernel: str,
    scales: list[float], sums: str, degree: int, gamma: float, coef0: float, grad_x: bool, grad_y: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    spec = Spec(kernel, tuple(scales), sums, degree, gamma, coef0)
    if x.shape[0] == 0:
        return _outputs(x, y, grad_x, grad_y)
    outputs = _OP.pick(x.device.type).forward(x, y, weights_x, weights_y, bandwidth, spec, grad_x, grad_y)
    dtype = compute_dtype(x.dtype)
    value, to_x, to_y = (x.new_empty((0,), dtype=dtype) if f is None else f.to(dtype).contiguous() for f in outputs)
    if x.shape[0] == 1 and grad_x and grad_y:
        to_y = to_y.clone()  # of one problem both can be parts of one tensor, which PyTorch forbids
    return value, to_x, to_y


_mmd2 = _library.define(
    "mmd2(Tensor x, Tensor y, Tensor? weights_x, Tensor? weights_y, Tensor? bandwidth, str kernel, float[] scales, "
    "str sums, int degree, float gamma, float coef0, bool grad_x, bool grad_y) "
    "-> (Tensor value, Tensor to_x, Tensor to_y)",
    _run,
    lambda x, y, *others: _outputs(x, y, *others[-2:]),
)


def _run_backward(
    grad: Tensor, to_x: Tensor, to_y: Tensor, x: Tensor, y: Tensor, grad_x: bool, grad_y: bool
) -> tuple[Tensor, Tensor]:
    grad = grad[:, None, None]
    return (
        (grad * to_x).to(x.dtype) if grad_x else x.new_empty((0,)),
        (grad * to_y).to(y.dtype) if grad_y else y.new_empty((0,)),
    )


# x and y are there for their dtypes, and so that a second derivative is noticed.
_mmd2_backward = _library.define_backward(
    "mmd2",
    "mmd2_backward(Tensor grad, Tensor to_x, Tensor to_y, Tensor x, Tensor y, bool grad_x, bool grad_y) "
    "-> (Tensor grad_of_x, Tensor grad_of_y)",
    _run_backward,
    lambda grad, to_x, to_y, x, y, grad_x, grad_y: (
        x.new_empty(x.shape if grad_x else (0,)), y.new_empty(y.shape if grad_y else (0,))
    ),
)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, y, wx, wy, bandwidth, *ctx.constants, grad_x, grad_y = inputs
    needs = ctx.needs_input_grad[:2]
    ctx.ready = (grad_x or not needs[0]) and (grad_y or not needs[1])
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(x, y, *(output[1:] if ctx.ready else (wx, wy, bandwidth)))
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, *_: object) -> _library.Gradients:
    nothing = (None,) * 13
    if grad is None:
        return nothing
    needs = ctx.needs_input_grad[:2]
    x, y, *rest = ctx.saved_tensors
    if not ctx.ready:  # the op was called without its gradients
        rest = _mmd2(x, y, *rest, *ctx.constants, *needs)[1:]
    gradients = _mmd2_backward(grad, *rest, x, y, *needs)
    return (*(g if need else None for g, need in zip(gradients, needs)), *nothing[2:])


_library.define_autograd("mmd2", _setup_context, _backward)
