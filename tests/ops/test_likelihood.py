"""The likelihoods against their definitions, and as citizens of PyTorch."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
import torch.nn.functional as F

import vaefast.ops as ops
from vaefast.errors import ArgumentError
from vaefast.ops import _error_sums, _native

SHAPES = [(0, 4), (3, 0), (1, 64), (5,), (5, 1), (7, 3), (4, 3, 8, 8), (3, 513), (2, 3, 60, 61), (2, 9000)]
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 6e-4}
NLLS = ("gaussian", "laplace", "bernoulli")


def make(shape, dtype=torch.float32, x_dtype=None):
    """x in [0, 1] (or uint8), x_hat, and a gradient to nll."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(shape, generator=generator)
    x = (x * 255).round().to(torch.uint8) if x_dtype == torch.uint8 else x.to(x_dtype or dtype)
    x_hat = torch.randn(shape, generator=generator).to(dtype)
    return x, x_hat, torch.randn(shape[:1], generator=generator).to(_error_sums.compute_dtype(dtype))


def nll_of(name, x, x_hat, log_gamma, from_logits):
    if name == "bernoulli":
        return ops.bernoulli_nll(x, x_hat, from_logits=from_logits)
    return getattr(ops, f"{name}_nll")(x, x_hat, log_gamma, from_logits=from_logits)


def formula(name, x, x_hat, log_gamma, from_logits):
    """The same in float64, from the textbook."""
    x = x.double() / 255 if x.dtype == torch.uint8 else x
    mean = torch.sigmoid(x_hat) if from_logits else x_hat
    if name == "bernoulli":
        if from_logits:
            terms = F.binary_cross_entropy_with_logits(x_hat, x, reduction="none")
        else:
            terms = -(x * mean.clamp_min(1e-8).log() + (1 - x) * (1 - mean).clamp_min(1e-8).log())
    elif name == "gaussian":
        terms = 0.5 * ((x - mean) / log_gamma.exp()) ** 2 + log_gamma + 0.5 * math.log(2 * math.pi)
    else:
        terms = (x - mean).abs() / log_gamma.exp() + log_gamma + math.log(2)
    return terms.flatten(1).sum(1) if terms.dim() > 1 else terms


def both_ways(f, name, x, x_hat, log_gamma, grad, from_logits):
    """Value and gradients to x_hat, log_gamma and a floating-point x."""
    x_hat = x_hat.detach().requires_grad_()
    inputs = [x_hat]
    if name != "bernoulli":
        log_gamma = log_gamma.detach().requires_grad_()
        inputs.append(log_gamma)
    if x.dtype != torch.uint8:
        x = x.detach().requires_grad_()
        inputs.append(x)
    nll = f(name, x, x_hat, log_gamma, from_logits)
    return nll, *torch.autograd.grad(nll, inputs, grad)


def compare(close, bound, name, x, x_hat, log_gamma, grad, from_logits):
    got = both_ways(nll_of, name, x, x_hat, log_gamma, grad, from_logits)
    wide = x if x.dtype == torch.uint8 else x.double()
    expected = both_ways(formula, name, wide, x_hat.double(), log_gamma.double(), grad.double(), from_logits)
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        close(a, b, bound)


