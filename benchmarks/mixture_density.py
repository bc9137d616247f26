"""mixture_log_density, forward and backward, against plain PyTorch: differences of all pairs, and Gram matrices.

Differences of all pairs are what the op computes. Gram matrices, |z|^2 - 2 z.mu + |mu|^2 under the precisions, are much
faster to write in PyTorch, but lose all digits of narrow posteriors far from 0; they are measured as cases of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import vaefast.ops as ops
from benchmarks.case import Case

K = 64
# Of some rows' [m, N, k] in the eager form. What stays in cache is the fastest on a CPU: 512 MiB takes 2.7 times as long.
CHUNK_BYTES = 2**22
GPU_CHUNK_BYTES = 2**30
WHOLE_BYTES = 2**34  # the largest [M, N] that the whole forms are given


def _log_mean(quadratic: Tensor, logvar: Tensor) -> Tensor:
    terms = -0.5 * (quadratic + logvar.sum(1) + logvar.shape[1] * math.log(2 * math.pi))
    return terms.logsumexp(1) - math.log(logvar.shape[0])


def differences(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """The formula; torch.compile sums over k without an array of [M, N, k]."""
    return _log_mean(((z[:, None] - mu).square() * torch.exp(-logvar)).sum(2), logvar)


def gradients_by_rows(z: Tensor, mu: Tensor, logvar: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the formula some rows at a time, added up: the whole would keep several arrays of [M, N, k]."""
    rows = max(1, (GPU_CHUNK_BYTES if z.is_cuda else CHUNK_BYTES) // (4 * mu.numel()))
    to_z, to_mu, to_logvar = [], torch.zeros_like(mu), torch.zeros_like(logvar)
    for part, part_grad in zip(z.detach().split(rows), grad.split(rows)):
        part.requires_grad_()
        grads = torch.autograd.grad(differences(part, mu, logvar), (part, mu, logvar), part_grad)
        to_z.append(grads[0])
        to_mu += grads[1]
        to_logvar += grads[2]
    return torch.cat(to_z), to_mu, to_logvar


def gram(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """The square multiplied out, for matrix products."""
    precision = torch.exp(-logvar)
    quadratic = z.square() @ precision.T - 2 * (z @ (mu * precision).T) + (mu.square() * precision).sum(1)
    return _log_mean(quadratic, logvar)


def case(
    n: int, device: str = "cpu", *, form: str = "differences", narrow: bool = False, wished: tuple[float, float | None]
) -> Case:
    """The op on samples of n posteriors.

    Narrow posteriors, with s about 0.2, leave most pairs without a share, which the op notices early; wide ones, with s
    about 1, leave none.
    """
    generator = torch.Generator(device).manual_seed(0)
    mu, noise, spread = (torch.randn((n, K), generator=generator, device=device) for _ in range(3))
    mu, logvar = (mu, -3 + 0.5 * spread) if narrow else (0.3 * mu, 0.3 * spread)
    z = mu + torch.exp(0.5 * logvar) * noise
    inputs = tuple(x.requires_grad_() for x in (z, mu, logvar))
    grad = torch.full((n,), 1 / n, device=device)

    def step(f: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(f(*inputs), inputs, grad)

    whole = gram if form == "gram" else differences
    steps = {
        "eager": step(gram) if form == "gram" else lambda: gradients_by_rows(*inputs, grad),
        "compiled": step(torch.compile(whole, fullgraph=True, dynamic=False)),
        "vaefast": step(ops.mixture_log_density),
    }
    if 4 * n * n > WHOLE_BYTES:
        del steps["compiled"]
    if device == "cuda" and form == "differences" and n > 10_000:
        del steps["eager"]  # a hundred times the work of 10,000
    return Case(
        "mixture_log_density", size(n, form, narrow), "float32", wished[0], steps, eager_target=wished[1],
        peak_target=50 * 10**6, small=n <= 1024, kept=n <= 1024,
    )  # fmt: skip


def size(n: int, form: str = "differences", narrow: bool = False) -> str:
    return f"{n:,} x {n:,} x {K}" + (", narrow" if narrow else "") + (", against Gram matrices" if form == "gram" else "")


def _cases(*rows: tuple[int, str, bool, float, float | None]) -> dict[str, Callable[..., Case]]:
    return {
        size(n, form, narrow): partial(case, n, form=form, narrow=narrow, wished=(target, eager))
        for n, form, narrow, target, eager in rows
    }


CASES = _cases(
    (1024, "gram", False, 1.0, None),
    (4096, "differences", False, 15.0, 100.0),
    (4096, "differences", True, 15.0, 100.0),
    (4096, "gram", False, 1.0, None),
    (4096, "gram", True, 1.0, None),
)
GPU_CASES = _cases(
    (1024, "differences", False, 1.0, None),
    (10_000, "differences", False, 1.0, 20.0),
    (10_000, "gram", False, 1.0, None),
    (10_000, "gram", True, 1.0, None),
    (100_000, "differences", False, 1.0, None),
)
