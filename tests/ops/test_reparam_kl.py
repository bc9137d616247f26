"""reparam_kl against its definition, and as a citizen of PyTorch."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

import vaefast.ops as ops
from vaefast.errors import ArgumentError
from vaefast.ops import _native, _philox, reparam

SHAPES = [(0, 4), (3, 0), (1, 64), (5, 1), (7, 3), (4, 64), (3, 513), (2, 2050)]
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 6e-4}


def make(shape, dtype=torch.float32, spread=1.0):
    generator = torch.Generator().manual_seed(1)
    mu, a, grad_z = (torch.randn(shape, generator=generator).to(dtype) for _ in range(3))
    return mu, a * spread, grad_z, torch.randn(shape[:-1], generator=generator).to(reparam.compute_dtype(dtype))


def run(mu, a, grad_z, grad_kl, **options):
    """Outputs and gradients of the public function."""
    mu, a = mu.detach().requires_grad_(), a.detach().requires_grad_()
    z, kl = ops.reparam_kl(mu, a, **options)
    given = [(o, g) for o, g in ((z, grad_z), (kl, grad_kl)) if g is not None]
    grads = torch.autograd.grad([o for o, _ in given], [mu, a], [g for _, g in given])
    return z, kl, *grads


def truth(mu, a, grad_z, grad_kl, param, seed=5, row_offset=0):
    """The same in float64 from the textbook formulas, differentiated by autograd."""
    mu, a = mu.detach().double().requires_grad_(), a.detach().double().requires_grad_()
    s = {
        "logvar": lambda: torch.exp(0.5 * a),
        "logstd": lambda: torch.exp(a),
        "softplus": lambda: 1e-6 + torch.nn.functional.softplus(a, threshold=100),
    }[param]()
    k = mu.shape[-1]
    eps = _philox.normals(torch.tensor([seed]), row_offset * k, mu.numel(), torch.float64).view(mu.shape)
    z = mu + s * eps
    kl = 0.5 * (mu**2 + s**2 - 2 * torch.log(s) - 1).sum(-1)
    given = [(o, g) for o, g in ((z, grad_z), (kl, grad_kl)) if g is not None]
    grads = torch.autograd.grad([o for o, _ in given], [mu, a], [g.double() for _, g in given])
    return z, kl, *grads


@pytest.mark.parametrize("param", reparam.PARAMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_equals_the_formulas(cpu_backend, close, dtype, shape, param):
    inputs = make(shape, dtype)
    for got, expected in zip(run(*inputs, param=param, seed=5), truth(*inputs, param), strict=True):
        close(got, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("absent", ["z", "kl"])
def test_either_gradient_may_be_absent(cpu_backend, close, absent):
    mu, a, grad_z, grad_kl = make((4, 13))
    grad_z, grad_kl = (None, grad_kl) if absent == "z" else (grad_z, None)
    for param in reparam.PARAMS:
        got, expected = run(mu, a, grad_z, grad_kl, param=param, seed=5), truth(mu, a, grad_z, grad_kl, param)
        close(got[2], expected[2], 2e-6)
        close(got[3], expected[3], 2e-6)


@pytest.mark.parametrize("param, values", [("logvar", 30.0), ("logstd", 30.0), ("softplus", 30.0)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_extreme_scales_keep_their_digits(cpu_backend, close, param, values, sign):
    mu, _, grad_z, grad_kl = make((4, 64))
    a = torch.full_like(mu, sign * values)
    inputs = (mu, a, grad_z, grad_kl)
    for got, expected in zip(run(*inputs, param=param, seed=5), truth(*inputs, param), strict=True):
        close(got, expected, 5e-6)


def test_nan_and_infinity_come_through(cpu_backend):
    mu = torch.zeros(3, 4)
    for param in reparam.PARAMS:
        z, kl = ops.reparam_kl(mu, torch.full_like(mu, math.nan), param=param, seed=1)
        assert z.isnan().all() and kl.isnan().all()
        _, kl = ops.reparam_kl(mu, torch.full_like(mu, math.inf), param=param, seed=1)
        assert not kl.isfinite().any()


def test_strided_expanded_and_leading_dimensions(cpu_backend):
    both = torch.randn(6, 20)
    row = torch.randn(1, 10)
    column = torch.randn(6, 1)
    cases = [
        both.chunk(2, dim=-1),  # the usual encoder output: rows of stride 2 k
        (torch.randn(10, 6).t(), torch.randn(10, 6).t()),
        (row.expand(6, 10), column.expand(6, 10)),
        (torch.randn(6, 40)[:, ::4], torch.randn(12, 10)[::2]),
        (torch.randn(2, 3, 10), torch.randn(2, 3, 10)),
        (torch.randn(10), torch.randn(10)),
        (torch.randn(1, 10).expand(1, 10), torch.randn(1, 10)),
    ]
    for mu, a in cases:
        grad_z, grad_kl = torch.randn(mu.t().shape).t() if mu.dim() == 2 else torch.randn(mu.shape), torch.tensor(0.5)
        grad_kl = grad_kl.expand(mu.shape[:-1])
        got = run(mu, a, grad_z, grad_kl, seed=3)
        expected = run(mu.contiguous(), a.contiguous(), grad_z.contiguous(), grad_kl.contiguous(), seed=3)
        for x, y in zip(got, expected, strict=True):
            # PyTorch's own sum, in the reference, depends on the strides in the last bit.
            slack = 0 if cpu_backend == "cpp" else 1e-6
            torch.testing.assert_close(x, y, rtol=slack, atol=slack)
        assert got[0].shape == mu.shape and got[0].is_contiguous() and got[1].shape == mu.shape[:-1]


@pytest.mark.parametrize("k", [3, 64, 1500])
def test_a_split_batch_equals_the_whole(cpu_backend, k):
    inputs = make((9, k))
    whole = run(*inputs, seed=8)
    parts = [run(*(x[rows] for x in inputs), seed=8, row_offset=rows.start) for rows in (slice(0, 4), slice(4, 9))]
    for i, x in enumerate(whole):
        assert torch.equal(x, torch.cat([part[i] for part in parts]))


def test_offsets_beyond_32_bits(cpu_backend, close):
    mu, a, grad_z, grad_kl = make((3, 5))
    offset = 2**33 + 1
    got = run(mu, a, grad_z, grad_kl, seed=5, row_offset=offset)
    close(got[0], truth(mu, a, grad_z, grad_kl, "logvar", row_offset=offset)[0], 2e-6)


def test_seeds_follow_torch(cpu_backend):
    mu, a, *_ = make((4, 8))

    def draw(**options):
        return ops.reparam_kl(mu, a, **options)[0]

    torch.manual_seed(0)
    first, second = draw(), draw()
    torch.manual_seed(0)
    assert torch.equal(draw(), first) and torch.equal(draw(), second) and not torch.equal(first, second)
    assert torch.equal(
        draw(generator=torch.Generator().manual_seed(4)), draw(generator=torch.Generator().manual_seed(4))
    )
    assert torch.equal(draw(seed=9), draw(seed=torch.tensor([9])))
    assert torch.equal(draw(seed=9), draw(seed=torch.tensor(9)))


def test_backward_twice_is_bitwise_equal(cpu_backend):
    inputs = make((64, 65))
    first, second = run(*inputs, seed=2), run(*inputs, seed=2)
    for x, y in zip(first, second, strict=True):
        assert torch.equal(x, y)
    mu = inputs[0].requires_grad_()
    z, kl = ops.reparam_kl(mu, inputs[1], seed=2)
    loss = z.sum() + kl.sum()
    (g1,) = torch.autograd.grad(loss, mu, retain_graph=True)
    (g2,) = torch.autograd.grad(loss, mu)
    assert torch.equal(g1, g2)


def test_threads_change_no_bit():
    """Of the compiled backend; PyTorch's own sum, which the reference uses, makes no such promise."""
    if _native.why_missing():
        pytest.skip(_native.why_missing())
    before = torch.get_num_threads()
    try:
        for shape in [(4096, 33), (7, 30000)]:
            inputs, results = make(shape), []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                with ops.backend("cpp"):
                    results.append(run(*inputs, seed=2))
            for other in results[1:]:
                for x, y in zip(results[0], other, strict=True):
                    assert torch.equal(x, y)
    finally:
        torch.set_num_threads(before)


