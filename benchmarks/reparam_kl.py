"""reparam_kl, forward and backward, against the formula every VAE script writes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import vaefast.ops as ops
from benchmarks.case import Case

COLUMNS = 64
TARGETS = {4_096: 1.0, 2**20: 4.0, 2**24: 8.0}  # elements: speed-up wished for


def formula(mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
    return z, 0.5 * (mu * mu + torch.exp(logvar) - logvar - 1).sum(1)


def name(elements: int, dtype: torch.dtype = torch.float32) -> str:
    return f"{elements:,}" + (" bf16" if dtype == torch.bfloat16 else "")


def case(elements: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Case:
    """The op on [elements / 64, 64]."""
    shape = (elements // COLUMNS, COLUMNS)
    generator = torch.Generator(device).manual_seed(0)
    mu, logvar, grad_z = (torch.randn(shape, generator=generator, device=device).to(dtype) for _ in range(3))
    mu.requires_grad_(), logvar.requires_grad_()

    def step(f: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], kl_dtype: torch.dtype = dtype) -> Callable[[], object]:
        grad_kl = torch.ones(shape[0], device=device, dtype=kl_dtype)
        return lambda: torch.autograd.grad(f(mu, logvar), (mu, logvar), (grad_z, grad_kl))

    steps = {
        "eager": step(formula),
        "compiled": step(torch.compile(formula, fullgraph=True, dynamic=False)),
        "vaefast": step(ops.reparam_kl, torch.float32),
    }
    return Case(
        "reparam_kl", name(elements, dtype), str(dtype).removeprefix("torch."), TARGETS.get(elements, 1.0), steps,
        traffic=8 * dtype.itemsize * elements,
        small=elements <= 2**20,
    )  # fmt: skip


CASES = {f"{elements:,}": partial(case, elements) for elements in TARGETS}
GPU_CASES = {name(*size): partial(case, size[0], dtype=size[1]) for size in (
    (2**14, torch.float32), (2**20, torch.float32), (2**26, torch.float32), (2**26, torch.bfloat16), (2**28, torch.float32))}
