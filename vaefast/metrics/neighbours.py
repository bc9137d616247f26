"""How much of one set of features the other covers, by nearest neighbours: precision, recall, density, coverage.

Balls around every row reach to its k-th nearest neighbour in its own set. With d the Euclidean distance:

    precision  share of generated rows that lie in a ball of a real row
    recall     share of real rows that lie in a ball of a generated row          Kynkäänniemi et al. 2019, eq. 1-2
    density    mean number of real balls that a generated row lies in, over k
    coverage   share of real rows whose ball holds a generated row               Naeem et al. 2020, eq. 3-4

Distances are taken in blocks, so that memory is O(n).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ArgumentError
from .precision import float64

_BLOCK_VALUES = 1 << 23  # distances at a time
_MEDIAN_ROWS = 1000
_LARGEST, _LEAST = 1e100, 1e-130  # differences whose squares, and sums of them, float64 holds with all digits
_SLACK = 1e-14  # of a ball's own radius: what lies on its edge, such as a copy of a row, lies in it


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
        `Coverage`. A row on the edge of a ball lies in it. Distances are float64, from products of features, and from differences
        of them wherever the rounding of products could decide: rows far from the others change nothing for these. Precision and
        recall depend on both counts: compare numbers of equal counts only.

    Raises:
        ArgumentError: shapes that do not fit, k < 1 or not below both counts, NaN or infinity; rows so near and others so far
            from the middle of all that float64 cannot hold the squares of both.
    """
    real, fake = _checked(real, "real"), _checked(fake, "fake")
    if real.shape[1] != fake.shape[1]:
        raise ArgumentError(f"Cannot compare rows of {real.shape[1]} and {fake.shape[1]} features.")
    least = min(len(real), len(fake))
    if least < 2:
        raise ArgumentError(f"the sets have {len(real)} and {len(fake)} rows; expected 2 or more each.")
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k < least:
        raise ArgumentError(f"k is {k!r}; expected an int from 1 to {least - 1}, below the number of rows of either set.")
    if block is not None and (isinstance(block, bool) or not isinstance(block, int) or block < 1):
        raise ArgumentError(f"block is {block!r}; expected an int >= 1 or None.")
    real, fake = _scaled(real, fake.to(real.device))
    _check_range(real, fake)
    # Features around the middle of most rows, so that products lose little; a mean would follow one row that is far away.
    centre = real[:: max(1, len(real) // _MEDIAN_ROWS)].median(0).values
    of_real, of_fake = _Rows.around(real, centre), _Rows.around(fake, centre)
    real_radius, fake_radius = _radii(of_real, k, block), _radii(of_fake, k, block)
    covered = torch.zeros(len(of_real.features), dtype=torch.bool, device=centre.device)
    recalled = torch.zeros_like(covered)
    precise = hits = 0
    for rows in _blocks(len(of_fake.features), len(of_real.features), block):
        part = of_fake.part(rows)
        low, high = _squared_distances(part, of_real)
        inside = _within(low, high, real_radius[None, :], part, of_real)
        balls = inside.sum(1)
        precise += int((balls > 0).sum())
        hits += int(balls.sum())
        covered |= inside.any(0)
        recalled |= _within(low, high, fake_radius[rows, None], part, of_real).any(0)
    n, m = len(of_real.features), len(of_fake.features)
    return Coverage(precise / m, float(recalled.double().mean()), hits / (k * m), float(covered.double().mean()), n, m, k)


class _Rows(NamedTuple):
    """Feature rows as they are, around a centre, and the squared norms [N] of these."""

    features: Tensor
    centred: Tensor
    norms: Tensor

    @staticmethod
    def around(x: Tensor, centre: Tensor) -> _Rows:
        centred = x - centre
        return _Rows(x, centred, centred.square().sum(1))

    def part(self, rows: slice) -> _Rows:
        return _Rows(self.features[rows], self.centred[rows], self.norms[rows])


def _scaled(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Both by a power of two that keeps squares in float64's range; as they are where they do so anyway."""
    largest = max(float(real.abs().max()), float(fake.abs().max()))
    if largest == 0 or 1 / _LARGEST < largest < _LARGEST:
        return real, fake
    power = min(math.frexp(_LARGEST)[1] - math.frexp(largest)[1], 1000)  # 2**1000 is finite, too
    return torch.ldexp(real, torch.tensor(power)), torch.ldexp(fake, torch.tensor(power))


def _check_range(real: Tensor, fake: Tensor) -> None:
    """A radius that underflows to 0 would be a wrong number without a word. Of float32 features no values lie so far apart."""
    if min(float(torch.where(x == 0, torch.inf, x.abs()).amin()) for x in (real, fake)) >= _LEAST:
        return  # nor do any differences come out smaller
    middle = real.median(0).values
    around = [(x - middle).abs().amax(1) for x in (real, fake)]
    least = min(float(torch.where(x == 0, torch.inf, x).amin()) for x in around)
    if least < _LEAST:
        largest = max(float(x.amax()) for x in around)
        raise ArgumentError(f"Some rows lie {largest / least:.0e} times as far from the middle as others, too far for squares in "
                            "float64; remove the rows that are far away.")


def _radii(x: _Rows, k: int, block: int | None) -> Tensor:
    """Squared distance [N] of every row to its k-th neighbour among the others."""
    squared_radii = []
    for rows in _blocks(len(x.features), len(x.features), block):
        part = x.part(rows)
        low, high = _squared_distances(part, x)
        index = torch.arange(len(part.features), device=high.device)
        low[index, rows.start + index] = high[index, rows.start + index] = torch.inf
        # Every row that could be among the k nearest is measured by differences.
        near = low <= high.kthvalue(k, dim=1, keepdim=True).values
        counts = near.sum(1)
        place = torch.arange(int(counts.max()), device=high.device) < counts[:, None]
        exact = torch.full(place.shape, torch.inf, dtype=high.dtype, device=high.device)
        exact[place] = _by_differences(part.features, x.features, near)
        squared_radii.append(exact.kthvalue(k, dim=1).values)
    return torch.cat(squared_radii) * (1 + _SLACK)


def _within(low: Tensor, high: Tensor, radius: Tensor, a: _Rows, b: _Rows) -> Tensor:
    """Which squared distances are at most `radius`, each as differences would say."""
    inside, unsure = high <= radius, low <= radius
    unsure ^= inside
    if bool(unsure.any()):
        inside[unsure] = _by_differences(a.features, b.features, unsure) <= radius.expand_as(inside)[unsure]
    return inside


def _by_differences(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """Squared distances of the pairs of rows that `where` [rows of a, rows of b] marks, in its order."""
    first, second = where.nonzero(as_tuple=True)
    step = max(1, _BLOCK_VALUES // a.shape[1])
    parts = [(a[i] - b[j]).square().sum(1) for i, j in zip(first.split(step), second.split(step), strict=True)]
    return torch.cat(parts) if parts else a.new_empty(0)


def _blocks(rows: int, columns: int, block: int | None) -> Iterator[slice]:
    size = block or max(1, _BLOCK_VALUES // columns)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def _squared_distances(a: _Rows, b: _Rows) -> tuple[Tensor, Tensor]:
    """What squared distances are at least and at most, by products of rows and the rounding that these can have."""
    rounding = (2 * a.features.shape[1] + 16) * torch.finfo(a.norms.dtype).eps
    low = torch.addmm(b.norms * (1 - rounding), a.centred, b.centred.T, alpha=-2)
    high = low + (2 * rounding * b.norms + (1 + rounding) * a.norms[:, None])
    return low.add_((1 - rounding) * a.norms[:, None]), high


def _checked(x: Tensor, name: str) -> Tensor:
    if not isinstance(x, Tensor) or x.ndim != 2 or not x.is_floating_point() or x.shape[1] < 1:
        given = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ArgumentError(f"{name} must be features [rows, features] of a float dtype, got {given}.")
    x = float64(x)
    if not torch.isfinite(x).all():
        raise ArgumentError(f"{name} holds NaN or infinity.")
    return x