def test_nothing_but_inputs_and_seed_is_saved():
    mu, a = torch.randn(8, 4, requires_grad=True), torch.randn(8, 4, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        ops.reparam_kl(mu, a, seed=1)
    assert {x.data_ptr() for x in saved if x.numel() > 1} == {mu.data_ptr(), a.data_ptr()}


@pytest.mark.parametrize("param", reparam.PARAMS)
def test_gradcheck(cpu_backend, param):
    mu, a = (torch.randn(3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda m, s: ops.reparam_kl(m, s, param=param, seed=4, row_offset=2), (mu, a))


def test_second_derivative_is_refused():
    mu, a = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    z, _ = ops.reparam_kl(mu, a)
    (grad,) = torch.autograd.grad(z.pow(2).sum(), a, create_graph=True)
    with pytest.raises(ArgumentError, match="differentiable once"):
        grad.sum().backward()


@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(cpu_backend, requires_grad):
    seed = torch.tensor([3])
    for dtype, shape in [(torch.float32, (4, 6)), (torch.bfloat16, (2, 3))]:
        mu, a = (torch.randn(shape).to(dtype).requires_grad_(requires_grad) for _ in range(2))
        torch.library.opcheck(torch.ops.vaefast.reparam_kl.default, (mu, a, seed, "logvar", 0))
        torch.library.opcheck(torch.ops.vaefast.reparam_kl.default, (mu[:, ::2], a.detach()[:, ::2], seed, "softplus", 1))
    grad_z, grad_kl = torch.randn(4, 6), torch.randn(4)
    mu, a = torch.randn(4, 6), torch.randn(4, 6)
    for gz, gk in [(grad_z, grad_kl), (None, grad_kl), (grad_z, None)]:
        torch.library.opcheck(torch.ops.vaefast.reparam_kl_backward.default, (gz, gk, mu, a, seed, "logstd", 0))


def test_fake_strides_are_the_real_ones(cpu_backend):
    from torch._subclasses.fake_tensor import FakeTensorMode

    for mu in (torch.randn(6, 4), torch.randn(4, 6).t(), torch.randn(1, 4).expand(6, 4)):
        real = ops.reparam_kl(mu, mu, seed=1)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            fake_mu = mode.from_tensor(mu)
            fake = ops.reparam_kl(fake_mu, fake_mu, seed=1)
        for r, f in zip(real, fake, strict=True):
            assert (r.shape, r.stride(), r.dtype) == (f.shape, f.stride(), f.dtype)


@pytest.mark.parametrize("dynamic", [None, True])
def test_compiles_in_one_graph(dynamic):
    def loss(mu, a, seed):
        z, kl = ops.reparam_kl(mu * 2, a, seed=seed)
        return (z.sin().sum(1) + kl).sum()

    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for rows in (4, 7):
        mu, a = torch.randn(rows, 6, requires_grad=True), torch.randn(rows, 6, requires_grad=True)
        seed = torch.tensor([rows])
        got, expected = (torch.autograd.grad(f(mu, a, seed), (mu, a)) for f in (compiled, loss))
        torch.testing.assert_close(got, expected)


def test_compiles_with_inductor_and_draws_its_own_seed():
    def draw(mu, a):
        z, kl = ops.reparam_kl(mu, a)
        return z.tanh(), kl

    if _native.why_missing():
        pytest.skip("no C++ compiler for Inductor either")
    compiled = torch.compile(draw, fullgraph=True)
    mu, a = torch.randn(4, 6, requires_grad=True), torch.randn(4, 6)
    first, second = compiled(mu, a)[0], compiled(mu, a)[0]
    assert not torch.equal(first, second)
    first.sum().backward()
    assert mu.grad.isfinite().all()


def test_only_one_output_used_under_compile():
    for pick in (0, 1):
        f = torch.compile(
            lambda mu, a, pick=pick: ops.reparam_kl(mu, a, seed=torch.tensor([2]))[pick].sum(),
            fullgraph=True,
            backend="aot_eager",
        )
        mu, a, *_ = make((3, 5))
        mu.requires_grad_(), a.requires_grad_()
        got = torch.autograd.grad(f(mu, a), (mu, a))
        expected = torch.autograd.grad(ops.reparam_kl(mu, a, seed=2)[pick].sum(), (mu, a))
        torch.testing.assert_close(got, expected)


def test_checkpointing_recomputes_the_same_noise():
    from torch.utils.checkpoint import checkpoint

    mu, a = torch.randn(4, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True)

    def loss(m, s):
        z, kl = ops.reparam_kl(m, s)
        return (z.exp().sum() + kl.sum()).sin()

    torch.manual_seed(1)
    plain = torch.autograd.grad(loss(mu, a), (mu, a))
    torch.manual_seed(1)
    again = torch.autograd.grad(checkpoint(loss, mu, a, use_reentrant=False), (mu, a))
    assert all(torch.equal(x, y) for x, y in zip(plain, again, strict=True))


def test_autocast_and_mixed_dtypes(cpu_backend):
    layer = torch.nn.Linear(8, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mu, a = layer(torch.randn(4, 8)).chunk(2, dim=1)
        z, kl = ops.reparam_kl(mu, a)
    assert z.dtype == torch.bfloat16 and kl.dtype == torch.float32
    (z.float().sum() + kl.sum()).backward()
    assert layer.weight.grad.isfinite().all()
    z, _ = ops.reparam_kl(mu, a.float())
    assert z.dtype == torch.float32


@pytest.mark.parametrize(
    "arguments, options, words",
    [
        (([1.0], torch.ones(1)), {}, ["mu", "list", "tensor"]),
        ((torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3)), {}, ["mu", "int64", "float32"]),
        ((torch.ones(2, 3), torch.ones(2, 3, dtype=torch.complex64)), {}, ["scale", "complex64"]),
        ((torch.tensor(1.0), torch.tensor(1.0)), {}, ["mu", "1 dimension"]),
        ((torch.ones(2, 3), torch.ones(3)), {}, ["scale", "[3]", "[2, 3]"]),
        ((torch.ones(2, 3), torch.ones(2, 3, device="meta")), {}, ["scale", "meta", "cpu"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"param": "variance"}, ["param", "'variance'", "'logvar'"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"seed": -1}, ["seed", "-1", "2**63"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"seed": 2**63}, ["seed", "2**63 - 1"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"seed": 0.5}, ["seed", "0.5"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"seed": torch.ones(2, dtype=torch.int64)}, ["seed", "[2]"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"seed": 1, "generator": torch.Generator()}, ["seed", "generator"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"row_offset": -1}, ["row_offset", "-1"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"row_offset": 1.5}, ["row_offset", "1.5"]),
    ],
)
def test_bad_arguments_are_named(arguments, options, words):
    with pytest.raises(ArgumentError) as error:
        ops.reparam_kl(*arguments, **options)
    for word in words:
        assert word in str(error.value)


def test_no_warnings_on_the_way():
    mu, a = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        z, kl = ops.reparam_kl(mu, a)
        (z.sum() + kl.sum()).backward()
