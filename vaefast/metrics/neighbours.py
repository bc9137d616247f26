"""How much of one set of features the other covers, by nearest neighbours: precision, recall, density, coverage.

Balls around every row reach to its k-th nearest neighbour in its own set. With d the Euclidean distance:

    precision  share of generated rows that lie in a ball of a real row
    recall     share of real rows that lie in a ball of a generated row          Kynkäänniemi et al. 2019, eq. 1-2
    density    mean number of real balls that a generated row lies in, over k
    coverage   share of real rows whose ball holds a generated row               Naeem et al. 2020, eq. 3-4

Distances are taken in blocks, so that memory is O(n).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ArgumentError
from .precision import float64

_BLOCK_VALUES = 1 << 23  # distances at a time


class Coverage(NamedTuple):
    """Precision, recall and coverage lie in [0, 1]; density is 1 on average for equal distributions, and can exceed it."""

    precision: float
    recall: float
    density: float
    coverage: float
    real: int  # rows
    fake: int
    k: int

    def __str__(self) -> str:
        return (f"precision {self.precision:.4f}, recall {self.recall:.4f}, density {self.density:.4f}, coverage "
                f"{self.coverage:.4f} ({self.real:,} real, {self.fake:,} generated images; k = {self.k})")


@torch.no_grad()
def precision_recall_density_coverage(real: Tensor, fake: Tensor, *, k: int = 5, block: int | None = None) -> Coverage:
    """Precision, recall, density and coverage of generated features against real ones.

    Args:
        real, fake: features [N, F] and [M, F] of one extractor, any float dtype.
        k: neighbours that a ball reaches to, not counting the row itself; the papers have 3 (precision and recall) and 5
            (density and coverage).
        block: rows of distances at a time; None: as many as 64 MiB hold. It does not change the result.

    Returns:
        `Coverage`. A row on the edge of a ball lies in it. Distances are float64, from products of features around the
        mean of the real ones. Precision and recall depend on both counts: compare numbers of equal counts only.

    Raises:
        ArgumentError: shapes that do not fit, k < 1 or not below both counts, NaN or infinity.
    """
    real, fake = _checked(real, "real"), _checked(fake, "fake")
    if real.shape[1] != fake.shape[1]:
        raise ArgumentError(f"Cannot compare rows of {real.shape[1]} and {fake.shape[1]} features.")
    least = min(len(real), len(fake))
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k < least:
        raise ArgumentError(f"k is {k!r}; expected an int from 1 to {least - 1}, below the number of rows of either set.")
    if block is not None and block < 1:
        raise ArgumentError(f"block is {block!r}; expected an int >= 1 or None.")
    centre = real.mean(0)
    real, fake = real - centre, fake.to(real.device) - centre
    real_radius, fake_radius = _radii(real, k, block), _radii(fake, k, block)
    covered = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    recalled = torch.zeros_like(covered)
    precise = hits = 0
    for start, part in _blocks(fake, len(real), block):
        distance = _squared_distances(part, real)
        inside = distance <= real_radius
        balls = inside.sum(1)
        precise += int((balls > 0).sum())
        hits += int(balls.sum())
        covered |= inside.any(0)
        recalled |= (distance <= fake_radius[start : start + len(part), None]).any(0)
    return Coverage(
        precise / len(fake), float(recalled.double().mean()), hits / (k * len(fake)), float(covered.double().mean()),
        len(real), len(fake), k,
    )


def _radii(x: Tensor, k: int, block: int | None) -> Tensor:
    """Squared distance [N] of every row to its k-th neighbour among the others."""
    found = []
    for start, rows in _blocks(x, len(x), block):
        distance = _squared_distances(rows, x)
        own = torch.arange(len(rows), device=x.device)
        distance[own, start + own] = torch.inf
        found.append(distance.kthvalue(k, dim=1).values)
    # Rounding must not push out what lies on the edge, such as copies of a row.
    return torch.cat(found) * (1 + 1e-10) + 1e-13 * x.square().sum(1).amax()


def _blocks(x: Tensor, columns: int, block: int | None) -> Iterator[tuple[int, Tensor]]:
    size = block or max(1, _BLOCK_VALUES // columns)
    for start in range(0, len(x), size):
        yield start, x[start : start + size]


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a.square().sum(1, keepdim=True)).clamp_min_(0)


def _checked(x: Tensor, name: str) -> Tensor:
    if not isinstance(x, Tensor) or x.ndim != 2 or not x.is_floating_point() or x.shape[1] < 1:
        given = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ArgumentError(f"{name} must be features [rows, features] of a float dtype, got {given}.")
    x = float64(x)
    if not torch.isfinite(x).all():
        raise ArgumentError(f"{name} holds NaN or infinity.")
    return x
