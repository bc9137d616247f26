"""mixture_log_density against its definition, and as a citizen of PyTorch."""

from __future__ import annotations

import itertools
import math
import warnings
from pathlib import Path

import pytest
import torch

import vaefast.ops as ops
from vaefast.errors import ArgumentError
from vaefast.ops import _native, mixture_density
from vaefast.ops.reparam import PARAMS, compute_dtype

SHAPES = [(0, 3, 4), (3, 2, 0), (1, 1, 1), (7, 5, 3), (5, 300, 2), (70, 70, 64), (2, 9, 513)]  # M, N, k
TOLERANCE = {torch.float64: 1e-13, torch.float32: 5e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}
BOTH = pytest.mark.parametrize("per_dimension", [False, True], ids=["joint", "per-dimension"])


def make(m, n, k, dtype=torch.float32, centre=0.0, logvar=-1.0, spread=0.5):
    """Points drawn from their own components, as posterior samples are, and a gradient."""
    generator = torch.Generator().manual_seed(1)
    mu = (centre + torch.randn(n, k, generator=generator, dtype=torch.float64)).to(dtype)
    a = (logvar + spread * torch.randn(n, k, generator=generator, dtype=torch.float64)).to(dtype)
    own = torch.arange(m) % n
    z = mu[own].double() + torch.exp(0.5 * a[own].double()) * torch.randn(m, k, generator=generator)
    return z.to(dtype), mu, a, torch.randn(m, k, generator=generator).to(compute_dtype(dtype))


def run(z, mu, a, grad, **options):
    """Value and gradients of the public function."""
    z, mu, a = (x.detach().requires_grad_() for x in (z, mu, a))
    value = ops.mixture_log_density(z, mu, a, **options)
    grad = grad if value.dim() == 2 else grad[:, 0] if grad.shape[1] else grad.new_ones(len(grad))
    return value, *torch.autograd.grad(value, (z, mu, a), grad)


def truth(z, mu, a, grad, param="logvar", per_dimension=False, exclude_self=False):
    """The same in float64 from the textbook formula, differentiated by autograd."""
    z, mu, a = (x.detach().double().requires_grad_() for x in (z, mu, a))
    s = {
        "logvar": lambda: torch.exp(0.5 * a),
        "logstd": lambda: torch.exp(a),
        "softplus": lambda: 1e-6 + torch.nn.functional.softplus(a, threshold=100),
    }[param]()
    terms = -0.5 * ((z[:, None] - mu) / s).square() - torch.log(s) - 0.5 * math.log(2 * math.pi)
    if not per_dimension:
        terms = terms.sum(2)
    n = len(mu)
    if exclude_self:
        left_out = torch.eye(n, dtype=torch.bool)
        terms = terms.masked_fill(left_out[:, :, None] if per_dimension else left_out, -math.inf)
    value = terms.logsumexp(1) - math.log(n - exclude_self)
    grad = grad if value.dim() == 2 else grad[:, 0] if grad.shape[1] else grad.new_ones(len(grad))
    return value, *torch.autograd.grad(value, (z, mu, a), grad.double())


def agree(close, got, expected, rel):
    for x, y in zip(got, expected, strict=True):
        close(x, y, rel)


@BOTH
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_equals_the_formula(cpu_backend, close, dtype, shape, per_dimension):
    if cpu_backend == "triton":
        if dtype in (torch.bfloat16, torch.float16) and shape != (7, 5, 3):
            pytest.skip("the kernels see float32: the dtype makes no difference to them")
        if shape[2] >= 64 and (per_dimension or dtype == torch.float64):
            pytest.skip("slow in the interpreter")
    inputs = make(*shape, dtype)
    options = {"per_dimension": per_dimension, "exclude_self": shape[0] == shape[1] > 1}
    agree(close, run(*inputs, **options), truth(*inputs, **options), TOLERANCE[dtype])


