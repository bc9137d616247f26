"""mixture_log_density on a GPU: every backend against the reference on the CPU, graph replay, streams, repeatability."""

from __future__ import annotations

import pytest
import torch

import vaefast.ops as ops
from vaefast.ops.reparam import PARAMS, compute_dtype


def make(m, n, k, dtype=torch.float32, logvar=-1.0):
    """Points drawn from their own components, and a gradient."""
    mu, a = torch.randn(n, k), logvar + 0.5 * torch.randn(n, k)
    own = torch.arange(m) % n
    z = mu[own] + torch.exp(0.5 * a[own]) * torch.randn(m, k)
    return z.to(dtype), mu.to(dtype), a.to(dtype), torch.randn(m, k).to(compute_dtype(dtype))


def both_ways(device, z, mu, a, grad, **options):
    z, mu, a = (x.to(device).detach().requires_grad_() for x in (z, mu, a))
    value = ops.mixture_log_density(z, mu, a, **options)
    grad = grad if value.dim() == 2 else grad[:, 0]
    return value, *torch.autograd.grad(value, (z, mu, a), grad.to(device))


@pytest.mark.parametrize("per_dimension", [False, True], ids=["joint", "per-dimension"])
@pytest.mark.parametrize("dtype, bound", [(torch.float32, 5e-6), (torch.bfloat16, 8e-3), (torch.float16, 1e-3),
                                          (torch.float64, 1e-12)])  # fmt: skip
@pytest.mark.parametrize("param", PARAMS)
def test_gpu_backends_equal_the_reference(gpu_backend, close, dtype, bound, per_dimension, param):
    torch.manual_seed(0)
    # without its own component a point of 64 dimensions is so far from all that float32 itself has only five digits there
    shapes = [(0, 3, 4), (1, 1, 1), (7, 5, 3), (5, 300, 2), (300, 300, 5), (300, 299, 64), (2, 9, 513), (1, 5000, 17),
              (2000, 3, 2)]
    for shape in shapes:
        inputs = make(*shape, dtype)
        options = {"param": param, "per_dimension": per_dimension, "exclude_self": shape[0] == shape[1] > 1}
        got = both_ways("cuda", *inputs, **options)
        with ops.backend("reference"):
            expected = both_ways("cpu", *(x.double() for x in inputs), **options)
        for x, y in zip(got, expected, strict=True):
            close(x.cpu(), y, bound)


@pytest.mark.parametrize("per_dimension", [False, True], ids=["joint", "per-dimension"])
@pytest.mark.parametrize("logvar", [-18.4, 0.0, 30.0, -30.0])
def test_narrow_and_wide_posteriors_keep_their_digits(gpu_backend, close, logvar, per_dimension):
    torch.manual_seed(0)
    inputs = make(500, 500, 20, logvar=logvar)
    got = both_ways("cuda", *inputs, per_dimension=per_dimension)
    with ops.backend("reference"):
        expected = both_ways("cpu", *(x.double() for x in inputs), per_dimension=per_dimension)
    for x, y in zip(got, expected, strict=True):
        close(x.cpu(), y, 5e-6)


@pytest.mark.parametrize("per_dimension", [False, True], ids=["joint", "per-dimension"])
def test_side_stream_and_graph_replay_follow_their_inputs(gpu_backend, per_dimension):
    if gpu_backend == "reference":
        pytest.skip("the graph is for the kernels")
    z, mu, a, _ = (x.cuda().requires_grad_() for x in make(300, 300, 10))

    def step():
        value = ops.mixture_log_density(z, mu, a, per_dimension=per_dimension)
        return value, *torch.autograd.grad(value.sum(), (z, mu, a))

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        on_the_side = step()
    torch.cuda.current_stream().wait_stream(stream)
    assert all(torch.equal(x, y) for x, y in zip(on_the_side, step(), strict=True))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        z.add_(0.1)
    graph.replay()
    assert all(torch.equal(x, y) for x, y in zip(captured, step(), strict=True))


@pytest.mark.parametrize("per_dimension", [False, True], ids=["joint", "per-dimension"])
def test_on_the_gpu_it_is_bitwise_repeatable(gpu_backend, per_dimension):
    if gpu_backend == "reference":
        pytest.skip("PyTorch's own sums make no such promise")
    inputs = make(1000, 1000, 65, logvar=0.0)
    first, second = (both_ways("cuda", *inputs, per_dimension=per_dimension, exclude_self=True) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_a_hundred_thousand_posteriors_fit(gpu_backend):
    """[M, N] alone would have 40 GB."""
    if gpu_backend == "reference":
        pytest.skip("slow")
    n, k = 100_000, 16
    z, mu, a, grad = make(n, n, k, logvar=-2.0)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    value, *grads = both_ways("cuda", z, mu, a, grad)
    assert torch.cuda.max_memory_allocated() - before < 2**30
    rows = torch.arange(0, n, n // 50)
    with ops.backend("reference"):
        expected = ops.mixture_log_density(z[rows].double(), mu.double(), a.double())
    torch.testing.assert_close(value[rows.cuda()].cpu().double(), expected, rtol=1e-5, atol=1e-4)
    assert all(g.isfinite().all() for g in grads)


def test_elbo_surgery_on_the_gpu_adds_up(gpu_backend):
    z, mu, a, _ = make(500, 500, 8)
    terms = ops.elbo_surgery(*(x.cuda().double() for x in (z, mu, a)))
    whole = terms.mutual_information + terms.total_correlation + terms.dimension_wise_kl
    torch.testing.assert_close(whole, terms.kl)
    with ops.backend("reference"):
        expected = ops.elbo_surgery(z.double(), mu.double(), a.double())
    for x, y in zip(terms, expected, strict=True):
        torch.testing.assert_close(x.cpu(), y, rtol=1e-9, atol=1e-9)
