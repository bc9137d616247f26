"""reparam_kl on a GPU: every backend against the reference on the CPU, graph replay, repeatability."""

from __future__ import annotations

import itertools

import pytest
import torch

import vaefast.ops as ops
from vaefast.ops import reparam


def both_ways(device, mu, a, grad_z, grad_kl, seed, **options):
    mu, a = mu.to(device).detach().requires_grad_(), a.to(device).detach().requires_grad_()
    z, kl = ops.reparam_kl(mu, a, seed=seed, **options)
    return z, kl, *torch.autograd.grad((z, kl), (mu, a), (grad_z.to(device), grad_kl.to(device)))


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 3e-6), (torch.bfloat16, 4e-3), (torch.float16, 6e-4),
                                          (torch.float64, 1e-12)])  # fmt: skip
def test_gpu_backends_equal_the_reference(gpu_backend, close, dtype, bound):
    torch.manual_seed(0)
    shapes = [(0, 4), (1, 64), (5, 1), (7, 3), (300, 64), (3, 513), (2, 5000)]
    for shape, param in itertools.product(shapes, reparam.PARAMS):
        inputs = [torch.randn(shape).to(dtype) for _ in range(3)]
        inputs.append(torch.randn(shape[0]).to(reparam.compute_dtype(dtype)))
        got = both_ways("cuda", *inputs, 5, param=param, row_offset=3)
        with ops.backend("reference"):
            expected = both_ways("cpu", *(x.double() for x in inputs), 5, param=param, row_offset=3)
        for x, y in zip(got, expected, strict=True):
            close(x.cpu(), y, bound)


def test_side_stream_and_graph_replay_give_fresh_noise(gpu_backend):
    if gpu_backend == "reference":
        pytest.skip("the graph is for the kernels")
    mu, a = torch.randn(64, 64, device="cuda"), torch.randn(64, 64, device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        ops.reparam_kl(mu, a)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        z, _ = ops.reparam_kl(mu, a)
    draws = []
    for _ in range(2):
        graph.replay()
        draws.append(z.clone())
    assert not torch.equal(*draws)


def test_backward_on_the_gpu_is_bitwise_repeatable(gpu_backend):
    inputs = [torch.randn(257, 65) for _ in range(3)] + [torch.randn(257)]
    first, second = (both_ways("cuda", *inputs, 5) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))
