"""reparameterize and reparam_kl on a GPU: every backend against the reference on the CPU, graph replay, repeatability."""

from __future__ import annotations

import pytest
import torch

import vaefast.ops as ops
from vaefast.ops import reparam


def both_ways(device, mu, a, grad_z, grad_kl, seed, **options):
    mu, a = mu.to(device).detach().requires_grad_(), a.to(device).detach().requires_grad_()
    z, kl = ops.reparam_kl(mu, a, seed=seed, **options)
    return z, kl, *torch.autograd.grad((z, kl), (mu, a), (grad_z.to(device), grad_kl.to(device)))


def draw_both_ways(device, mu, a, grad_z, seed, **options):
    mu, a = mu.to(device).detach().requires_grad_(), a.to(device).detach().requires_grad_()
    z = ops.reparameterize(mu, a, seed=seed, **options)
    return z, *torch.autograd.grad(z, (mu, a), grad_z.to(device))


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 3e-6), (torch.bfloat16, 4e-3), (torch.float16, 6e-4),
                                          (torch.float64, 1e-12)])  # fmt: skip
@pytest.mark.parametrize("param", reparam.PARAMS)
def test_gpu_backends_equal_the_reference(gpu_backend, close, dtype, bound, param):
    torch.manual_seed(0)
    for shape in [(0, 4), (1, 64), (5, 1), (7, 3), (300, 64), (3, 513), (2, 5000)]:
        inputs = [torch.randn(shape).to(dtype) for _ in range(3)]
        inputs.append(torch.randn(shape[0]).to(reparam.compute_dtype(dtype)))
        got = both_ways("cuda", *inputs, 5, param=param, row_offset=3)
        with ops.backend("reference"):
            expected = both_ways("cpu", *(x.double() for x in inputs), 5, param=param, row_offset=3)
        for x, y in zip(got, expected, strict=True):
            close(x.cpu(), y, bound)


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 3e-6), (torch.bfloat16, 4e-3), (torch.float16, 6e-4),
                                          (torch.float64, 1e-12)])  # fmt: skip
@pytest.mark.parametrize("n_samples", [None, 1, 3])
@pytest.mark.parametrize("param", reparam.PARAMS)
def test_draws_equal_the_reference(gpu_backend, close, dtype, bound, param, n_samples):
    torch.manual_seed(0)
    for shape in [(0, 4), (1, 64), (5, 1), (7, 3), (300, 64), (3, 513), (2, 5000)]:
        mu, a = (torch.randn(shape).to(dtype) for _ in range(2))
        grad_z = torch.randn(shape if n_samples is None else (n_samples, *shape)).to(dtype)
        grad_kl = torch.randn(shape[0]).to(reparam.compute_dtype(dtype))
        options = dict(param=param, row_offset=3, n_samples=n_samples)
        got = draw_both_ways("cuda", mu, a, grad_z, 5, **options)
        got += both_ways("cuda", mu, a, grad_z, grad_kl, 5, **options)
        with ops.backend("reference"):
            exact = [x.double() for x in (mu, a, grad_z)]
            expected = draw_both_ways("cpu", *exact, 5, **options)
            expected += both_ways("cpu", *exact, grad_kl.double(), 5, **options)
        for x, y in zip(got, expected, strict=True):
            close(x.cpu(), y, bound)


@pytest.mark.parametrize("k", [3, 64, 3000])
def test_a_split_batch_equals_the_whole(gpu_backend, k):
    mu, a, grad_z = torch.randn(9, k), torch.randn(9, k), torch.randn(3, 9, k)
    whole = draw_both_ways("cuda", mu, a, grad_z, 8, n_samples=3)
    parts = [
        draw_both_ways("cuda", mu[rows], a[rows], grad_z[:, rows], 8, n_samples=3, row_offset=rows.start)
        for rows in (slice(0, 4), slice(4, 9))
    ]
    for i, x in enumerate(whole):
        assert torch.equal(x, torch.cat([part[i] for part in parts], dim=1 if x.dim() == 3 else 0))


def test_graph_replay_of_forward_and_backward_gives_fresh_draws(gpu_backend):
    if gpu_backend == "reference":
        pytest.skip("the graph is for the kernels")
    mu, a = (torch.randn(64, 64, device="cuda", requires_grad=True) for _ in range(2))

    def step():
        z = ops.reparameterize(mu, a, n_samples=2)
        return z.detach(), *torch.autograd.grad(z.square().sum(), (mu, a))

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = step()
    replays = []
    for _ in range(2):
        graph.replay()
        replays.append([x.clone() for x in outputs])
    for x, y in zip(*replays, strict=True):
        assert not torch.equal(x, y)
    for z, to_mu, to_scale in replays:  # the backward pass made the noise of this replay
        torch.testing.assert_close(to_mu, 2 * z.sum(0), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(to_scale, (z * (z - mu.detach())).sum(0), rtol=1e-4, atol=1e-4)


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
    draws = [torch.randn(257, 65) for _ in range(2)] + [torch.randn(3, 257, 65)]
    first, second = (draw_both_ways("cuda", *draws, 5, n_samples=3) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))
