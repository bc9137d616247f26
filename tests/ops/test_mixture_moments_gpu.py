"""mixture_moments on a GPU: every backend against the reference on the CPU, graph replay, side streams, repeatability."""

from __future__ import annotations

import pytest
import torch

import vaefast.ops as ops
from vaefast.ops import moments

BOUNDS = [(torch.float32, 3e-6), (torch.bfloat16, 4e-3), (torch.float16, 2e-3), (torch.float64, 1e-12)]


def both_ways(device, mu, a, grads, **options):
    mu, a = mu.to(device).detach().requires_grad_(), a.to(device).detach().requires_grad_()
    outputs = ops.mixture_moments(mu, a, **options)
    to_mu, to_a = torch.autograd.grad(outputs, (mu, a), [g.to(device) for g in grads], allow_unused=True)
    return *outputs, to_mu, torch.zeros_like(a) if to_a is None else to_a


@pytest.mark.parametrize("dtype, bound", BOUNDS)
@pytest.mark.parametrize("var", moments.VARS)
@pytest.mark.parametrize("param", moments.PARAMS)
def test_gpu_backends_equal_the_reference(gpu_backend, close, dtype, bound, param, var):
    torch.manual_seed(0)
    for shape in [(1, 64), (5, 1), (7, 3), (300, 64), (3, 513), (2, 5000), (70_000, 5), (3000, 130), (4, 0)]:
        mu, a = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
        grads = [torch.randn(shape[1:], dtype=moments.compute_dtype(dtype)) for _ in range(2)]
        got = both_ways("cuda", mu, a, grads, param=param, var=var)
        with ops.backend("reference"):
            expected = both_ways("cpu", mu.double(), a.double(), [g.double() for g in grads], param=param, var=var)
        for i, (x, y) in enumerate(zip(got, expected, strict=True)):
            close(x.cpu(), y, bound if i > 1 else min(bound, 3e-6))


def test_data_far_from_zero_keep_their_digits(gpu_backend, close):
    mu = torch.randn(50_000, 3) + torch.tensor([100.0, -1e4, 0.0])
    got = ops.mixture_moments(mu.cuda(), mu.cuda(), var="means")
    for x, y in zip(got, (mu.double().mean(0), mu.double().var(0, correction=0)), strict=True):
        for c in range(3):
            close(x[c].cpu(), y[c], 3e-6)


def test_graph_replay_and_side_stream_equal_a_plain_call(gpu_backend):
    if gpu_backend == "reference":
        pytest.skip("the graph is for the kernels")
    mu, a = (torch.randn(700, 33, device="cuda", requires_grad=True) for _ in range(2))

    def step():
        kl = ops.mixture_kl(mu, a)
        return kl, *torch.autograd.grad(kl, (mu, a))

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        aside = step()
    torch.cuda.current_stream().wait_stream(stream)
    assert all(torch.equal(x, y) for x, y in zip(aside, step(), strict=True))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for _ in range(2):
        with torch.no_grad():
            mu.normal_(), a.normal_()
        graph.replay()
        assert all(torch.equal(x, y) for x, y in zip(captured, step(), strict=True))


def test_backward_on_the_gpu_is_bitwise_repeatable(gpu_backend):
    mu, a = torch.randn(3001, 65), torch.randn(3001, 65)
    grads = [torch.randn(65), torch.randn(65)]
    first, second = (both_ways("cuda", mu, a, grads) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))