@pytest.mark.parametrize("name", NLLS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_equals_the_formulas(cpu_backend, close, dtype, shape, name):
    options = [(dtype, False), (torch.uint8, True), (torch.uint8, False), (dtype, True)]
    for x_dtype, from_logits in options[:2] if cpu_backend == "triton" else options:  # the interpreter is slow
        x, x_hat, grad = make(shape, dtype, x_dtype)
        if name == "bernoulli" and not from_logits:
            x_hat = torch.sigmoid(x_hat)
        compare(close, TOLERANCE[dtype], name, x, x_hat, torch.tensor(-0.7, dtype=grad.dtype), grad, from_logits)


@pytest.mark.parametrize("data, gamma", [((3, 8, 8), (3, 1, 1)), ((3, 8, 8), (8, 8)), ((3, 8, 8), (1, 8, 8)),
                                         ((3, 8, 8), (3, 8, 8)), ((3, 8, 8), (3, 8, 1)), ((3, 8, 8), (1, 1, 8)),
                                         ((3, 2, 33), (2, 1)), ((7,), (7,)), ((1030,), (1030,)), ((3, 4), (1, 1)),
                                         ((3, 0), (3, 1)), ((5,), (1, 1, 1))])  # fmt: skip
@pytest.mark.parametrize("name", NLLS[:2])
def test_gamma_a_channel_and_a_pixel(cpu_backend, close, name, data, gamma):
    log_gamma = torch.linspace(-1, 0.5, math.prod(gamma)).reshape(gamma)
    for batch, dtype, x_dtype in [(5, torch.float32, torch.uint8), (300, torch.float32, None), (0, torch.float32, None),
                                  (3, torch.bfloat16, torch.float32)]:  # fmt: skip
        if batch == 300 and math.prod(data) > 200:
            continue
        x, x_hat, grad = make((batch, *data), dtype, x_dtype)
        shape = gamma if math.prod(gamma) > 1 else ()
        bound = 4 * TOLERANCE[dtype]
        got = both_ways(nll_of, name, x, x_hat, log_gamma, grad, True)
        wide = x if x.dtype == torch.uint8 else x.double()
        expected = both_ways(formula, name, wide, x_hat.double(), log_gamma.reshape(shape).double(), grad.double(), True)
        for a, b in zip(got, expected, strict=True):
            close(a, b, bound)
        assert got[2].shape == log_gamma.shape


@pytest.mark.parametrize("name", NLLS[:2])
@pytest.mark.parametrize("shape", [(), (3, 1, 1), (3, 5, 5)], ids=str)
def test_the_error_comes_along_and_is_differentiable(cpu_backend, close, name, shape):
    x, x_hat, grad = make((4, 3, 5, 5), torch.float64, torch.uint8)
    x_hat.requires_grad_()
    log_gamma = torch.full(shape, 0.3, dtype=torch.float64)
    nll, error = getattr(ops, f"{name}_nll")(x, x_hat, log_gamma, from_logits=True, return_error=True)
    d = x.double() / 255 - torch.sigmoid(x_hat)
    expected = (d**2 if name == "gaussian" else d.abs()).flatten(1).sum(1)
    close(error, expected, 1e-13)
    close(nll, formula(name, x, x_hat, log_gamma, True), 1e-13)
    (got,), (wish,) = (torch.autograd.grad(e.sin().sum(), x_hat, retain_graph=True) for e in (error, expected))
    close(got, wish, 1e-12)
    if name == "gaussian":
        close(ops.squared_error(x, x_hat, from_logits=True), expected, 1e-13)


@pytest.mark.parametrize("dims, value", [(784, 720.441), (3072, 2822.953), (12288, 11291.812)])
def test_check_values_at_gamma_one(cpu_backend, dims, value):
    x = torch.rand(3, dims)
    zero = torch.zeros(())
    nll = ops.gaussian_nll(x, x, zero, constant=0.91893)
    torch.testing.assert_close(nll, torch.full((3,), value), rtol=0, atol=2e-3)
    exact = ops.gaussian_nll(x.double(), x.double(), zero.double())
    torch.testing.assert_close(exact, torch.full((3,), dims * ops.HALF_LOG_2PI, dtype=torch.float64))


def test_gradient_to_log_gamma(cpu_backend):
    x, x_hat, _ = make((4, 30), torch.float64)
    log_gamma = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    (got,) = torch.autograd.grad(ops.gaussian_nll(x, x_hat, log_gamma).mean(), log_gamma)
    torch.testing.assert_close(got, 30 - ((x - x_hat) / math.exp(-0.7)).square().sum(1).mean())


@pytest.mark.parametrize("log_gamma", [math.log(1e-4), math.log(1e2)])
@pytest.mark.parametrize("shape", [(), (3, 1, 1), (3, 8, 8)], ids=str)
def test_small_and_large_gamma_keep_their_digits(cpu_backend, close, log_gamma, shape):
    x, x_hat, grad = make((4, 3, 8, 8), x_dtype=torch.uint8)
    for name in NLLS[:2]:
        # exp(-2 log gamma) has the rounding error of its argument, 18.4.
        compare(close, 4e-6, name, x, x_hat, torch.full(shape, log_gamma), grad, True)
    assert nll_of("gaussian", x, x_hat, log_gamma, True).isfinite().all()  # a number will do


@pytest.mark.parametrize("size", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("name", NLLS)
def test_large_logits(cpu_backend, close, name, size):
    for x_dtype in (torch.uint8, None):
        x, x_hat, grad = make((6, 64), x_dtype=x_dtype)
        x[0], x[1] = 0, 255 if x_dtype else 1
        x_hat = size * torch.sign(x_hat)
        if name == "bernoulli" or size < 100:
            compare(close, 2e-6, name, x, x_hat, torch.tensor(-0.7), grad, True)
        else:  # the derivative of the sigmoid is 0 in float32
            args = torch.tensor(-0.7), grad, True
            nll, slope, *_ = both_ways(nll_of, name, x, x_hat, *args)
            close(nll, both_ways(formula, name, x, x_hat.double(), *args)[0], 2e-6)
            assert slope.abs().max() < 1e-35


def test_the_tails_of_the_sigmoid(cpu_backend, close):
    """Where the sigmoid has all but reached 0, its derivative keeps its digits; at infinity nothing breaks."""
    x_hat = torch.linspace(-80, 15, 64)[None].requires_grad_()
    x = torch.full_like(x_hat, 0.5)
    (got,) = torch.autograd.grad(ops.squared_error(x, x_hat, from_logits=True).sum(), x_hat)
    a = x_hat.detach().double()
    expected = 2 * (torch.sigmoid(a) - 0.5) * torch.sigmoid(a) * torch.sigmoid(-a)
    assert ((got - expected) / expected).abs().max() < 3e-6
    ends = torch.tensor([[-math.inf, math.inf]])
    assert ops.squared_error(torch.zeros(1, 2), ends, from_logits=True).tolist() == [1.0]
    # The derivative of the absolute error at equality is 0, as PyTorch's.
    same = torch.rand(2, 3, requires_grad=True)
    (got,) = torch.autograd.grad(ops.laplace_nll(same.detach(), same, 0.0).sum(), same)
    assert not got.any()


def test_probabilities_at_the_ends_stay_finite(cpu_backend):
    p = torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.5]], requires_grad=True)
    x = torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0]])
    nll = ops.bernoulli_nll(x, p, from_logits=False)
    torch.testing.assert_close(nll, torch.tensor([2 * -math.log(1e-8) + math.log(2)]))
    assert torch.autograd.grad(nll, p)[0].isfinite().all()