@BOTH
@pytest.mark.parametrize("param", PARAMS)
def test_every_way_to_state_the_scale(cpu_backend, close, param, per_dimension):
    inputs = make(20, 33, 5)
    options = {"param": param, "per_dimension": per_dimension}
    agree(close, run(*inputs, **options), truth(*inputs, **options), 3e-6)


@BOTH
@pytest.mark.parametrize("centre, logvar, spread", [(0.0, 2 * math.log(1e-4), 0.0), (0.0, 2 * math.log(1e-4), 2.0),
                                                    (100.0, -1.0, 0.5), (100.0, -4.0, 0.5), (0.0, 30.0, 0.0),
                                                    (0.0, -30.0, 0.0)])  # fmt: skip
def test_narrow_wide_and_far_posteriors_keep_their_digits(cpu_backend, close, centre, logvar, spread, per_dimension):
    if cpu_backend == "triton" and per_dimension and centre == 0:
        pytest.skip("slow in the interpreter")
    inputs = make(40, 40, 20, centre=centre, logvar=logvar, spread=spread)
    agree(close, run(*inputs, per_dimension=per_dimension), truth(*inputs, per_dimension=per_dimension), 5e-6)


@BOTH
def test_scales_of_all_sizes_at_once(cpu_backend, close, per_dimension):
    z, mu, a, grad = make(30, 30, 8)
    a[:, 0], a[:, 1] = 30.0, -30.0
    z[:, 1] = mu[:, 1]
    agree(close, run(z, mu, a, grad, per_dimension=per_dimension), truth(z, mu, a, grad, per_dimension=per_dimension), 5e-6)


@BOTH
def test_rows_without_a_component_near_them(cpu_backend, close, per_dimension):
    """Far rows are exact as long as their distances are numbers; at infinity there is -inf and no gradient."""
    z, mu, a, grad = make(20, 20, 4)
    z[3] = 1e4
    a[5] = -20.0
    agree(close, run(z, mu, a, grad, per_dimension=per_dimension), truth(z, mu, a, grad, per_dimension=per_dimension), 5e-6)
    at_infinity = z.clone()
    at_infinity[7], at_infinity[8] = math.inf, 1e30
    got = run(at_infinity, mu, a, grad, per_dimension=per_dimension)
    assert (got[0][7:9] == -math.inf).all() and not got[1][7:9].any()
    keep = torch.tensor([i for i in range(20) if i not in (7, 8)])
    expected = run(z[keep], mu, a, grad[keep], per_dimension=per_dimension)
    close(got[0][keep], expected[0], 1e-6)
    close(got[1][keep], expected[1], 1e-5)
    close(got[2], expected[2], 1e-5)
    close(got[3], expected[3], 1e-5)


@BOTH
def test_nan_comes_through(cpu_backend, per_dimension):
    k = 20 if cpu_backend != "triton" else 4
    z, mu, a, grad = make(40, 70, k)
    z[2, -1] = math.nan
    value, *_ = run(z, mu, a, grad, per_dimension=per_dimension)
    where = value.isnan() if per_dimension else value.isnan()[:, None]
    assert where[2, -1] and where.sum() == 1
    z, mu, a, grad = make(40, 70, k)
    mu[69, -1] = math.nan
    value, *_ = run(z, mu, a, grad, per_dimension=per_dimension)
    assert value[..., -1].isnan().all() if per_dimension else value.isnan().all()


