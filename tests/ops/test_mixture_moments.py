"""mixture_moments and mixture_kl against their definition, over ranks, and as citizens of PyTorch."""

from __future__ import annotations

import datetime
import math
import warnings

import pytest
import torch

import vaefast.ops as ops
from vaefast.errors import ArgumentError
from vaefast.ops import _native, moments

SHAPES = [(1, 64), (5, 1), (7, 3), (40, 64), (3, 513), (2, 3, 5), (9,), (3, 0), (2600, 7)]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 2e-3}


def make(shape, dtype=torch.float32, level=0.0, spread=1.0):
    generator = torch.Generator().manual_seed(1)
    mu, a = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    grads = [torch.randn(shape[-1:], generator=generator).to(moments.compute_dtype(dtype)) for _ in range(2)]
    return (mu + level).to(dtype), a * spread, *grads


def both_ways(f, mu, a, grad_mean, grad_variance, **options):
    """Outputs and gradients; a scale without influence has the gradient 0."""
    mu, a = mu.detach().requires_grad_(), a.detach().requires_grad_()
    mean, variance = f(mu, a, **options)
    given = [(o, g.to(o.dtype)) for o, g in ((mean, grad_mean), (variance, grad_variance)) if g is not None]
    grads = torch.autograd.grad([o for o, _ in given], [mu, a], [g for _, g in given], allow_unused=True)
    return mean, variance, grads[0], torch.zeros_like(a) if grads[1] is None else grads[1]


def formula(mu, a, param="logvar", var="mixture"):
    """Rivera's moments in the textbook's form."""
    rows = mu.shape[:-1].numel(), mu.shape[-1]
    mu, a = mu.reshape(rows), a.reshape(rows)
    s = {"logvar": torch.exp(0.5 * a), "logstd": torch.exp(a)}.get(param)
    if s is None:
        s = 1e-6 + torch.nn.functional.softplus(a, threshold=100)
    mean = mu.mean(0)
    between = (mu - mean).square().mean(0)
    return mean, between if var == "means" else between + s.square().mean(0)


def kl_formula(mu, a, param="logvar", var="mixture", eps=1e-8):
    mean, variance = formula(mu, a, param, var)
    return 0.5 * (mean**2 + variance - variance.clamp_min(eps).log() - 1).sum()


