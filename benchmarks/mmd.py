"""mmd2 with seven IMQ scales, forward and backward, against the matrices of kernel values that scripts write."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import vaefast.ops as ops
from benchmarks.case import Case
from vaefast.ops.mmd import IMQ_SCALES

COLUMNS = 64


def formula(x: Tensor, y: Tensor) -> Tensor:
    def kernel(a: Tensor, b: Tensor) -> Tensor:
        d2 = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0)
        return sum(c / (c + d2) for c in (2 * COLUMNS * s for s in IMQ_SCALES))

    def within(a: Tensor) -> Tensor:
        k = kernel(a, a)
        return (k.sum() - k.diagonal().sum()) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * kernel(x, y).mean()


def case(rows: int, device: str = "cpu") -> Case:
    """Two samples of `rows` x 64 in float32."""
    generator = torch.Generator(device).manual_seed(0)
    x, y = (torch.randn(rows, COLUMNS, generator=generator, device=device) for _ in range(2))
    x.requires_grad_(), y.requires_grad_()

    def step(f: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(f(x, y), (x, y))

    steps = {
        "eager": step(formula),
        "compiled": step(torch.compile(formula, fullgraph=True, dynamic=False)),
        "vaefast": step(ops.mmd2),
    }
    large = rows >= 10_000
    return Case(
        "mmd2", f"{rows:,} x {rows:,} x {COLUMNS}", "float32", 10.0 if large else 1.0, steps,
        eager_target=25.0 if large else None, peak_target=50 * 2**20, small=rows <= 1000, kept=rows <= 1000,
    )  # fmt: skip


def cases(*sizes: int) -> dict[str, Callable[..., Case]]:
    return {f"{rows:,} x {rows:,} x {COLUMNS}": partial(case, rows) for rows in sizes}


CASES = cases(64, 1000, 10_000)
GPU_CASES = cases(1000, 10_000, 100_000)