def test_skipping_leaves_out_nothing_that_counts(close):
    """Components lie in far groups, in an order that leaves tiles with shares of all sizes, and with none."""
    if _native.why_missing():
        pytest.skip(_native.why_missing())
    for groups, gap in [(2, 1.2), (5, 3.0), (40, 30.0)]:
        z, mu, a, grad = make(200, 200, 64)
        shift = gap * (torch.arange(200) // (200 // groups))[:, None]
        inputs = z + shift, mu + shift, a, grad
        with ops.backend("cpp"):
            agree(close, run(*inputs), truth(*inputs), 1e-5)


@BOTH
@pytest.mark.parametrize("shape", [(1, 2000, 3), (3, 1500, 17), (600, 2, 17), (1100, 40, 1)], ids=str)
def test_few_rows_or_few_components(cpu_backend, close, shape, per_dimension):
    if cpu_backend == "triton" and (shape[2] > 3 or per_dimension):
        pytest.skip("slow in the interpreter")
    inputs = make(*shape)
    agree(close, run(*inputs, per_dimension=per_dimension), truth(*inputs, per_dimension=per_dimension), 5e-6)


@BOTH
def test_strided_and_expanded(cpu_backend, per_dimension):
    both, row = torch.randn(6, 20), torch.randn(1, 10)
    cases = [
        (torch.randn(4, 10), *both.chunk(2, dim=-1)),
        (torch.randn(10, 6).t(), torch.randn(10, 6).t(), torch.randn(10, 6).t()),
        (row.expand(5, 10), row.expand(6, 10), torch.randn(6, 1).expand(6, 10)),
        (torch.randn(6, 40)[:, ::4], torch.randn(12, 10)[::2], torch.randn(6, 10)),
    ]
    for z, mu, a in cases[:2] if cpu_backend == "triton" else cases:  # the interpreter is slow
        grad = torch.tensor(0.5).expand(len(z), 10)
        got = run(z, mu, a, grad, per_dimension=per_dimension)
        expected = run(*(x.contiguous() for x in (z, mu, a, grad)), per_dimension=per_dimension)
        for x, y in zip(got, expected, strict=True):
            torch.testing.assert_close(x, y, rtol=2e-6, atol=2e-6)
        assert all(x.is_contiguous() for x in got)


@BOTH
def test_backward_twice_is_bitwise_equal(cpu_backend, per_dimension):
    inputs = make(*((130, 130, 33) if cpu_backend != "triton" else (40, 40, 3)))
    first, second = (run(*inputs, per_dimension=per_dimension, exclude_self=True) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


@BOTH
def test_threads_change_no_bit(per_dimension):
    """Of the compiled backend; PyTorch's own sum, which the reference uses, makes no such promise."""
    if _native.why_missing():
        pytest.skip(_native.why_missing())
    before = torch.get_num_threads()
    try:
        for shape, logvar in [((700, 1100, 17), 0.0), ((700, 700, 17), -3.0), ((3, 2000, 3), 0.0)]:
            inputs, results = make(*shape, logvar=logvar), []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                with ops.backend("cpp"):
                    results.append(run(*inputs, per_dimension=per_dimension))
            for other in results[1:]:
                assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("level", [pytest.param(1, marks=pytest.mark.exhaustive), 3])
def test_every_instruction_set(level, tmp_path):
    """The kernels for older processors compute the same, to rounding."""
    import os
    import subprocess
    import sys

    if _native.why_missing():
        pytest.skip(_native.why_missing())
    code = ("import torch, vaefast.ops as ops; torch.manual_seed(0);"
            "x = [torch.randn(90, 70, requires_grad=True) for _ in 'zms'];"
            "out = [ops.mixture_log_density(*x, per_dimension=p, exclude_self=True) for p in (False, True)];"
            "g = torch.autograd.grad(out[0].sum() + out[1].sum(), x);"
            "print(*[y.double().pow(2).sum().sqrt().item() for y in (*out, *g)])")
    results = []
    for wish in (level, 9):
        env = {**os.environ, "VAEFAST_CPU_LEVEL": str(wish), "VAEFAST_BACKEND": "cpp",
               "PYTHONPATH": os.pathsep.join([str(Path(ops.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        results.append(torch.tensor([float(x) for x in done.stdout.split()]))
    torch.testing.assert_close(*results, rtol=1e-5, atol=0)


@BOTH
def test_nothing_but_inputs_and_log_sum_is_saved(per_dimension):
    z, mu, a, _ = make(8, 9, 4)
    z, mu, a = (x.requires_grad_() for x in (z, mu, a))
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        value = ops.mixture_log_density(z, mu, a, per_dimension=per_dimension)
    others = [x for x in saved if x.data_ptr() not in {z.data_ptr(), mu.data_ptr(), a.data_ptr()}]
    assert len(others) == 1 and others[0].shape == value.shape


@BOTH
@pytest.mark.parametrize("param", PARAMS)
def test_gradcheck(cpu_backend, param, per_dimension):
    if cpu_backend == "cuda-on-cpu" and param != "logvar" or cpu_backend == "triton":
        pytest.skip("slow, and the scale is dealt with before the kernels")
    inputs = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 4, 4)]

    def f(*x):
        options = {"param": param, "per_dimension": per_dimension}
        return ops.mixture_log_density(*x, **options), ops.mixture_log_density(*x, exclude_self=True, **options)

    assert torch.autograd.gradcheck(f, inputs)


def test_second_derivative_is_refused():
    z, mu, a, _ = make(3, 4, 2)
    z.requires_grad_()
    (grad,) = torch.autograd.grad(ops.mixture_log_density(z, mu, a).sum(), z, create_graph=True)
    with pytest.raises(ArgumentError, match="differentiable once"):
        grad.sum().backward()


@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(cpu_backend, requires_grad):
    for dtype, per_dimension in itertools.product((torch.float32, torch.bfloat16), (False, True)):
        if cpu_backend == "triton" and dtype == torch.bfloat16:
            continue  # slow in the interpreter
        z, mu, a, grad = make(5, 5, 4, dtype)
        z, mu, a = (x.requires_grad_(requires_grad) for x in (z, mu, a))
        torch.library.opcheck(
            torch.ops.vaefast.mixture_log_density.default, (z, mu, a, "logvar", per_dimension, False)
        )
        log_sum = torch.randn(5, 4) if per_dimension else torch.randn(5)
        arguments = (grad if per_dimension else grad[:, 0], log_sum, z.detach(), mu.detach(), a.detach())
        torch.library.opcheck(
            torch.ops.vaefast.mixture_log_density_backward.default, (*arguments, "softplus", per_dimension, True)
        )


@BOTH
def test_fake_strides_are_the_real_ones(cpu_backend, per_dimension):
    from torch._subclasses.fake_tensor import FakeTensorMode

    for x in (torch.randn(6, 4), torch.randn(4, 6).t(), torch.randn(1, 4).expand(6, 4)):
        real = mixture_density._mixture_log_density(x, x, x, "logvar", per_dimension, False)
        arguments = (real[0], real[1], x, x, x, "logvar", per_dimension, False)
        real = *real, *mixture_density._mixture_log_density_backward(*arguments)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            fake_x = mode.from_tensor(x)
            fake = mixture_density._mixture_log_density(fake_x, fake_x, fake_x, "logvar", per_dimension, False)
            arguments = (fake[0], fake[1], fake_x, fake_x, fake_x, "logvar", per_dimension, False)
            fake = *fake, *mixture_density._mixture_log_density_backward(*arguments)
        for r, f in zip(real, fake, strict=True):
            assert (r.shape, r.stride(), r.dtype) == (f.shape, f.stride(), f.dtype)


@BOTH
@pytest.mark.parametrize("dynamic", [None, True])
def test_compiles_in_one_graph(dynamic, per_dimension):
    def loss(z, mu, a):
        return ops.mixture_log_density(z * 2, mu, a, per_dimension=per_dimension).sin().sum()

    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for rows in (4, 7):
        inputs = [x.requires_grad_() for x in make(rows, rows + 1, 6)[:3]]
        got, expected = (torch.autograd.grad(f(*inputs), inputs) for f in (compiled, loss))
        torch.testing.assert_close(got, expected)


def test_compiles_with_inductor():
    if _native.why_missing():
        pytest.skip("no C++ compiler for Inductor either")

    def f(z, mu, a):
        return ops.mixture_log_density(z, mu, a).tanh()

    z, mu, a, _ = make(4, 5, 6)
    z.requires_grad_()
    torch.compile(f, fullgraph=True)(z, mu, a).sum().backward()
    assert z.grad.isfinite().all()


def test_checkpointing():
    from torch.utils.checkpoint import checkpoint

    inputs = [x.requires_grad_() for x in make(4, 5, 6)[:3]]

    def loss(*x):
        return ops.mixture_log_density(*x).sin().sum()

    plain = torch.autograd.grad(loss(*inputs), inputs)
    again = torch.autograd.grad(checkpoint(loss, *inputs, use_reentrant=False), inputs)
    assert all(torch.equal(x, y) for x, y in zip(plain, again, strict=True))


def test_autocast_and_mixed_dtypes(cpu_backend):
    layer = torch.nn.Linear(8, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mu, a = layer(torch.randn(4, 8)).chunk(2, dim=1)
        value = ops.mixture_log_density(torch.randn(4, 6), mu, a)
    assert value.dtype == torch.float32
    value.sum().backward()
    assert layer.weight.grad.isfinite().all()
    assert ops.mixture_log_density(torch.randn(4, 6), mu, a.double()).dtype == torch.float64


def test_no_array_of_all_pairs():
    """At sizes whose [M, N] has 256 MiB and [M, N, k] 2 GiB, forward and backward need a few MiB."""
    if _native.why_missing():
        pytest.skip(_native.why_missing())
    from pathlib import Path

    def peak_kib():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("the system does not tell peak memory")
    inputs = make(8192, 8192, 8, logvar=-8.0)
    run(*(x[:16] for x in inputs))
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_kib()
    with ops.backend("cpp"):
        run(*inputs)
    assert peak_kib() - before < 50 * 1024


X = torch.ones(2, 3)


@pytest.mark.parametrize(
    "arguments, options, words",
    [
        (([1.0], X, X), {}, ["z", "list", "tensor"]),
        ((X.long(), X, X), {}, ["z", "int64", "float32"]),
        ((X, X.to(torch.complex64), X), {}, ["mu", "complex64"]),
        ((X[0], X, X), {}, ["z", "[3]", "2 dimension"]),
        ((X, X[None], X[None]), {}, ["mu", "[1, 2, 3]", "2 dimension"]),
        ((X, X, torch.ones(2, 4)), {}, ["scale", "[2, 4]", "mu", "[2, 3]"]),
        ((torch.ones(2, 4), X, X), {}, ["z", "[2, 4]", "[M, 3]", "mu"]),
        ((X.to("meta"), X, X), {}, ["z", "meta", "cpu"]),
        ((X, X, X.to("meta")), {}, ["scale", "meta", "cpu"]),
        ((X, X, X), {"param": "variance"}, ["param", "'variance'", "'logvar'"]),
        ((X, X, X), {"per_dimension": 1}, ["per_dimension", "1", "True or False"]),
        ((X, X, X), {"exclude_self": None}, ["exclude_self", "None", "True or False"]),
        ((X[:1], X, X), {"exclude_self": True}, ["exclude_self", "1 rows", "mu 2"]),
        ((X[:1], X[:1], X[:1]), {"exclude_self": True}, ["mu", "[1, 3]", "at least 2"]),
        ((X, X[:0], X[:0]), {}, ["mu", "[0, 3]", "at least 1"]),
    ],
)
def test_bad_arguments_are_named(arguments, options, words):
    with pytest.raises(ArgumentError) as error:
        ops.mixture_log_density(*arguments, **options)
    for word in words:
        assert word in str(error.value)


def test_no_warnings_on_the_way():
    inputs = [x.requires_grad_() for x in make(2, 3, 4)[:3]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ops.mixture_log_density(*inputs).sum().backward()
