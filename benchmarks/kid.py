"""Kernel inception distance, 100 subsets of 1,000 x 2,048, against a loop over the subsets in NumPy.

The loop is torch-fidelity's way: features on the CPU, and for every subset three Gram matrices, raised to the third
power, and their sums. Sets of 5,000 have fewer pairs than their subsets together, sets of 20,000 have more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.case import Case
from vaefast.metrics import kid

SUBSETS, SIZE, COLUMNS = 100, 1000, 2048


def loop(x: Tensor, y: Tensor, subsets: int) -> tuple[float, float]:
    """Mean and standard deviation over the subsets."""
    first, second, rng, values = x.cpu().numpy(), y.cpu().numpy(), np.random.default_rng(0), []

    def gram(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    for _ in range(subsets):
        a, b = (f[rng.permutation(len(f))[:SIZE]] for f in (first, second))
        xx, yy, xy = gram(a, a), gram(b, b), gram(a, b)
        within = sum(k.sum() - np.trace(k) for k in (xx, yy)) / (SIZE * (SIZE - 1))
        values.append(within - 2 * xy.mean())
    return float(np.mean(values)), float(np.std(values))


def name(rows: int, subsets: int) -> str:
    return f"{subsets} x {SIZE:,} x {COLUMNS:,} of {rows:,}"


def case(rows: int, device: str = "cpu", subsets: int = SUBSETS) -> Case:
    """Two sets of `rows` features in float32, not negative, as those of Inception are."""
    generator = torch.Generator(device).manual_seed(0)
    x, y = (torch.randn(rows, COLUMNS, generator=generator, device=device).abs_() for _ in range(2))
    steps = {
        "eager": lambda: loop(x, y, subsets),
        "vaefast": lambda: kid(x, y, subsets=subsets, subset_size=SIZE),
    }
    return Case("kid", name(rows, subsets), "float32", 1.5 if device == "cpu" else 30.0, steps, small=False,
                kept=False)


def cases(*sizes: int) -> dict[str, Callable[..., Case]]:
    return {name(rows, SUBSETS): partial(case, rows) for rows in sizes}


CASES = cases(5000, 20_000)
GPU_CASES = cases(5000, 50_000)
