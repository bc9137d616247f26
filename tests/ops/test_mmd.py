"""mmd2 against its definition, pair by pair, and as a citizen of PyTorch."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

import vaefast.ops as ops
from vaefast.errors import ArgumentError
from vaefast.ops import _native, mmd

TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5, torch.bfloat16: 1e-5, torch.float16: 1e-5}
KERNELS = {"imq": None, "rbf": (2.0, 7.0), "laplacian": (3.0,), "energy": None, "polynomial": None}
OP = torch.ops.vaefast.mmd2.default


def make(shape_x, shape_y, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(s, generator=generator, dtype=torch.float64) for s in (shape_x, shape_y))
    return x.to(dtype), (0.7 * y + 0.4).to(dtype)


def kernel_of(name, a, b, scales, degree=3, gamma=None, coef0=1.0):
    """The kernel matrix [P, n, m]; distances from differences."""
    k = a.shape[2]
    if name == "polynomial":
        return ((1 / k if gamma is None else gamma) * (a @ b.mT) + coef0) ** degree
    d2 = (a[:, :, None] - b[:, None]).square().sum(-1)
    if name == "imq":
        return sum(2 * k * s / (2 * k * s + d2) for s in scales or mmd.IMQ_SCALES)
    if name == "rbf":
        return sum(torch.exp(-d2 / (2 * s * s)) for s in scales)
    d = torch.where(d2 > 0, torch.where(d2 > 0, d2, 1).sqrt(), 0)
    return -d if name == "energy" else sum(torch.exp(-d / s) for s in scales)


def definition(x, y, kernel="imq", scales=None, estimator="unbiased", weights=None, **options):
    """MMD^2 [P], differentiable by autograd."""
    wx, wy = (None, None) if weights is None else weights
    wx = x.new_ones(x.shape[:2]) if wx is None else wx.to(x.dtype)
    wy = y.new_ones(y.shape[:2]) if wy is None else wy.to(x.dtype)

    def mean(a, b, wa, wb, off_diagonal):
        w = wa[:, :, None] * wb[:, None, :]
        w = w * (1 - torch.eye(w.shape[1], dtype=w.dtype)) if off_diagonal else w
        return (w * kernel_of(kernel, a, b, scales, **options)).sum((1, 2)) / w.sum((1, 2))

    off = estimator != "biased"
    return mean(x, x, wx, wx, off) + mean(y, y, wy, wy, off) - 2 * mean(x, y, wx, wy, estimator == "paired")


def truth(x, y, grad, function=definition, **options):
    """Value and gradients in float64."""
    x, y = x.detach().double().requires_grad_(), y.detach().double().requires_grad_()
    value = function(x, y, **options)
    return value, *torch.autograd.grad(value, (x, y), grad.double())


def run(x, y, grad, **options):
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    value = ops.mmd2(x, y, **options)
    return value, *torch.autograd.grad(value, (x, y), grad.to(value.dtype))


def compare(close, x, y, rel, function=definition, **options):
    grad = torch.linspace(0.5, 2, x.shape[0])
    got, expected = run(x, y, grad, **options), truth(x, y, grad, function, **options)
    close(got[0], expected[0], rel)
    for g, e in zip(got[1:], expected[1:], strict=True):
        close(g, e, max(rel, {torch.bfloat16: 4e-3, torch.float16: 1e-3}.get(x.dtype, 0)))


SHAPES = [(1, 2, 3, 1), (2, 70, 33, 3), (1, 65, 130, 64), (3, 9, 5, 513)]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_definition(cpu_backend, close, kernel, shape):
    problems, n, m, k = shape
    ways = [("unbiased", torch.float32), ("biased", torch.float64)]
    if cpu_backend in ("reference", "cpp"):  # the others take long
        ways += [("biased", torch.float32), ("unbiased", torch.float64)]
    for estimator, dtype in ways:
        x, y = make((problems, n, k), (problems, m, k), dtype)
        compare(close, x, y, TOLERANCE[dtype], kernel=kernel, scales=KERNELS[kernel], estimator=estimator)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_in_float32_out(cpu_backend, close, dtype):
    x, y = make((2, 20, 17), (2, 30, 17), dtype)
    for kernel in ("imq", "polynomial"):
        compare(close, x, y, 1e-5, kernel=kernel)
        assert ops.mmd2(x, y, kernel=kernel).dtype == torch.float32
    assert ops.mmd2(x.double(), y.float()).dtype == torch.float64


@pytest.mark.parametrize("kernel", KERNELS)
def test_weights(cpu_backend, close, kernel):
    x, y = make((2, 40, 6), (2, 70, 6), torch.float64)
    weights = torch.rand(2, 40), torch.rand(2, 70)
    for estimator in ("unbiased", "biased"):
        compare(close, x, y, 1e-10, kernel=kernel, scales=KERNELS[kernel], estimator=estimator, weights=weights)
    whole = torch.tensor([[1.0, 2.0, 0.0, 3.0]])
    repeated = x[:1, [0, 1, 1, 3, 3, 3]]
    got = ops.mmd2(x[:1, :4], y[:1], kernel=kernel, scales=KERNELS[kernel], estimator="biased", weights=(whole, None))
    torch.testing.assert_close(got, ops.mmd2(repeated, y[:1], kernel=kernel, scales=KERNELS[kernel], estimator="biased"))


def blocks(x, y, size, **options):
    count = min(x.shape[1], y.shape[1]) // size
    parts = [
        definition(x[:, i * size : (i + 1) * size], y[:, i * size : (i + 1) * size], estimator="paired", **options)
        for i in range(count)
    ]
    return torch.stack(parts).mean(0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_linear_and_block_estimators(cpu_backend, close, kernel):
    x, y = make((2, 33, 5), (2, 40, 5))
    options = {"kernel": kernel, "scales": KERNELS[kernel]}
    grad = torch.tensor([1.0, 0.5])
    for size in (2, 7):
        expected = truth(x, y, grad, lambda a, b, size=size: blocks(a, b, size, **options))
        ways = [{"estimator": "block", "block_size": size}] + ([{"estimator": "linear"}] if size == 2 else [])
        for way in ways:
            for g, e in zip(run(x, y, grad, **options, **way), expected, strict=True):
                close(g, e, 2e-5)
    torch.testing.assert_close(
        ops.mmd2(x, y, estimator="block", **options), ops.mmd2(x, y, estimator="block", block_size=5, **options)
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_common_offset_costs_no_digits(cpu_backend, close, kernel):
    """Data of mean 100 in fp32, held against float64 on the same numbers."""
    x, y = make((1, 100, 16), (1, 80, 16))
    for estimator in ("unbiased", "biased"):
        compare(close, x + 100, y + 100, 2e-5, kernel=kernel, scales=KERNELS[kernel], estimator=estimator)


@pytest.mark.parametrize("kernel", ["energy", "laplacian", "imq", "rbf"])
def test_rows_that_nearly_agree(cpu_backend, close, kernel):
    x, y = make((1, 70, 20), (1, 70, 20))
    y[:, :20] = x[:, :20] + 1e-3 * torch.randn(1, 20, 20)
    x[:, 30:50] = x[:, 10:30] + 1e-2 * torch.randn(1, 20, 20)
    compare(close, x, y, 1e-4, kernel=kernel, scales=None if kernel == "energy" else (0.05,), estimator="biased")


@pytest.mark.parametrize("kernel", KERNELS)
def test_equal_rows_have_no_gradient(cpu_backend, kernel):
    x = torch.randn(1, 1, 12).expand(1, 70, 12)
    value, to_x, to_y = run(x, x, torch.ones(1), kernel=kernel, scales=KERNELS[kernel])
    assert abs(value) < 1e-5 and to_x.abs().max() < 1e-5 and to_y.abs().max() < 1e-5
    x, y = torch.zeros(1, 5, 3), torch.ones(1, 4, 3)
    value, to_x, to_y = run(x, y, torch.ones(1), kernel=kernel, scales=KERNELS[kernel])
    assert value > 0 and to_x.isfinite().all() and to_y.isfinite().all()


def test_samples_far_apart_and_extreme_scales(cpu_backend, close):
    x, y = make((1, 40, 8), (1, 50, 8))
    for far in (1e2, 1e6):
        compare(close, x * far, y * far, 2e-5)
    compare(close, x, y + 100, 1e-4)  # the mean of both is far from either
    compare(close, x, y, 2e-5, scales=(1e-6, 1e-3, 1.0, 1e3, 1e6))
    compare(close, x, y, 2e-5, scales=tuple(0.1 * 2**i for i in range(16)))


def test_known_values(cpu_backend):
    """n = 2,000, k = 64: known values, and how far a draw may be from them."""
    if cpu_backend != "cpp":
        pytest.skip("2,000 rows take long elsewhere; the arithmetic is the same")
    z, prior = make((2000, 64), (1, 1))[0], torch.randn(2000, 64, generator=torch.Generator().manual_seed(9))
    for codes, expected, slack in ((z, 0.0003, 0.002), (z * 0.5, 0.45, 0.01), (z + 1, 0.92, 0.02), (z * 0, 1.93, 0.01)):
        assert ops.mmd2(codes, prior).item() == pytest.approx(expected, abs=slack)


def test_matrices_are_a_batch_of_one(cpu_backend):
    x, y = make((9, 4), (12, 4))
    weights = torch.rand(9), torch.rand(12)
    for options in ({}, {"kernel": "rbf"}, {"estimator": "linear"}, {"estimator": "block"}, {"weights": weights}):
        got = ops.mmd2(x, y, **options)
        if "weights" in options:
            options = {"weights": tuple(w[None] for w in weights)}
        assert got.shape == () and torch.equal(got, ops.mmd2(x[None], y[None], **options)[0])
    assert ops.mmd2(torch.zeros(0, 5, 4), torch.zeros(0, 6, 4)).shape == (0,)


def test_strided_and_expanded(cpu_backend):
    base_x, base_y = make((3, 40, 12), (3, 30, 12))
    cases = [
        (base_x[:, ::2], base_y[:, 1::3]),
        (base_x[:, :, ::2], base_y[:, :, 1::2]),
        (base_x.transpose(0, 1).contiguous().transpose(0, 1), base_y),
        (base_x[:1].expand(3, 40, 12), base_y[:, :1].expand(3, 7, 12)),
        (base_x.mT.contiguous().mT, base_y),
        (base_x[..., :1].expand(3, 40, 5), base_y[..., :5]),
    ]
    for x, y in cases:
        got = run(x, y, torch.ones(3))
        for a, b in zip(got, run(x.contiguous(), y.contiguous(), torch.ones(3)), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9 if cpu_backend == "reference" else 0)
        assert got[1].is_contiguous() and got[2].is_contiguous()


def test_median_bandwidth(cpu_backend, close):
    x, y = make((2, 40, 6), (2, 50, 6), torch.float64)
    pooled = torch.cat((x, y), 1)
    expected = torch.stack([torch.pdist(p).median() for p in pooled])
    close(ops.median_distance(x, y), expected, 1e-12)
    for kernel in ("rbf", "laplacian"):
        got = ops.mmd2(x, y, kernel=kernel)
        assert torch.equal(got, ops.mmd2(x, y, kernel=kernel, scales="median"))
        for p in range(2):
            close(got[p], ops.mmd2(x[p], y[p], kernel=kernel, scales=[float(expected[p])]), 1e-10)
    run(x, y, torch.ones(2), kernel="rbf")
    same = torch.ones(30, 4)
    assert ops.median_distance(same, same) == 1 and abs(ops.mmd2(same, same, kernel="rbf")) < 1e-6
    assert ops.median_distance(torch.cat((same, same + 1)), same[:9]) > 0
    assert ops.median_distance(torch.randn(3000, 4), torch.randn(2000, 4)).item() == pytest.approx(8**0.5 * 0.92, rel=0.1)


def test_only_one_side_wants_a_gradient(cpu_backend, close):
    x, y = make((1, 70, 5), (1, 90, 5))
    for kernel in ("imq", "polynomial"):
        expected = truth(x, y, torch.ones(1), kernel=kernel)
        for i, (a, b) in enumerate([(x.clone().requires_grad_(), y), (x, y.clone().requires_grad_())]):
            value = ops.mmd2(a, b, kernel=kernel)
            (grad,) = torch.autograd.grad(value.sum(), [(a, b)[i]])
            close(grad, expected[1 + i], 1e-5)
            close(value, expected[0], 1e-5)


def test_the_bare_op_has_its_gradient_too(cpu_backend, close):
    x, y = (z.requires_grad_() for z in make((1, 7, 3), (1, 8, 3)))
    value, *_ = OP(x, y, None, None, None, "imq", [1.0], "unbiased", 3, 1.0, 1.0, False, False)
    got, expected = torch.autograd.grad(value.sum(), (x, y)), truth(x, y, torch.ones(1), scales=(1.0,))[1:]
    for a, b in zip(got, expected, strict=True):
        close(a, b, 1e-5)


def test_nan_and_infinity_come_through(cpu_backend):
    x, y = make((1, 70, 3), (1, 5, 3))
    for bad in (math.nan, math.inf):
        x[0, 66, 1] = bad
        for kernel in KERNELS:
            assert not ops.mmd2(x, y, kernel=kernel, scales=KERNELS[kernel]).isfinite().any()


def test_backward_twice_is_bitwise_equal(cpu_backend):
    x, y = make((2, 130, 19), (2, 70, 19))
    for first, second in zip(run(x, y, torch.ones(2)), run(x, y, torch.ones(2)), strict=True):
        assert torch.equal(first, second)
    x.requires_grad_()
    value = ops.mmd2(x, y).sum()
    (one,) = torch.autograd.grad(value, x, retain_graph=True)
    assert torch.equal(one, torch.autograd.grad(value, x)[0])


def test_threads_change_no_bit():
    if _native.why_missing():
        pytest.skip(_native.why_missing())
    before = torch.get_num_threads()
    try:
        for shapes in [((1, 700, 20), (1, 900, 20)), ((40, 12, 3), (40, 9, 3)), ((1, 30, 600), (1, 500, 600))]:
            x, y, results = *make(*shapes), []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                with ops.backend("cpp"):
                    results.append(run(x, y, torch.ones(shapes[0][0])))
                    results[-1] += (ops.mmd2(x, y, kernel="polynomial"),)
            for other in results[1:]:
                assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    finally:
        torch.set_num_threads(before)


def test_memory_grows_with_rows_alone():
    """12,000 and 8,000 rows: a matrix of their pairs in float32 would take 1.6 GB."""
    from pathlib import Path

    status = Path("/proc/self/status")
    if not status.exists() or _native.why_missing():
        pytest.skip("needs Linux and the compiled core")

    def peak():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))

    x, y = torch.randn(6000, 8, requires_grad=True), torch.randn(4000, 8)
    ops.mmd2(x[:100], y[:100]).backward()
    before = peak()
    with ops.backend("cpp"):
        ops.mmd2(x, y).backward()
    assert peak() - before < 50 * 1024


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradcheck(cpu_backend, kernel):
    if cpu_backend not in ("reference", "cpp"):
        pytest.skip("hundreds of calls take long here, and the gradients are held against the definition's above")
    x, y = (z.requires_grad_() for z in make((2, 5, 3), (2, 4, 3), torch.float64))
    for estimator in mmd.ESTIMATORS:
        scales = KERNELS[kernel] or (None if kernel != "imq" else (0.2, 1.0, 3.0))
        f = lambda a, b, e=estimator, s=scales: ops.mmd2(a, b, kernel=kernel, scales=s, estimator=e)  # noqa: E731
        assert torch.autograd.gradcheck(f, (x, y))


def test_second_derivative_is_refused():
    x, y = (z.requires_grad_() for z in make((5, 3), (6, 3)))
    (grad,) = torch.autograd.grad(ops.mmd2(x, y), x, create_graph=True)
    with pytest.raises(ArgumentError, match="differentiable once"):
        grad.sum().backward()


@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(cpu_backend, requires_grad):
    for dtype, scales, kernel in ((torch.float32, [0.5, 1.0], "imq"), (torch.bfloat16, [], "polynomial")):
        x, y = (z.requires_grad_(requires_grad) for z in make((2, 6, 3), (2, 5, 3), dtype))
        weights = torch.rand(2, 6), None
        for wants in ((False, False), (True, True), (True, False)):
            torch.library.opcheck(OP, (x, y, *weights, None, kernel, scales, "biased", 2, 0.5, 1.0, *wants))
    x, y = make((2, 6, 3), (2, 6, 3))
    back = torch.ops.vaefast.mmd2_backward.default
    torch.library.opcheck(back, (torch.ones(2), torch.ones(2, 6, 3), torch.ones(0), x, y, True, False))
    single = (x[:1].detach().requires_grad_(), y[:1].detach().requires_grad_())  # whose gradients must not share memory
    torch.library.opcheck(OP, (*single, None, None, None, "rbf", [1.0], "unbiased", 3, 1.0, 1.0, True, True))
    torch.library.opcheck(OP, (x.mT.mT, y, None, None, torch.ones(2), "rbf", [1.0], "paired", 3, 1.0, 1.0, False, True))


def test_fake_strides_are_the_real_ones(cpu_backend):
    from torch._subclasses.fake_tensor import FakeTensorMode

    x, y = make((2, 6, 4), (2, 5, 4))
    for a, b in ((x, y), (x.transpose(0, 1).contiguous().transpose(0, 1), y[:, ::2]), (x[:1].expand(2, 6, 4), y)):
        real = OP(a, b, None, None, None, "imq", [1.0], "unbiased", 3, 1.0, 1.0, True, True)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            c, d = mode.from_tensor(a), mode.from_tensor(b)
            fake = OP(c, d, None, None, None, "imq", [1.0], "unbiased", 3, 1.0, 1.0, True, True)
        for r, f in zip(real, fake, strict=True):
            assert (r.shape, r.stride(), r.dtype) == (f.shape, f.stride(), f.dtype)


@pytest.mark.parametrize(
    "dynamic, options",
    [
        (None, {}), (True, {}), (None, {"kernel": "rbf"}), (True, {"kernel": "polynomial"}), (None, {"estimator": "linear"}),
        pytest.param(None, {"estimator": "block", "block_size": 3}, marks=pytest.mark.exhaustive),
        (True, {"estimator": "block", "block_size": 3}),
    ],
    ids=str,
)  # fmt: skip
def test_compiles_in_one_graph(dynamic, options):
    def loss(x, y):
        return ops.mmd2((x * 2).tanh(), y, **options).sum().sin()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for n, m in ((7, 9), (10, 6)):
        x, y = make((2, n, 3), (2, m, 3))
        x.requires_grad_()
        got, expected = (torch.autograd.grad(f(x, y), x) for f in (compiled, loss))
        torch.testing.assert_close(got, expected)


def test_checkpointing_and_autocast(cpu_backend):
    from torch.utils.checkpoint import checkpoint

    x, y = make((8, 4), (9, 4))
    x.requires_grad_()
    f = lambda a: ops.mmd2(a * 2, y).exp()  # noqa: E731
    plain, again = torch.autograd.grad(f(x), x), torch.autograd.grad(checkpoint(f, x, use_reentrant=False), x)
    assert torch.equal(plain[0], again[0])
    layer = torch.nn.Linear(4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = ops.mmd2(layer(y), x)
    assert value.dtype == torch.float32
    value.backward()
    assert layer.weight.grad.isfinite().all()


ONE, TWO = torch.ones(4, 3), torch.ones(5, 3)


@pytest.mark.parametrize(
    "arguments, options, words",
    [
        (([1.0], TWO), {}, ["x", "list", "tensor"]),
        ((ONE.long(), TWO), {}, ["x", "int64", "float32"]),
        ((ONE[0], TWO), {}, ["x", "2 dimension"]),
        ((torch.ones(1, 1, 4, 3), torch.ones(1, 1, 4, 3)), {}, ["x", "[1, 1, 4, 3]", "[n, k]"]),
        ((ONE, torch.ones(5, 2)), {}, ["y", "[5, 2]", "[m, 3]"]),
        ((ONE[None], TWO), {}, ["y", "[5, 3]", "[1, m, 3]"]),
        ((torch.ones(2, 4, 3), torch.ones(3, 4, 3)), {}, ["y", "[3, 4, 3]", "[2, m, 3]"]),
        ((ONE, TWO.to("meta")), {}, ["y", "meta", "cpu"]),
        ((torch.ones(4, 0), torch.ones(5, 0)), {}, ["x", "[4, 0]", "one dimension"]),
        ((ONE[:1], TWO), {}, ["x", "1 row", "2", "'unbiased'"]),
        ((ONE, TWO[:1]), {}, ["y", "1 row", "2"]),
        ((ONE[:1], TWO), {"estimator": "linear"}, ["x", "1 row", "'linear'"]),
        ((ONE, TWO), {"kernel": "gaussian"}, ["kernel", "'gaussian'", "'rbf'"]),
        ((ONE, TWO), {"estimator": "u"}, ["estimator", "'u'", "'unbiased'"]),
        ((ONE, TWO), {"scales": [1.0, math.nan]}, ["scales", "nan", "> 0"]),
        ((ONE, TWO), {"scales": 0}, ["scales", "0", "> 0"]),
        ((ONE, TWO), {"kernel": "rbf", "scales": [-1.0]}, ["scales", "-1.0", "> 0"]),
        ((ONE, TWO), {"scales": [math.inf]}, ["scales", "inf"]),
        ((ONE, TWO), {"scales": []}, ["scales", "0 numbers", "16"]),
        ((ONE, TWO), {"scales": torch.ones(2)}, ["scales", "Tensor", "list"]),
        ((ONE, TWO), {"scales": ["a"]}, ["scales", "'a'"]),
        ((ONE, TWO), {"scales": "median"}, ["scales", "'median'", "numbers"]),
        ((ONE, TWO), {"kernel": "rbf", "scales": "mean"}, ["scales", "'mean'", "'median'"]),
        ((ONE, TWO), {"kernel": "energy", "scales": 1.0}, ["scales", "'energy'", "None"]),
        ((ONE, TWO), {"weights": torch.ones(4)}, ["weights", "Tensor", "pair"]),
        ((ONE, TWO), {"weights": (torch.ones(5), None)}, ["weights[0]", "[5]", "[4]"]),
        ((ONE, TWO), {"weights": (None, torch.ones(1, 5))}, ["weights[1]", "[1, 5]", "[5]"]),
        ((ONE, TWO), {"weights": (None, torch.ones(5).int())}, ["weights[1]", "int32"]),
        ((ONE, TWO), {"weights": (torch.ones(4, requires_grad=True), None)}, ["weights[0]", "gradient", "detach"]),
        ((ONE, TWO), {"weights": (None, None), "estimator": "block"}, ["weights", "'block'"]),
        ((ONE, TWO), {"block_size": 2}, ["block_size", "'unbiased'"]),
        ((ONE, TWO), {"estimator": "block", "block_size": 1}, ["block_size", "1", "2"]),
        ((ONE, TWO), {"estimator": "block", "block_size": 5}, ["block_size", "5", "4"]),
        ((ONE, TWO), {"kernel": "polynomial", "degree": 0}, ["degree", "0", "1 to 8"]),
        ((ONE, TWO), {"kernel": "polynomial", "gamma": -1.0}, ["gamma", "-1.0"]),
        ((ONE, TWO), {"kernel": "polynomial", "coef0": math.nan}, ["coef0", "nan"]),
    ],
)
def test_bad_arguments_are_named(arguments, options, words):
    with pytest.raises(ArgumentError) as error:
        ops.mmd2(*arguments, **options)
    for word in words:
        assert word in str(error.value)


def test_no_warnings_on_the_way():
    x, y = make((5, 3), (6, 3))
    x.requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kernel in KERNELS:
            ops.mmd2(x, y, kernel=kernel).backward()