def test_nan_comes_through(cpu_backend):
    x, x_hat, _ = make((3, 70))
    x_hat[1, 3] = math.nan
    x_hat.requires_grad_()
    for name in NLLS:
        for from_logits in (True, False):
            nll = nll_of(name, x, x_hat, torch.tensor(0.0), from_logits)
            assert nll.isnan().tolist() == [False, True, False]
            (grad,) = torch.autograd.grad(nll.sum(), x_hat)
            if name != "bernoulli" or from_logits:
                assert grad[1, 3].isnan() and grad.isnan().sum() == 1


def test_uint8_is_its_scaled_float_to_the_bit(cpu_backend):
    x = torch.arange(256, dtype=torch.uint8).repeat(3, 1)
    x_hat = torch.randn(3, 256, requires_grad=True)
    results = []
    for data in (x, x.float() / 255):
        nll = ops.gaussian_nll(data, x_hat, 0.2, from_logits=True)
        results.append((nll, *torch.autograd.grad(nll.sum(), x_hat)))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_long_sums_keep_six_digits(cpu_backend, close):
    for dims in (12288, 100_000):
        x, x_hat, _ = make((2, dims))
        exact = (x.double() - x_hat.double()).square().sum(1)
        assert ((ops.squared_error(x, x_hat) - exact) / exact).abs().max() < 1e-6
        exact = (x.double() - torch.sigmoid(x_hat.double())).square().sum(1)
        assert ((ops.squared_error(x, x_hat, from_logits=True) - exact) / exact).abs().max() < 1e-6


