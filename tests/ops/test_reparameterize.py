"""reparameterize, and several draws a row of it and of reparam_kl, against the definition and as citizens of PyTorch."""

from __future__ import annotations

import math

import pytest
import torch

import vaefast.ops as ops
from vaefast.errors import ArgumentError
from vaefast.ops import _native, _philox, reparam

SHAPES = [(0, 4), (3, 0), (1, 64), (5, 1), (7, 3), (3, 513), (1, 2050)]
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 6e-4}


def make(shape, n_samples=None, dtype=torch.float32):
    """mu, scale and the gradients of z and kl."""
    generator = torch.Generator().manual_seed(1)
    mu, a = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    grad_z = torch.randn(shape if n_samples is None else (n_samples, *shape), generator=generator).to(dtype)
    return mu, a, grad_z, torch.randn(shape[:-1], generator=generator).to(reparam.compute_dtype(dtype))


def gradients(z, kl, mu, a, grad_z, grad_kl):
    given = [(o, g.to(o.dtype)) for o, g in ((z, grad_z), (kl, grad_kl)) if o is not None and g is not None]
    return torch.autograd.grad([o for o, _ in given], [mu, a], [g for _, g in given])


def run(mu, a, grad_z, grad_kl=None, *, kl=False, **options):
    """Outputs and gradients of reparam_kl, or, without the divergence, of reparameterize."""
    mu, a = mu.detach().requires_grad_(), a.detach().requires_grad_()
    if kl:
        z, divergence = ops.reparam_kl(mu, a, **options)
        return z, *gradients(z, divergence, mu, a, grad_z, grad_kl), divergence
    z = ops.reparameterize(mu, a, **options)
    return z, *gradients(z, None, mu, a, grad_z, None)


def truth(mu, a, grad_z, grad_kl=None, *, kl=False, param="logvar", n_samples=None, seed=5, row_offset=0):
    """The same in float64 from the textbook formulas, differentiated by autograd."""
    mu, a = mu.detach().double().requires_grad_(), a.detach().double().requires_grad_()
    s = {
        "logvar": lambda: torch.exp(0.5 * a),
        "logstd": lambda: torch.exp(a),
        "softplus": lambda: 1e-6 + torch.nn.functional.softplus(a, threshold=100),
    }[param]()
    first, count = row_offset * mu.shape[-1], mu.numel()
    eps = [
        _philox.normals(torch.tensor([seed]), first, count, torch.float64, stream=j).view(mu.shape)
        for j in range(n_samples or 1)
    ]
    z = mu + s * (eps[0] if n_samples is None else torch.stack(eps))
    if not kl:
        return z, *gradients(z, None, mu, a, grad_z, None)
    divergence = 0.5 * (mu**2 + s**2 - 2 * torch.log(s) - 1).sum(-1)
    return z, *gradients(z, divergence, mu, a, grad_z, grad_kl), divergence


