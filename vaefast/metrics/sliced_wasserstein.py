"""Sliced Wasserstein distance: the mean over random directions of how far two sets' projections have to be carried."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.metrics.precision import true_float32

DIRECTIONS = 512
_TOGETHER = 64  # directions projected on at once
_ROWS = 1000  # rows made float32 at once


@torch.no_grad()
def sliced_wasserstein(x: Tensor, y: Tensor, *, directions: int = DIRECTIONS, seed: int = 0) -> float:
    """Root of D times the mean, over random directions in the D dimensions, of the squared 2-Wasserstein distance of the
    projections: in the units of the rows, and about |m| for two sets that differ by a shift m.

    Args:
        x, y: rows [N, ...] and [M, ...] of the same shape, such as features or images; uint8 counts as [0, 1]. N may differ
            from M.
        directions: how many; the relative standard error falls with the root of their number.
        seed: of the directions, drawn on the CPU.

    Raises:
        ArgumentError: no rows, rows of two shapes, or no direction.

    Source: Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures". Sets of unequal sizes are compared by
    their quantile functions, exactly.
    """
    if not (len(x) and len(y)) or x.shape[1:] != y.shape[1:]:
        raise ArgumentError(f"the sets have shapes {list(x.shape)} and {list(y.shape)}; expected a row or more each, all of one "
                            "shape: images of one size (size=N resizes those of files) and as many channels.")
    if directions < 1:
        raise ArgumentError(f"directions is {directions!r}; expected 1 or more.")
    dim, generator = x[0].numel(), torch.Generator().manual_seed(seed)
    i, j, share = _coupled(len(x), len(y), x.device)
    total = 0.0
    for start in range(0, directions, _TOGETHER):
        along = torch.randn(dim, min(_TOGETHER, directions - start), generator=generator)
        along = (along / along.norm(dim=0)).to(x.device)
        with true_float32(x.device):
            a, b = (_projected(rows, along).sort(0).values.double() for rows in (x, y))
        total += float((share[:, None] * (a[i] - b[j]).square()).sum())
    return math.sqrt(dim * total / directions)


def _projected(rows: Tensor, along: Tensor) -> Tensor:
    scale = 1.0 if rows.is_floating_point() else 1 / 255
    return torch.cat([(part.to(along.device).flatten(1).float() * scale) @ along for part in rows.split(_ROWS)])


def _coupled(n: int, m: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Which of n sorted values goes to which of m, and the share of the whole that goes."""
    if n == m:
        every = torch.arange(n, device=device)
        return every, every, torch.full((n,), 1 / n, dtype=torch.float64, device=device)
    # both quantile functions are constant between multiples of 1 / n and 1 / m: whole numbers of 1 / (n m)
    edges = torch.cat([m * torch.arange(n + 1, device=device), n * torch.arange(m + 1, device=device)]).unique()
    return edges[:-1] // m, edges[:-1] // n, edges.diff().double() / (n * m)