def test_mixed_dtypes(cpu_backend, close):
    for x_dtype, dtype, result in [
        (torch.float32, torch.bfloat16, torch.float32), (torch.bfloat16, torch.float32, torch.float32),
        (torch.float16, torch.bfloat16, torch.float32), (torch.float64, torch.float32, torch.float64),
        (torch.float32, torch.float64, torch.float64), (torch.bfloat16, torch.bfloat16, torch.float32),
    ]:  # fmt: skip
        x, x_hat, grad = make((3, 40), dtype, x_dtype)
        x.requires_grad_(), x_hat.requires_grad_()
        log_gamma = torch.tensor(-0.5, dtype=torch.bfloat16, requires_grad=True)
        nll = ops.gaussian_nll(x, x_hat, log_gamma, from_logits=True)
        assert nll.dtype == result
        grads = torch.autograd.grad(nll, (x, x_hat, log_gamma), grad.to(result))
        assert [g.dtype for g in grads] == [x_dtype, dtype, torch.bfloat16]
        close(nll, formula("gaussian", x.double(), x_hat.double(), log_gamma.double(), True), 2e-6)


def test_strided_and_expanded(cpu_backend):
    images = torch.randn(4, 3, 6, 5)
    cases = [
        (torch.rand(4, 3, 6, 5).to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)),
        (torch.rand(1, 3, 6, 5).expand(4, 3, 6, 5), torch.randn(4, 1, 1, 5).expand(4, 3, 6, 5)),
        (torch.rand(4, 20)[:, ::2], torch.randn(4, 40)[:, ::4]),
        (torch.rand(4, 20)[:, :10], torch.randn(8, 10)[::2]),
        (torch.rand(10, 4).t(), torch.randn(10, 4).t()),
        (torch.rand(7)[1:], torch.randn(12)[::2]),
        (torch.rand(7, 9)[1:, 1:], torch.randn(6, 9)[:, 1:]),  # odd addresses
    ]
    for x, x_hat in cases:
        for shape in [(), x.shape[1:]]:
            args = torch.full(shape, 0.3), torch.tensor(0.5).expand(x.shape[0]), True
            got = both_ways(nll_of, "gaussian", x, x_hat, *args)
            expected = both_ways(nll_of, "gaussian", x.contiguous(), x_hat.contiguous(), *args)
            for a, b in zip(got, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=2e-6, atol=2e-6)
            assert got[1].shape == x_hat.shape


def test_backward_twice_is_bitwise_equal(cpu_backend):
    for shape in [(), (65,)]:
        x, x_hat, grad = make((600, 65), x_dtype=torch.uint8)
        args = "gaussian", x, x_hat, torch.full(shape, 0.1), grad, True
        for a, b in zip(both_ways(nll_of, *args), both_ways(nll_of, *args), strict=True):
            assert torch.equal(a, b)


def test_threads_change_no_bit():
    if _native.why_missing():
        pytest.skip(_native.why_missing())
    before = torch.get_num_threads()
    try:
        for shape, gamma in [((4096, 33), ()), ((7, 30000), ()), ((1000, 300), (300,)), ((64, 3, 1300), (3, 1))]:
            x, x_hat, grad = make(shape, x_dtype=torch.uint8)
            results = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                with ops.backend("cpp"):
                    results.append(both_ways(nll_of, "gaussian", x, x_hat, torch.full(gamma, 0.1), grad, True))
            for other in results[1:]:
                for a, b in zip(results[0], other, strict=True):
                    assert torch.equal(a, b)
    finally:
        torch.set_num_threads(before)


def test_a_row_does_not_depend_on_its_neighbours(cpu_backend):
    for k in (5, 64, 700, 1500):
        x, x_hat, _ = make((9, k), x_dtype=torch.uint8)
        whole = ops.squared_error(x, x_hat, from_logits=True)
        parts = [ops.squared_error(x[i : i + 1], x_hat[i : i + 1], from_logits=True) for i in range(9)]
        if cpu_backend == "reference":  # PyTorch's own sum makes no such promise
            torch.testing.assert_close(whole, torch.cat(parts))
        else:
            assert torch.equal(whole, torch.cat(parts))


def test_the_backward_pass_keeps_inputs_alone():
    x, x_hat, _ = make((8, 12), x_dtype=torch.uint8)
    x_hat.requires_grad_()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        ops.gaussian_nll(x, x_hat, torch.tensor(0.1, requires_grad=True), from_logits=True)
    assert {t.data_ptr() for t in saved if t.numel() > 8} == {x.data_ptr(), x_hat.data_ptr()}


