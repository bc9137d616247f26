"""KL of an aggregate posterior's moments to N(0, I), forward and backward, against Rivera's formula."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import vaefast.ops as ops
from benchmarks.case import Case

COLUMNS = 64
TARGETS = {60_000: 3.0}  # rows: speed-up wished for


def formula(mu: Tensor, logvar: Tensor) -> Tensor:
    mean = mu.mean(0)
    variance = torch.exp(logvar).mean(0) + mu.var(0, correction=0)
    return 0.5 * (mean.square() + variance - variance.clamp_min(1e-8).log() - 1).sum()


def case(rows: int, device: str = "cpu") -> Case:
    """mixture_kl of [rows, 64] in float32."""
    generator = torch.Generator(device).manual_seed(0)
    mu, logvar = (torch.randn(rows, COLUMNS, generator=generator, device=device) for _ in range(2))
    mu.requires_grad_(), logvar.requires_grad_()

    def step(f: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(f(mu, logvar), (mu, logvar))

    steps = {
        "eager": step(formula),
        "compiled": step(torch.compile(formula, fullgraph=True, dynamic=False)),
        "vaefast": step(ops.mixture_kl),
    }
    # Both inputs are read twice and two gradients are written, which is all the memory there is besides.
    return Case(
        "mixture_moments", f"{rows:,}x{COLUMNS}", "float32", TARGETS.get(rows, 1.0), steps,
        peak_target=8 * mu.numel() + 2**20, traffic=24 * mu.numel(), small=rows <= 60_000,
    )  # fmt: skip


CASES = {f"{rows:,}x{COLUMNS}": partial(case, rows) for rows in TARGETS}
GPU_CASES = {f"{rows:,}x{COLUMNS}": partial(case, rows) for rows in (512, 60_000, 2**21)}
