"""The likelihoods on a GPU: every backend against the reference on the CPU, graph replay, side streams, repeatability."""

from __future__ import annotations

import pytest
import torch

import vaefast.ops as ops

BOUNDS = [(torch.float32, 3e-6), (torch.bfloat16, 4e-3), (torch.float16, 6e-4), (torch.float64, 1e-12)]


def both_ways(device, name, x, x_hat, log_gamma, grad, from_logits):
    """Value and gradients to x_hat and log_gamma."""
    x_hat, log_gamma = (t.to(device).detach().requires_grad_() for t in (x_hat, log_gamma))
    if name == "bernoulli":
        nll = ops.bernoulli_nll(x.to(device), x_hat, from_logits=from_logits)
        return nll, *torch.autograd.grad(nll, x_hat, grad.to(device))
    nll, error = getattr(ops, f"{name}_nll")(x.to(device), x_hat, log_gamma, from_logits=from_logits, return_error=True)
    return nll, error, *torch.autograd.grad(nll, (x_hat, log_gamma), grad.to(device))


def make(shape, dtype, as_bytes):
    x, x_hat = torch.rand(shape), torch.randn(shape).to(dtype)
    x = (x * 255).round().to(torch.uint8) if as_bytes else x.to(dtype)
    return x, x_hat, torch.rand(shape[:1], dtype=torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("dtype, bound", BOUNDS)
@pytest.mark.parametrize("as_bytes, from_logits", [(True, True), (False, False), (False, True)])
@pytest.mark.parametrize("name", ["gaussian", "laplace", "bernoulli"])
def test_gpu_backends_equal_the_reference(gpu_backend, close, dtype, bound, name, as_bytes, from_logits):
    torch.manual_seed(0)
    for shape in [(0, 4), (1, 64), (5, 1), (7, 3), (300, 64), (3, 513), (2, 9001), (4, 3, 64, 64)]:
        x, x_hat, grad = make(shape, dtype, as_bytes)
        if name == "bernoulli" and not from_logits:
            x_hat = x_hat.sigmoid()
        gammas = [(), (3, 1, 1), shape[1:]] if len(shape) == 4 else [(), shape[1:]]
        for gamma in gammas:
            log_gamma = torch.linspace(-1, 0.5, torch.Size(gamma).numel()).reshape(gamma)
            got = both_ways("cuda", name, x, x_hat, log_gamma.to(grad.dtype), grad, from_logits)
            wide = x if as_bytes else x.double()
            with ops.backend("reference"):
                expected = both_ways("cpu", name, wide, x_hat.double(), log_gamma.double(), grad.double(), from_logits)
            # The gradient to x_hat alone is rounded to its dtype; that to log_gamma is a difference of large sums.
            exact = min(bound, 1e-5)
            bounds = [exact, bound] if name == "bernoulli" else [exact, exact, bound, 100 * exact]
            for a, b, rel in zip(got, expected, bounds, strict=True):
                close(a.cpu(), b, rel)


@pytest.mark.parametrize("gamma", [(), (3, 1, 1), (3, 16, 16)])
def test_graph_replay_and_side_stream_equal_a_plain_call(gpu_backend, gamma):
    if gpu_backend == "reference":
        pytest.skip("the graph is for the kernels")
    x = torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8, device="cuda")
    logits = torch.randn(x.shape, device="cuda", requires_grad=True)
    log_gamma = torch.full(gamma, -0.5, device="cuda", requires_grad=True)

    def step():
        nll = ops.gaussian_nll(x, logits, log_gamma, from_logits=True)
        return nll, *torch.autograd.grad(nll.sum(), (logits, log_gamma))

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        aside = step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for _ in range(2):
        with torch.no_grad():
            x.copy_(torch.randint_like(x, 0, 256))
            logits.normal_()
        graph.replay()
        for a, b in zip(captured, step(), strict=True):
            assert torch.equal(a, b)
    assert all(t.isfinite().all() for t in aside)


def test_backward_on_the_gpu_is_bitwise_repeatable(gpu_backend):
    for gamma in [(), (65,)]:
        x, x_hat, grad = make((600, 65), torch.float32, True)
        args = "gaussian", x, x_hat, torch.full(gamma, 0.1), grad, True
        for a, b in zip(both_ways("cuda", *args), both_ways("cuda", *args), strict=True):
            assert torch.equal(a, b)