@pytest.mark.parametrize("name", NLLS)
@pytest.mark.parametrize("from_logits", [False, True])
def test_gradcheck(cpu_backend, name, from_logits):
    if cpu_backend == "triton":
        pytest.skip("slow in the interpreter, and test_equals_the_formulas holds every gradient")
    x, x_hat, _ = make((2, 2, 16), torch.float64)
    x_hat = x_hat.sigmoid() if name == "bernoulli" and not from_logits else x_hat
    x.requires_grad_(), x_hat.requires_grad_()
    for shape in [(), (2, 1), (2, 16)]:
        log_gamma = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        if name == "bernoulli":
            assert torch.autograd.gradcheck(lambda x, h: ops.bernoulli_nll(x, h, from_logits=from_logits), (x, x_hat))
            break
        nll = getattr(ops, f"{name}_nll")
        options = {"from_logits": from_logits, "return_error": True}
        assert torch.autograd.gradcheck(lambda x, h, g, f=nll, o=options: f(x, h, g, **o), (x, x_hat, log_gamma))


def test_second_derivative_is_refused():
    x, x_hat, _ = make((2, 3))
    x_hat.requires_grad_()
    (grad,) = torch.autograd.grad(ops.gaussian_nll(x, x_hat, 0.0).sum(), x_hat, create_graph=True)
    with pytest.raises(ArgumentError, match="differentiable once"):
        grad.sum().backward()


@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(cpu_backend, requires_grad):
    op, backward = torch.ops.vaefast.error_sums.default, torch.ops.vaefast.error_sums_backward.default
    for kind in _error_sums.KINDS:
        x, x_hat = torch.rand(4, 6), torch.rand(4, 6, requires_grad=requires_grad)
        torch.library.opcheck(op, (x, x_hat, None, kind, False))
    x, x_hat, weight = torch.rand(6, 4).t(), torch.randn(4, 12)[:, ::2], torch.rand(6)
    x.requires_grad_(requires_grad), x_hat.requires_grad_(requires_grad), weight.requires_grad_(requires_grad)
    torch.library.opcheck(op, (x, x_hat, weight, "squared", True))
    data = torch.randint(0, 256, (4, 6), dtype=torch.uint8)
    torch.library.opcheck(op, (data, x_hat.bfloat16().detach().requires_grad_(requires_grad), None, "absolute", True))
    x, x_hat, weight = x.detach(), x_hat.detach(), weight.detach()
    for g, gw, w, needs in [
        (torch.rand(4), None, None, [True, True, False]), (None, torch.rand(4), weight, [False, True, True]),
        (torch.rand(4), torch.rand(4), weight, [False, False, True]),
    ]:  # fmt: skip
        torch.library.opcheck(backward, (g, gw, x, x_hat, w, "squared", True, needs))


def test_fake_strides_are_the_real_ones(cpu_backend):
    from torch._subclasses.fake_tensor import FakeTensorMode

    for x_hat in (torch.randn(6, 4), torch.randn(4, 6).t(), torch.randn(1, 4).expand(6, 4)):
        for weight in (None, torch.rand(4)):
            args = torch.rand(6, 4), x_hat, weight
            real = _error_sums.error_sums(*args, "squared", False)
            real += _error_sums._error_sums_backward(torch.rand(6), None, *args, "squared", False, [True, True, False])
            with FakeTensorMode(allow_non_fake_inputs=True) as mode:
                args = [None if t is None else mode.from_tensor(t) for t in args]
                fake = _error_sums.error_sums(*args, "squared", False)
                g = mode.from_tensor(torch.rand(6))
                fake += _error_sums._error_sums_backward(g, None, *args, "squared", False, [True, True, False])
            for r, f in zip(real, fake, strict=True):
                assert (r.shape, r.stride(), r.dtype) == (f.shape, f.stride(), f.dtype)


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize("shape", [(), (3, 1), (3, 20)], ids=str)
def test_compiles_in_one_graph(dynamic, shape):
    def loss(x, x_hat, log_gamma):
        nll, error = ops.gaussian_nll(x, x_hat * 2, log_gamma, from_logits=True, return_error=True)
        return (nll + error.sin() + ops.bernoulli_nll(x, x_hat)).sum()

    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for rows in (4, 7):
        x, x_hat, _ = make((rows, 3, 20), x_dtype=torch.uint8)
        x_hat.requires_grad_()
        log_gamma = torch.full(shape, 0.1, requires_grad=True)
        got, expected = (torch.autograd.grad(f(x, x_hat, log_gamma), (x_hat, log_gamma)) for f in (compiled, loss))
        torch.testing.assert_close(got, expected)


