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


def case(elements: int, device: str = "cpu") -> Case:
    """The op on [elements / 64, 64] in float32."""
    shape = (elements // COLUMNS, COLUMNS)
    generator = torch.Generator(device).manual_seed(0)
    mu, logvar, grad_z = (torch.randn(shape, generator=generator, device=device) for _ in range(3))
    mu.requires_grad_(), logvar.requires_grad_()
    grad_kl = torch.ones(shape[0], device=device)

    def step(f: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(f(mu, logvar), (mu, logvar), (grad_z, grad_kl))

    steps = {
        "eager": step(formula),
        "compiled": step(torch.compile(formula, fullgraph=True, dynamic=False)),
        "vaefast": step(ops.reparam_kl),
    }
    return Case(
        "reparam_kl", f"{elements:,}", "float32", TARGETS.get(elements, 1.0), steps, traffic=8 * 4 * elements,
        small=elements <= 2**20,
    )  # fmt: skip


CASES = {f"{elements:,}": partial(case, elements) for elements in TARGETS}
GPU_CASES = {f"{elements:,}": partial(case, elements) for elements in (2**14, 2**20, 2**26, 2**28)}
