"""mmd2, mmd_test and mmd2_subsets on a GPU: every backend against the reference in float64 on the CPU, graphs, streams."""

from __future__ import annotations

import pytest
import torch

import vaefast.ops as ops

KERNELS = ("imq", "rbf", "laplacian", "energy", "polynomial")


def both_ways(device, x, y, grad, **options):
    x, y = (z.to(device).detach().requires_grad_() for z in (x, y))
    weights = options.pop("weights", None)
    if weights is not None:
        options["weights"] = tuple(None if w is None else w.to(device) for w in weights)
    value = ops.mmd2(x, y, **options)
    return value, *torch.autograd.grad(value, (x, y), grad.to(value))


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 2e-5), (torch.bfloat16, 4e-3), (torch.float16, 1e-3),
                                          (torch.float64, 1e-10)])  # fmt: skip
@pytest.mark.parametrize("kernel", KERNELS)
def test_gpu_backends_equal_the_reference(gpu_backend, close, dtype, bound, kernel):
    torch.manual_seed(0)
    for problems, n, m, k in [(1, 2, 3, 1), (2, 70, 33, 3), (1, 65, 130, 64), (3, 9, 5, 513), (1, 500, 700, 20)]:
        x, y = torch.randn(problems, n, k).to(dtype), (0.7 * torch.randn(problems, m, k) + 0.4).to(dtype)
        grad = 100 * torch.linspace(0.5, 2, problems)  # of a row, 1e-5 and less: below float16's normal numbers
        weights = torch.rand(problems, n), None
        for options in ({}, {"estimator": "biased", "weights": weights}, {"estimator": "block", "block_size": 2}):
            got = both_ways("cuda", x, y, grad, kernel=kernel, **options)
            with ops.backend("reference"):
                expected = both_ways("cpu", x.double(), y.double(), grad, kernel=kernel, **options)
            close(got[0].cpu(), expected[0], 2e-5 if dtype != torch.float64 else bound)
            for g, e in zip(got[1:], expected[1:], strict=True):
                close(g.cpu(), e, bound)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_common_offset_and_near_rows_on_the_gpu(gpu_backend, close, kernel):
    torch.manual_seed(0)
    x, y = torch.randn(1, 100, 16) + 100, torch.randn(1, 80, 16) + 100.3
    y[:, :20] = x[:, :20] + 1e-3 * torch.randn(1, 20, 16)
    got = both_ways("cuda", x, y, torch.ones(1), kernel=kernel)
    with ops.backend("reference"):
        expected = both_ways("cpu", x.double(), y.double(), torch.ones(1), kernel=kernel)
    for g, e in zip(got, expected, strict=True):
        close(g.cpu(), e, 1e-4)


def test_graph_replay_and_a_side_stream(gpu_backend):
    if gpu_backend == "reference":
        pytest.skip("the graph is for the kernels")
    x, y = (torch.randn(200, 64, device="cuda") for _ in range(2))
    x.requires_grad_()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        plain = both_ways("cuda", x, y, torch.ones(()))
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = ops.mmd2(x, y)
        (grad,) = torch.autograd.grad(value, x)
    for shift in (0.0, 1.0):
        with torch.no_grad():
            x.add_(shift)
        graph.replay()
        expected = ops.mmd2(x, y)
        assert torch.equal(value, expected) and torch.equal(grad, torch.autograd.grad(expected, x)[0])
        if not shift:
            assert torch.equal(value, plain[0]) and torch.equal(grad, plain[1])


def test_repeats_to_the_last_bit_on_the_gpu(gpu_backend):
    x, y = torch.randn(2, 257, 65), torch.randn(2, 130, 65)
    first, second = (both_ways("cuda", x, y, torch.ones(2)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_memory_on_the_gpu_grows_with_rows_alone(gpu_backend):
    """60,000 rows: a matrix of their pairs in float32 would take 14 GB."""
    if gpu_backend == "reference":
        pytest.skip("the reference is no kernel")
    x, y = torch.randn(30_000, 8, device="cuda", requires_grad=True), torch.randn(30_000, 8, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    ops.mmd2(x, y).backward()
    assert torch.cuda.max_memory_allocated() - before < 200 * 2**20


def test_users_of_mmd2_on_the_gpu(needs_gpu, close):
    torch.manual_seed(0)
    x, y = torch.randn(300, 20) + 3, 1.1 * torch.randn(260, 20) + 3
    found = ops.mmd_test(x.cuda(), y.cuda(), permutations=99, seed=1)
    again = ops.mmd_test(x.cuda(), y.cuda(), permutations=99, seed=1)
    assert found.p_value.item() <= 0.02 and torch.equal(found.permuted, again.permuted)
    for count in (2, 60):
        rows_x = torch.stack([torch.randperm(300)[:80] for _ in range(count)])
        rows_y = torch.stack([torch.randperm(260)[:70] for _ in range(count)])
        got = ops.mmd2_subsets(*(t.cuda() for t in (x, y, rows_x, rows_y)))
        close(got.cpu(), ops.mmd2(x[rows_x].double(), y[rows_y].double(), kernel="polynomial"), 1e-4)
