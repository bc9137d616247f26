"""PyTorch forbids that an op's results share memory with each other or with its inputs, and will refuse such ops."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vaefast import ops

SHAPES = [(5, 3), (70, 64)]


class Watched(TorchDispatchMode):
    """Names ops of vaefast whose results share memory."""

    def __init__(self) -> None:
        super().__init__()
        self.sharing: list[str] = []
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        if func.namespace == "vaefast":
            self.seen.add(str(func))
            outputs = [memory(t) for t in (results if isinstance(results, (tuple, list)) else [results]) if t.numel()]
            inputs = {memory(t) for t in args if isinstance(t, torch.Tensor) and t.numel()}
            if len(set(outputs)) < len(outputs) or inputs & set(outputs):
                self.sharing.append(str(func))
        return results


def memory(t: torch.Tensor) -> int:
    return t.untyped_storage().data_ptr()


def calls(shape: tuple[int, int], dtype: torch.dtype):
    """Each op's results, of tensors that want gradients."""
    mu, scale, other = (torch.randn(shape, dtype=dtype).requires_grad_() for _ in range(3))
    x, x_hat = torch.rand(shape, dtype=dtype), torch.rand(shape, dtype=dtype).clamp(0.05, 0.95).requires_grad_()
    gamma = torch.zeros((), requires_grad=True)
    yield ops.reparam_kl(mu, scale)
    yield ops.mixture_moments(mu, scale)
    yield [ops.mixture_kl(mu, scale), ops.mixture_kl(mu, other, var="mixture")]
    for per_dimension in (False, True):
        yield [ops.mixture_log_density(other, mu, scale, per_dimension=per_dimension, exclude_self=True)]
    for kernel in ("imq", "energy"):
        yield [ops.mmd2(mu, other, kernel=kernel)]
    yield [ops.bernoulli_nll(x, x_hat)]
    for nll in (ops.gaussian_nll, ops.laplace_nll):
        yield nll(x, x_hat, gamma, return_error=True)
        yield [nll(x, x_hat, torch.zeros(shape[1:], requires_grad=True))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_results_share_no_memory(cpu_backend, shape, dtype):
    if cpu_backend == "triton":
        shape = shape[0], min(shape[1], 4)  # as many tiles and splits; further columns are two minutes in the interpreter
    torch.manual_seed(0)
    with Watched() as watched:
        for results in calls(shape, dtype):
            torch.autograd.backward(sum(t.double().sum() for t in results))
    assert not watched.sharing and any("backward" in name for name in watched.seen)