def test_compiles_with_inductor():
    if _native.why_missing():
        pytest.skip("no C++ compiler for Inductor either")
    x, x_hat, _ = make((4, 6), x_dtype=torch.uint8)
    log_gamma = torch.tensor(0.1, requires_grad=True)
    compiled = torch.compile(lambda *a: ops.gaussian_nll(*a).sum(), fullgraph=True)
    got, expected = (torch.autograd.grad(f(x, x_hat, log_gamma), log_gamma)
                     for f in (compiled, lambda *a: ops.gaussian_nll(*a).sum()))  # fmt: skip
    torch.testing.assert_close(got, expected)


def test_checkpointing_and_autocast(cpu_backend):
    from torch.utils.checkpoint import checkpoint

    layer = torch.nn.Linear(8, 12)
    x, data = torch.randint(0, 256, (4, 12), dtype=torch.uint8), torch.randn(4, 8)
    for shape in [(), (12,)]:
        log_gamma = torch.zeros(shape, requires_grad=True)
        grads = []
        for call in (lambda f, *a: f(*a), lambda f, *a: checkpoint(f, *a, use_reentrant=False)):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                nll = call(lambda d, g: ops.gaussian_nll(x, layer(d), g, from_logits=True), data, log_gamma)
            assert nll.dtype == torch.float32
            grads.append(torch.autograd.grad(nll.sum(), (layer.weight, log_gamma)))
        for a, b in zip(*grads, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (([1.0], torch.ones(1), 0.0), ["x ", "list", "tensor"]),
        ((torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3), 0.0), ["x ", "int64", "uint8", "float32"]),
        ((torch.ones(2, 3), torch.ones(2, 3, dtype=torch.uint8), 0.0), ["x_hat", "uint8", "float32"]),
        ((torch.tensor(1.0), torch.tensor(1.0), 0.0), ["x ", "1 dimension"]),
        ((torch.tensor(1, dtype=torch.uint8), torch.tensor(1.0), 0.0), ["x ", "1 dimension"]),
        ((torch.ones(2, 3), torch.ones(2, 4), 0.0), ["x_hat", "[2, 4]", "[2, 3]"]),
        ((torch.ones(2, 3), torch.ones(2, 3, device="meta"), 0.0), ["x_hat", "meta", "cpu"]),
        ((torch.ones(2, 3), torch.ones(2, 3), "one"), ["log_gamma", "str"]),
        ((torch.ones(2, 3), torch.ones(2, 3), True), ["log_gamma", "bool"]),
        ((torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, dtype=torch.int64)), ["log_gamma", "int64"]),
        ((torch.ones(2, 3), torch.ones(2, 3), torch.ones(2)), ["log_gamma", "[2]", "x.shape[1:]", "[3]"]),
        ((torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 3)), ["log_gamma", "[2, 3]", "[3]"]),
        ((torch.ones(2, 3), torch.ones(2, 3), torch.ones(3, device="meta")), ["log_gamma", "meta", "cpu"]),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    for nll in (ops.gaussian_nll, ops.laplace_nll):
        with pytest.raises(ArgumentError) as error:
            nll(*arguments)
        assert all(word in str(error.value) for word in words), error.value
    if "log_gamma" not in words:
        for nll in (ops.bernoulli_nll, ops.squared_error):
            with pytest.raises(ArgumentError):
                nll(*arguments[:2])


def test_no_warnings_on_the_way():
    x, x_hat, _ = make((2, 3))
    x_hat.requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ops.gaussian_nll(x, x_hat, torch.zeros(3, requires_grad=True)).sum().backward()