@pytest.mark.parametrize("param", reparam.PARAMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_equals_the_formulas(cpu_backend, close, dtype, shape, param):
    inputs = make(shape, dtype=dtype)
    for got, expected in zip(run(*inputs, param=param, seed=5), truth(*inputs, param=param), strict=True):
        close(got, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("kl", [False, True], ids=["reparameterize", "reparam_kl"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_several_draws_equal_the_formulas(cpu_backend, close, dtype, shape, kl):
    cases = [(3, "softplus"), (1, "logvar"), (4, "logstd")]
    for n_samples, param in cases[:1] if cpu_backend == "triton" else cases:  # the interpreter is slow
        inputs = make(shape, n_samples, dtype)
        options = dict(kl=kl, param=param, n_samples=n_samples, row_offset=2)
        got, expected = run(*inputs, seed=5, **options), truth(*inputs, **options)
        assert got[0].shape == (n_samples, *shape) and got[0].is_contiguous()
        for x, y in zip(got, expected, strict=True):
            assert kl and x is got[-1] or x.dtype == dtype
            close(x, y, TOLERANCE[dtype])


def test_either_gradient_of_several_draws_may_be_absent(cpu_backend, close):
    mu, a, grad_z, grad_kl = make((4, 13), 3)
    for gz, gk in [(None, grad_kl), (grad_z, None)]:
        for param in reparam.PARAMS:
            options = dict(kl=True, param=param, n_samples=3)
            got, expected = run(mu, a, gz, gk, seed=5, **options), truth(mu, a, gz, gk, **options)
            close(got[1], expected[1], 2e-6)
            close(got[2], expected[2], 2e-6)


@pytest.mark.parametrize("n_samples", [None, 3])
def test_one_input_may_need_no_gradient(cpu_backend, n_samples):
    mu, a, grad_z, _ = make((4, 13), n_samples)
    _, to_mu, to_scale = run(mu, a, grad_z, seed=5, n_samples=n_samples)
    m, s = mu.clone().requires_grad_(), a.clone().requires_grad_()
    (alone,) = torch.autograd.grad(ops.reparameterize(m, a, seed=5, n_samples=n_samples), m, grad_z)
    assert torch.equal(alone, to_mu)
    (alone,) = torch.autograd.grad(ops.reparameterize(mu, s, seed=5, n_samples=n_samples), s, grad_z)
    assert torch.equal(alone, to_scale)


@pytest.mark.parametrize("n_samples", [None, 2])
@pytest.mark.parametrize("param", reparam.PARAMS)
@pytest.mark.parametrize("value", [-30.0, 30.0])
def test_extreme_scales_keep_their_digits(cpu_backend, close, value, param, n_samples):
    mu, _, grad_z, grad_kl = make((4, 64), n_samples)
    inputs = (mu, torch.full_like(mu, value), grad_z, grad_kl)
    for kl in (False, True):
        options = dict(kl=kl, param=param, n_samples=n_samples)
        for got, expected in zip(run(*inputs, seed=5, **options), truth(*inputs, **options), strict=True):
            close(got, expected, 5e-6)


def test_nan_and_infinity_come_through(cpu_backend):
    mu = torch.zeros(3, 4)
    for param in reparam.PARAMS:
        for n_samples in (None, 2):
            options = dict(param=param, n_samples=n_samples, seed=1)
            assert ops.reparameterize(mu, torch.full_like(mu, math.nan), **options).isnan().all()
            assert ops.reparameterize(torch.full_like(mu, math.nan), mu, **options).isnan().all()
            assert not ops.reparameterize(mu, torch.full_like(mu, math.inf), **options).isfinite().any()


@pytest.mark.parametrize("n_samples", [None, 3])
def test_strided_expanded_and_leading_dimensions(cpu_backend, n_samples):
    cases = [
        torch.randn(6, 20).chunk(2, dim=-1),  # the usual encoder output: rows of stride 2 k
        (torch.randn(10, 6).t(), torch.randn(10, 6).t()),
        (torch.randn(1, 10).expand(6, 10), torch.randn(6, 1).expand(6, 10)),
        (torch.tensor(0.5).expand(6, 10), torch.tensor(-0.5).expand(6, 10)),
        (torch.randn(6, 40)[:, ::4], torch.randn(12, 10)[::2]),
        (torch.randn(2, 3, 10), torch.randn(2, 3, 10)),
        (torch.randn(10), torch.randn(10)),
    ]
    for number, (mu, a) in enumerate(cases):
        shape = tuple(mu.shape) if n_samples is None else (n_samples, *mu.shape)
        grads = [
            torch.randn(shape[::-1]).permute(*reversed(range(len(shape)))),  # the first dimension varies fastest
            torch.randn(*shape[:-1], 2 * shape[-1])[..., : shape[-1]],
            torch.randn(shape[-1]).expand(shape),
            torch.tensor(2.0).expand(shape),
        ]
        if cpu_backend == "triton":
            grads = [grads[number % 2]]  # the interpreter is slow
        for grad_z in grads:
            got = run(mu, a, grad_z, seed=3, n_samples=n_samples)
            expected = run(mu.contiguous(), a.contiguous(), grad_z.contiguous(), seed=3, n_samples=n_samples)
            assert got[0].shape == shape and got[0].is_contiguous()
            for x, y in zip(got, expected, strict=True):
                # PyTorch's own sum over draws, in the reference, depends on the strides in the last bit.
                slack = 1e-6 if cpu_backend == "reference" else 0
                torch.testing.assert_close(x, y, rtol=slack, atol=slack)


@pytest.mark.parametrize("kl", [False, True], ids=["reparameterize", "reparam_kl"])
@pytest.mark.parametrize("n_samples", [None, 3])
@pytest.mark.parametrize("k", [3, 64, 1100])
def test_a_split_batch_equals_the_whole(cpu_backend, k, n_samples, kl):
    mu, a, grad_z, grad_kl = make((9, k), n_samples)
    options = dict(kl=kl, n_samples=n_samples, seed=8)
    whole = run(mu, a, grad_z, grad_kl, **options)
    parts = [
        run(mu[rows], a[rows], grad_z[..., rows, :], grad_kl[rows], row_offset=rows.start, **options)
        for rows in (slice(0, 4), slice(4, 9))
    ]
    for i, x in enumerate(whole):
        assert torch.equal(x, torch.cat([part[i] for part in parts], dim=1 if x.dim() == 3 else 0))


def test_draws_follow_from_the_seed_whichever_function_makes_them(cpu_backend):
    for k, dtype in [(65, torch.float32), (64, torch.float32), (64, torch.bfloat16), (8, torch.float64)]:
        mu, a, *_ = make((5, k), dtype=dtype)
        z = ops.reparameterize(mu, a, seed=7)
        assert torch.equal(z, ops.reparam_kl(mu, a, seed=7)[0])
        draws = ops.reparameterize(mu, a, seed=7, n_samples=3)
        assert torch.equal(draws, ops.reparam_kl(mu, a, seed=7, n_samples=3)[0])
        assert torch.equal(draws[:2], ops.reparameterize(mu, a, seed=7, n_samples=2))
        assert torch.equal(draws[0], z)
        assert torch.equal(ops.reparam_kl(mu, a, seed=7)[1], ops.reparam_kl(mu, a, seed=7, n_samples=3)[1])


def test_noise_is_never_repeated(cpu_backend):
    """Between elements, draws, ranks and seeds: every normal appears once."""
    zero = torch.zeros(32, 33, dtype=torch.float64)
    noise = [
        ops.reparameterize(zero, zero, seed=seed, n_samples=3, row_offset=offset)
        for seed in (1, 2) for offset in (0, 32, 2**33)
    ]  # fmt: skip
    values = torch.stack(noise).flatten()
    assert values.unique().numel() == values.numel() == 6 * 3 * 32 * 33


def test_draws_are_independent(cpu_backend):
    n = 1 << 14
    x = ops.reparameterize(torch.zeros(1, n), torch.zeros(1, n), seed=4, n_samples=4)[:, 0].double()
    correlation = x @ x.t() / n - torch.eye(4, dtype=torch.float64)
    assert correlation.abs().max() < 5 * math.sqrt(2 / n)


def test_calls_draw_new_seeds(cpu_backend):
    mu, a, *_ = make((4, 8))

    def draw(**options):
        return ops.reparameterize(mu, a, **options)

    torch.manual_seed(0)
    first, second, other = draw(), draw(), ops.reparam_kl(mu, a)[0]
    torch.manual_seed(0)
    assert torch.equal(draw(), first) and torch.equal(draw(), second)
    assert not torch.equal(first, second) and not torch.equal(second, other)
    generators = [torch.Generator().manual_seed(4) for _ in range(2)]
    assert torch.equal(draw(generator=generators[0]), draw(generator=generators[1]))
    assert torch.equal(draw(seed=9), draw(seed=torch.tensor([9])))


@pytest.mark.parametrize("n_samples", [None, 3])
def test_backward_twice_is_bitwise_equal(cpu_backend, n_samples):
    mu, a, grad_z, _ = make((64, 65), n_samples)
    mu.requires_grad_(), a.requires_grad_()
    z = ops.reparameterize(mu, a, seed=2, n_samples=n_samples)
    first = torch.autograd.grad(z, (mu, a), grad_z, retain_graph=True)
    second = torch.autograd.grad(z, (mu, a), grad_z)
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_threads_change_no_bit():
    """Of the compiled backend; PyTorch's own sum, which the reference uses, makes no such promise."""
    if _native.why_missing():
        pytest.skip(_native.why_missing())
    before = torch.get_num_threads()
    try:
        for shape, n_samples in [((4096, 33), None), ((2048, 33), 3), ((7, 30000), 2)]:
            inputs, results = make(shape, n_samples), []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                with ops.backend("cpp"):
                    results.append(run(*inputs, seed=2, kl=n_samples is not None, n_samples=n_samples))
            for other in results[1:]:
                assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("n_samples", [None, 3])
def test_nothing_but_scale_and_seed_is_saved(n_samples):
    mu, a = torch.randn(8, 4, requires_grad=True), torch.randn(8, 4, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        ops.reparameterize(mu, a, seed=1, n_samples=n_samples)
    assert {x.data_ptr() for x in saved if x.numel() > 1} == {a.data_ptr()}


@pytest.mark.parametrize("n_samples", [None, 2])
@pytest.mark.parametrize("param", reparam.PARAMS)
def test_gradcheck(cpu_backend, param, n_samples):
    if cpu_backend == "triton" and param != "softplus":
        pytest.skip("slow in the interpreter, and softplus is the longest of the three")
    mu, a = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    options = dict(param=param, n_samples=n_samples, seed=4, row_offset=2)
    assert torch.autograd.gradcheck(lambda m, s: ops.reparameterize(m, s, **options), (mu, a))
    if n_samples is not None:
        assert torch.autograd.gradcheck(lambda m, s: ops.reparam_kl(m, s, **options), (mu, a))


def test_second_derivatives():
    mu, a = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    z = ops.reparameterize(mu, a, seed=1)
    (grad,) = torch.autograd.grad(z.pow(3).sum(), mu, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), mu)
    torch.testing.assert_close(second, 6 * z)
    for n_samples, x in [(None, a), (2, mu), (2, a)]:
        z = ops.reparameterize(mu, a, n_samples=n_samples)
        (grad,) = torch.autograd.grad(z.pow(2).sum(), x, create_graph=True)
        with pytest.raises(ArgumentError, match="differentiable once"):
            grad.sum().backward()


@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(cpu_backend, requires_grad):
    seed, check = torch.tensor([3]), torch.library.opcheck
    op = torch.ops.vaefast
    mu, a = (torch.randn(4, 6).requires_grad_(requires_grad) for _ in range(2))
    half = a.detach().bfloat16()
    check(op.reparameterize.default, (mu, a, seed, "logvar", 0))
    check(op.reparameterize.default, (mu[:, ::2], a[:, ::2], seed, "softplus", 1, 2))
    check(op.reparameterize.default, (half, half, seed, "logstd", 1, 2))
    check(op.reparam_kl.default, (mu, a, seed, "logvar", 0, 2))
    if not requires_grad:
        check(op.reparameterize_scale_backward.default, (mu, a, seed, "softplus", 1))
        grad_z, grad_kl = torch.randn(2, 4, 6), torch.randn(4)
        for gz, gk in [(grad_z, grad_kl), (None, grad_kl), (grad_z, None)]:
            check(op.reparam_kl_backward.default, (gz, gk, mu, a, seed, "logstd", 0, 2))


@pytest.mark.parametrize("n_samples", [None, 2])
def test_fake_strides_are_the_real_ones(cpu_backend, n_samples):
    from torch._subclasses.fake_tensor import FakeTensorMode

    for mu in (torch.randn(6, 4), torch.randn(4, 6).t(), torch.randn(1, 4).expand(6, 4), torch.randn(2, 3, 4)):
        def outputs(x):
            z = ops.reparameterize(x, x, seed=1, n_samples=n_samples)
            return z, *ops.reparam_kl(x, x, seed=1, n_samples=n_samples)

        real = outputs(mu)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            fake = outputs(mode.from_tensor(mu))
        for r, f in zip(real, fake, strict=True):
            assert (r.shape, r.stride(), r.dtype) == (f.shape, f.stride(), f.dtype)


@pytest.mark.parametrize("n_samples", [None, 3])
@pytest.mark.parametrize("dynamic", [None, True])
def test_compiles_in_one_graph(dynamic, n_samples):
    def loss(mu, a, seed):
        z = ops.reparameterize(mu * 2, a, seed=seed, n_samples=n_samples)
        return z.sin().sum() + ops.reparam_kl(mu, a, seed=seed, n_samples=n_samples)[1].sum()

    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for rows in (4, 7):
        mu, a = torch.randn(rows, 6, requires_grad=True), torch.randn(rows, 6, requires_grad=True)
        seed = torch.tensor([rows])
        got, expected = (torch.autograd.grad(f(mu, a, seed), (mu, a)) for f in (compiled, loss))
        torch.testing.assert_close(got, expected)


def test_the_number_of_draws_may_be_dynamic():
    compiled = torch.compile(
        lambda mu, a, n: ops.reparameterize(mu, a, seed=torch.tensor([3]), n_samples=n, row_offset=n).sum(0),
        fullgraph=True, dynamic=True, backend="aot_eager",
    )  # fmt: skip
    mu, a = torch.randn(4, 6), torch.randn(4, 6)
    for n in (2, 3, 5):
        expected = ops.reparameterize(mu, a, seed=3, n_samples=n, row_offset=n).sum(0)
        torch.testing.assert_close(compiled(mu, a, n), expected)


def test_compiles_with_inductor_and_draws_its_own_seed():
    if _native.why_missing():
        pytest.skip("no C++ compiler for Inductor either")
    compiled = torch.compile(lambda mu, a: ops.reparameterize(mu, a, n_samples=2).tanh(), fullgraph=True)
    mu, a = torch.randn(4, 6, requires_grad=True), torch.randn(4, 6, requires_grad=True)
    first, second = compiled(mu, a), compiled(mu, a)
    assert not torch.equal(first, second)
    first.sum().backward()
    assert mu.grad.isfinite().all() and a.grad.isfinite().all()


@pytest.mark.parametrize("n_samples", [None, 2])
def test_checkpointing_recomputes_the_same_noise(n_samples):
    from torch.utils.checkpoint import checkpoint

    mu, a = torch.randn(4, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True)

    def loss(m, s):
        return ops.reparameterize(m, s, n_samples=n_samples).exp().sum().sin()

    torch.manual_seed(1)
    plain = torch.autograd.grad(loss(mu, a), (mu, a))
    torch.manual_seed(1)
    again = torch.autograd.grad(checkpoint(loss, mu, a, use_reentrant=False), (mu, a))
    assert all(torch.equal(x, y) for x, y in zip(plain, again, strict=True))


def test_autocast_and_mixed_dtypes(cpu_backend):
    layer = torch.nn.Linear(8, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mu, a = layer(torch.randn(4, 8)).chunk(2, dim=1)
        z = ops.reparameterize(mu, a, n_samples=2)
    assert z.dtype == torch.bfloat16
    z.float().sum().backward()
    assert layer.weight.grad.isfinite().all()
    assert ops.reparameterize(mu, a.float()).dtype == torch.float32


@pytest.mark.parametrize("f", [ops.reparameterize, ops.reparam_kl], ids=["reparameterize", "reparam_kl"])
@pytest.mark.parametrize(
    "arguments, options, words",
    [
        (([1.0], torch.ones(1)), {}, ["mu", "list", "tensor"]),
        ((torch.ones(2, 3), torch.ones(2, 3, dtype=torch.int32)), {}, ["scale", "int32", "float32"]),
        ((torch.ones(2, 3), torch.ones(3)), {}, ["scale", "[3]", "[2, 3]"]),
        ((torch.ones(2, 3), torch.ones(2, 3, device="meta")), {}, ["scale", "meta", "cpu"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"param": "variance"}, ["param", "'variance'", "'logvar'"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"seed": -1}, ["seed", "-1", "2**63"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"seed": 1, "generator": torch.Generator()}, ["seed", "generator"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"row_offset": -1}, ["row_offset", "-1", ">= 0"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"n_samples": 0}, ["n_samples", "0", ">= 1"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"n_samples": 1.5}, ["n_samples", "1.5", ">= 1"]),
        ((torch.ones(2, 3), torch.ones(2, 3)), {"n_samples": True}, ["n_samples", "True", ">= 1"]),
    ],
)
def test_bad_arguments_are_named(f, arguments, options, words):
    with pytest.raises(ArgumentError) as error:
        f(*arguments, **options)
    for word in words:
        assert word in str(error.value)