@pytest.mark.parametrize("var", moments.VARS)
@pytest.mark.parametrize("param", moments.PARAMS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_equals_the_formulas(cpu_backend, close, dtype, param, var):
    for shape in SHAPES:
        inputs = make(shape, dtype)
        got = both_ways(ops.mixture_moments, *inputs, param=param, var=var)
        expected = both_ways(formula, *(x.double() for x in inputs), param=param, var=var)
        for i, (x, y) in enumerate(zip(got, expected, strict=True)):
            close(x, y, TOLERANCE[dtype] if i > 1 else TOLERANCE[torch.float32] if dtype != torch.float64 else 1e-12)
        assert got[0].dtype == moments.compute_dtype(dtype) and got[2].dtype == dtype


@pytest.mark.parametrize("level", [100.0, -1e4])
def test_data_far_from_zero_keep_their_digits(cpu_backend, close, level):
    for dtype, shape in [(torch.float32, (1500, 3)), (torch.float64, (90, 3)), (torch.float32, (1, 5))]:
        inputs = make(shape, dtype, level)
        got = both_ways(ops.mixture_moments, *inputs, var="means")
        expected = both_ways(formula, *(x.double() for x in inputs), var="means")
        for x, y in zip(got, expected, strict=True):
            close(x, y, 2e-6)


def test_one_column_far_from_the_others_and_rows_in_order(cpu_backend, close):
    mu, a, *grads = make((2100, 4))
    mu = mu.sort(0).values + torch.tensor([0.0, 1e3, -1e5, 7.0])
    mu[:, 3] = 2.5  # no variance at all
    got = both_ways(ops.mixture_moments, mu, a, *grads, var="means")
    expected = both_ways(formula, mu.double(), a.double(), *grads, var="means")
    for c in range(4):
        for x, y in zip(got[:2], expected[:2], strict=True):
            close(x[c], y[c], 2e-6)
        close(got[2][:, c], expected[2][:, c], 2e-6)
    assert got[1][3] == 0


@pytest.mark.parametrize("param, value", [("logvar", 30.0), ("logstd", 15.0), ("softplus", 30.0)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_extreme_scales(cpu_backend, close, param, value, sign):
    mu, _, *grads = make((40, 5))
    a = torch.full_like(mu, sign * value)
    _, within, _, to_a = both_ways(ops.mixture_moments, torch.zeros_like(mu), a, *grads, param=param)
    _, expected, _, to_a_expected = both_ways(formula, torch.zeros_like(mu).double(), a.double(), *grads, param=param)
    close(within, expected, 2e-6)
    close(to_a, to_a_expected, 2e-6)


def test_nan_and_infinity_come_through(cpu_backend):
    mu, a, *_ = make((30, 3))
    mu[4, 1] = math.nan
    mean, variance = ops.mixture_moments(mu, a)
    assert mean.isnan().tolist() == variance.isnan().tolist() == [False, True, False]
    mu[4, 1], a[2, 0] = 0.0, math.inf
    assert ops.mixture_moments(mu, a)[1].isinf().tolist() == [True, False, False]
    a[2, 0] = math.nan
    assert ops.mixture_moments(mu, a)[1].isnan().tolist() == [True, False, False]
    assert ops.mixture_moments(mu, a, var="means")[1].isfinite().all()


@pytest.mark.parametrize("absent", ["mean", "variance"])
def test_either_gradient_may_be_absent(cpu_backend, close, absent):
    mu, a, grad_mean, grad_variance = make((12, 5))
    grads = (None, grad_variance) if absent == "mean" else (grad_mean, None)
    got = both_ways(ops.mixture_moments, mu, a, *grads)
    expected = both_ways(formula, mu.double(), a.double(), *grads)
    for x, y in zip(got, expected, strict=True):
        close(x, y, 2e-6)


@pytest.mark.parametrize("var", moments.VARS)
@pytest.mark.parametrize("param", moments.PARAMS)
def test_kl_equals_the_formula(cpu_backend, close, param, var):
    for shape in [(40, 64), (7, 3), (3, 513)]:
        mu, a, *_ = make(shape)
        inputs = [x.requires_grad_() for x in (mu, a)] if var == "mixture" else [mu.requires_grad_()]
        doubles = [x.detach().double().requires_grad_() for x in (mu, a)]
        kl, expected = ops.mixture_kl(mu, a, param=param, var=var), kl_formula(*doubles, param, var)
        assert kl.shape == () and kl.dtype == torch.float32
        close(kl, expected, 2e-6)
        for x, y in zip(torch.autograd.grad(kl, inputs), torch.autograd.grad(expected, doubles[: len(inputs)])):
            close(x, y, 4e-6)


def test_kl_identities(cpu_backend, close):
    """The mean KL is KL_g and a remainder, which is never negative."""
    mu, logvar, *_ = make((300, 6), torch.float64)
    single = 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(1).mean()
    variance = ops.mixture_moments(mu, logvar)[1]
    remainder = 0.5 * (variance.log() - logvar.mean(0)).sum()
    assert remainder > 0
    close(ops.mixture_kl(mu, logvar) + remainder, single, 1e-12)
    prior = torch.zeros(4, 3, dtype=torch.float64)
    assert ops.mixture_kl(prior, prior).abs() < 1e-15


def test_one_row_of_means_alone_is_finite(cpu_backend):
    mu = torch.tensor([[1.0, 2.0]], requires_grad=True)
    kl = ops.mixture_kl(mu, torch.zeros(1, 2), var="means")
    torch.testing.assert_close(kl, torch.tensor(0.5 * (5 - 2 * math.log(1e-8) - 2)))
    torch.testing.assert_close(torch.autograd.grad(kl, mu)[0], mu.detach())
    assert ops.mixture_kl(mu, torch.zeros(1, 2), var="means", eps=0).isinf()


def test_strided_and_expanded(cpu_backend):
    cases = [
        (torch.randn(9, 20)[:, ::2], torch.randn(9, 40)[:, ::4]), (torch.randn(10, 9).t(), torch.randn(10, 9).t()),
        (torch.randn(9, 20)[:, :10], torch.randn(18, 10)[::2]), (torch.randn(1, 10).expand(9, 10), torch.randn(9, 10)),
        (torch.randn(9, 1).expand(9, 10), torch.randn(9, 10)), (torch.randn(10, 9)[1:, 1:], torch.randn(9, 9)[:, 1:]),
        (torch.randn(4, 6, 5).transpose(0, 1), torch.randn(4, 6, 5).transpose(0, 1)),
    ]  # fmt: skip
    for mu, a in cases:
        grads = torch.ones(mu.shape[-1]), torch.ones(1).expand(mu.shape[-1])
        got = both_ways(ops.mixture_moments, mu, a, *grads)
        expected = both_ways(ops.mixture_moments, mu.contiguous(), a.contiguous(), *grads)
        for x, y in zip(got, expected, strict=True):
            torch.testing.assert_close(x, y, rtol=2e-6, atol=2e-6)


def test_backward_twice_is_bitwise_equal(cpu_backend):
    inputs = make((2500, 5))
    for x, y in zip(*(both_ways(ops.mixture_moments, *inputs) for _ in range(2)), strict=True):
        assert torch.equal(x, y)


def test_threads_change_no_bit():
    if _native.why_missing():
        pytest.skip(_native.why_missing())
    before = torch.get_num_threads()
    try:
        for shape in [(60_000, 3), (3000, 64), (50, 5000)]:
            results = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                with ops.backend("cpp"):
                    results.append(both_ways(ops.mixture_moments, *make(shape, level=3.0)))
            for other in results[1:]:
                for x, y in zip(results[0], other, strict=True):
                    assert torch.equal(x, y)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype, k", [(torch.float32, 64), (torch.float32, 67), (torch.float64, 33)])
def test_gradients_larger_than_the_caches(close, dtype, k):
    """They are written past the caches, in whole lines where rows are aligned."""
    if _native.why_missing():
        pytest.skip(_native.why_missing())
    inputs = make((36_000, k), dtype)
    with ops.backend("cpp"):
        got = both_ways(ops.mixture_moments, *inputs)
    expected = both_ways(formula, *(x.double() for x in inputs))
    for x, y in zip(got, expected, strict=True):
        close(x, y, 2e-6)


def test_the_backward_pass_keeps_inputs_and_the_mean():
    mu, a, *_ = make((64, 8))
    mu.requires_grad_(), a.requires_grad_()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        ops.mixture_kl(mu, a)
    assert {t.data_ptr() for t in saved if t.numel() > 8} == {mu.data_ptr(), a.data_ptr()}


@pytest.mark.parametrize("param", moments.PARAMS)
def test_gradcheck(cpu_backend, param):
    if cpu_backend == "triton":
        pytest.skip("slow in the interpreter, and test_equals_the_formulas holds every gradient")
    mu, a, *_ = make((6, 3), torch.float64)
    mu.requires_grad_(), a.requires_grad_()
    for f in (ops.mixture_moments, ops.mixture_kl):
        assert torch.autograd.gradcheck(lambda m, s, f=f: f(m, s, param=param), (mu, a))
        assert torch.autograd.gradcheck(lambda m, f=f: f(m, a.detach(), param=param, var="means"), (mu,))


def test_second_derivative_is_refused():
    mu, a, *_ = make((4, 3))
    mu.requires_grad_()
    (grad,) = torch.autograd.grad(ops.mixture_kl(mu, a), mu, create_graph=True)
    with pytest.raises(ArgumentError, match="differentiable once"):
        grad.sum().backward()


@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(cpu_backend, requires_grad):
    op, backward = torch.ops.vaefast.mixture_moments.default, torch.ops.vaefast.mixture_moments_backward.default
    mu, a = (torch.randn(4, 12, requires_grad=requires_grad) for _ in range(2))
    torch.library.opcheck(op, (mu, a, "logvar"))
    torch.library.opcheck(op, (mu[:, ::2], None, "softplus"))
    torch.library.opcheck(op, (mu.detach().bfloat16().requires_grad_(requires_grad), a.detach().bfloat16(), "softplus"))
    mu, a = mu.detach(), a.detach()
    mean, g = mu.double().mean(0), torch.randn(12, dtype=torch.float64)
    for args in [(g, g, g, mean, mu, a), (None, g, None, mean, mu, a), (g, None, None, mean, mu, None)]:
        torch.library.opcheck(backward, (*args, "logstd"))


def test_fake_strides_are_the_real_ones(cpu_backend):
    from torch._subclasses.fake_tensor import FakeTensorMode

    for mu in (torch.randn(6, 4), torch.randn(4, 6).t(), torch.randn(1, 4).expand(6, 4)):
        g = torch.ones(4, dtype=torch.float64)
        real = moments._mixture_moments(mu, mu, "logvar")
        real += moments._mixture_moments_backward(g, None, None, g, mu, mu, "logvar")
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            m, g = mode.from_tensor(mu), mode.from_tensor(g)
            fake = moments._mixture_moments(m, m, "logvar")
            fake += moments._mixture_moments_backward(g, None, None, g, m, m, "logvar")
        for r, f in zip(real, fake, strict=True):
            assert (r.shape, r.stride(), r.dtype) == (f.shape, f.stride(), f.dtype)


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize("var", moments.VARS)
def test_compiles_in_one_graph(dynamic, var):
    def loss(mu, a):
        mean, variance = ops.mixture_moments(mu * 2, a, var=var)
        return mean.sin().sum() + variance.sum() + ops.mixture_kl(mu, a)

    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for rows in (4, 7):
        mu, a, *_ = make((rows, 6))
        mu.requires_grad_(), a.requires_grad_()
        got, expected = (torch.autograd.grad(f(mu, a), (mu, a)) for f in (compiled, loss))
        torch.testing.assert_close(got, expected)


def test_compiles_with_inductor():
    if _native.why_missing():
        pytest.skip("no C++ compiler for Inductor either")
    mu, a, *_ = make((5, 6))
    mu.requires_grad_(), a.requires_grad_()
    compiled = torch.compile(ops.mixture_kl, fullgraph=True)
    got, expected = (torch.autograd.grad(f(mu, a), (mu, a)) for f in (compiled, ops.mixture_kl))
    torch.testing.assert_close(got, expected)


def test_checkpointing_autocast_and_mixed_dtypes(cpu_backend):
    from torch.utils.checkpoint import checkpoint

    layer, x = torch.nn.Linear(8, 12), torch.randn(4, 8)
    grads = []
    for call in (lambda f, *a: f(*a), lambda f, *a: checkpoint(f, *a, use_reentrant=False)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            kl = call(lambda d: ops.mixture_kl(*layer(d).chunk(2, dim=1)), x)
        assert kl.dtype == torch.float32
        grads.append(torch.autograd.grad(kl, layer.weight)[0])
    assert torch.equal(*grads) and grads[0].isfinite().all()
    assert ops.mixture_kl(torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3)).dtype == torch.float64
    assert ops.mixture_kl(torch.randn(4, 3, dtype=torch.bfloat16), torch.randn(4, 3)).dtype == torch.float32


ROWS = (5, 0, 12)  # of the ranks


def _rank(rank: int, world: int, folder: str) -> None:
    """One process of the group: its gradients with group=, as a file."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world, timeout=datetime.timedelta(seconds=60)
    )
    try:
        mu, a, *grads = make((sum(ROWS[:world]), 6), level=50.0)
        mine = slice(sum(ROWS[:rank]), sum(ROWS[: rank + 1]))
        results = {}
        for var in moments.VARS:
            # The ranks' losses differ: each takes its own multiple of the same outputs.
            m, s = mu[mine].clone().requires_grad_(), a[mine].clone().requires_grad_()
            mean, variance = ops.mixture_moments(m, s, var=var, group=dist.group.WORLD)
            kl = ops.mixture_kl(m, s, var=var, group=dist.group.WORLD)
            loss = (rank + 1) * ((mean * grads[0]).sum() + (variance * grads[1]).sum() + kl)
            to_mu, to_a = torch.autograd.grad(loss, (m, s), allow_unused=True)
            results[var] = [t.detach() for t in (mean, variance, kl, to_mu, torch.zeros_like(s) if to_a is None else to_a)]
        torch.save(results, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_a_process_group_equals_one_process(tmp_path, close, world):
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("needs torch.distributed with gloo")
    torch.multiprocessing.start_processes(_rank, (world, str(tmp_path)), nprocs=world, start_method="fork")
    ranks = [torch.load(tmp_path / f"{r}.pt") for r in range(world)]
    mu, a, *grads = make((sum(ROWS[:world]), 6), level=50.0)
    for var in moments.VARS:
        m, s = mu.clone().requires_grad_(), a.clone().requires_grad_()
        mean, variance = ops.mixture_moments(m, s, var=var)
        kl = ops.mixture_kl(m, s, var=var)
        loss = sum(range(1, world + 1)) * ((mean * grads[0]).sum() + (variance * grads[1]).sum() + kl)
        to_mu, to_a = torch.autograd.grad(loss, (m, s), allow_unused=True)
        for result in ranks:
            assert all(torch.equal(x, y) for x, y in zip(result[var][:3], ranks[0][var][:3]))
            for x, y in zip(result[var], (mean, variance, kl)):
                close(x, y, 1e-6)
        close(torch.cat([r[var][3] for r in ranks]), to_mu, 2e-6)
        close(torch.cat([r[var][4] for r in ranks]), torch.zeros_like(a) if to_a is None else to_a, 2e-6)


@pytest.mark.parametrize(
    "arguments, options, words",
    [
        (([1.0], torch.ones(1)), {}, ["mu", "list", "tensor"]),
        ((torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3)), {}, ["mu", "int64", "float32"]),
        ((torch.ones(2, 3), torch.ones(2, 3, dtype=torch.complex64)), {}, ["scale", "complex64"]),
        ((torch.tensor(1.0), torch.tensor(1.0)), {}, ["mu", "1 dimension"]),
        ((torch.ones(2, 3), torch.ones(3)), {}, ["scale", "[3]", "[2, 3]"]),
        ((torch.ones(2, 3), torch.ones(2, 3, device="meta")), {}, ["scale", "meta", "cpu"]),
        ((torch.ones(0, 3), torch.ones(0, 3)), {}, ["mu", "[0, 3]", "one row"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"param": "variance"}, ["param", "'variance'", "'logvar'"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"var": "both"}, ["var", "'both'", "'mixture'", "'means'"]),
    ],
)
def test_bad_arguments_are_named(arguments, options, words):
    for f in (ops.mixture_moments, ops.mixture_kl):
        with pytest.raises(ArgumentError) as error:
            f(*arguments, **options)
        assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("eps", [-1.0, math.nan, math.inf, "small", True])
def test_bad_eps_is_named(eps):
    with pytest.raises(ArgumentError, match="eps"):
        ops.mixture_kl(torch.ones(2, 3), torch.ones(2, 3), eps=eps)


def test_no_warnings_on_the_way():
    mu, a, *_ = make((4, 3))
    mu.requires_grad_(), a.requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ops.mixture_kl(mu, a).backward()
