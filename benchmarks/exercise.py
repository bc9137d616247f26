"""Runs every op, forward and backward, on small odd shapes under one backend, and checks that all is finite.

    python -m benchmarks.exercise cuda      what compute-sanitizer watches, as it slows every launch
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vaefast import ops

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def _both_ways(f: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> list[Tensor]:
    """Outputs of f and the gradients of their sum."""
    inputs = tuple(x.requires_grad_() for x in inputs)
    outputs = f(*inputs)
    return [*outputs, *torch.autograd.grad(sum(y.double().sum() for y in outputs), inputs)]


def reparam_kl(device: str) -> Iterator[list[Tensor]]:
    for dtype in DTYPES:
        for shape in ((1, 1), (5, 3), (7, 64), (3, 513), (2, 5000)):
            for param in ("logvar", "logstd", "softplus"):
                mu, scale = (torch.randn(shape, device=device, dtype=dtype) for _ in range(2))
                yield _both_ways(lambda m, s, p=param: ops.reparam_kl(m, s, param=p), mu, scale)


EXERCISES = {"reparam_kl": reparam_kl}


def main(name: str) -> None:
    device = "cpu" if name in ("cpp", "reference") else "cuda"
    torch.manual_seed(0)
    with ops.backend(name):
        for op, exercise in EXERCISES.items():
            for i, results in enumerate(exercise(device)):
                assert all(torch.isfinite(x).all() for x in results), f"{op}, call {i}"
            print(op, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
