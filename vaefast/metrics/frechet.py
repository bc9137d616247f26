"""Fréchet distance between two sets of features, each seen as one Gaussian.

    d = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))

(Heusel et al. 2017, eq. 6.) With Inception features it is the FID; with the features of
`vaefast.metrics.classifier` it is the `fd_classifier`. Everything here is float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError
from .precision import float64

_SOUND_PIVOT = 1e-5


class GaussianStatistics:
    """Running mean and unbiased covariance of feature rows, in float64.

    The result does not depend, up to rounding, on how the rows are cut into batches: each batch is centred on its
    own mean and merged by the pairwise formula (Chan, Golub, LeVeque 1979), so large means lose no digits.

    Args:
        dim: number of features a row, >= 1.

    Attributes:
        n: rows seen so far; None for moments that came without their number, which cannot be extended.
    """

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise ArgumentError(f"GaussianStatistics needs dim >= 1, got {dim}.")
        self.dim = int(dim)
        self.n: int | None = 0
        self._mean = torch.zeros(self.dim, dtype=torch.float64)
        self._scatter = torch.zeros(self.dim, self.dim, dtype=torch.float64)

    @classmethod
    def from_moments(cls, mean: Tensor, cov: Tensor, n: int | None) -> GaussianStatistics:
        """Statistics whose mean [dim] and unbiased covariance [dim, dim] are known, of n rows (None: who knows).

        Raises:
            ArgumentError: shapes that do not fit, NaN or infinity, n under 2.
        """
        mean, cov = _checked_gaussian(mean, cov, "given")
        if n is not None and n < 2:
            raise ArgumentError(f"A covariance needs at least 2 rows, got {n}.")
        statistics = cls(mean.shape[0])
        statistics.n, statistics._mean, statistics._scatter = n, mean, cov * (1 if n is None else n - 1)
        return statistics

    @torch.no_grad()
    def update(self, features: Tensor) -> GaussianStatistics:
        """Add the rows of `features` ([B, dim], any float dtype and device; B may be 0); returns self.

        Raises:
            ArgumentError: wrong shape, or a value that is not finite.
        """
        rows = _checked_rows(features, self.dim)
        if rows.shape[0]:
            mean = rows.mean(0)
            centred = rows - mean
            self._merge(rows.shape[0], mean, centred.T @ centred)
        return self

    def merge(self, other: GaussianStatistics) -> GaussianStatistics:
        """Add the rows that `other` has seen; returns self."""
        if other.dim != self.dim:
            raise ArgumentError(f"Cannot merge statistics of {other.dim} features into statistics of {self.dim}.")
        if other.n is None:
            raise ArgumentError("Cannot merge moments of an unknown number of rows.")
        if other.n:
            self._merge(other.n, other._mean, other._scatter)
        return self

    @torch.no_grad()
    def all_reduce(self, group: Any = None) -> GaussianStatistics:
        """Merge the statistics of all processes of a `torch.distributed` group, into each of them; returns self.

        They must lie on a device that the group's backend serves; where features came from a GPU, they are on it.
        """
        if self.n is None:
            raise ArgumentError("Cannot merge moments of an unknown number of rows.")
        count = torch.tensor(float(self.n), dtype=torch.float64, device=self._mean.device)
        mean = self._mean * count
        torch.distributed.all_reduce(count, group=group)
        torch.distributed.all_reduce(mean, group=group)
        mean /= count.clamp_min(1)
        delta = self._mean - mean
        scatter = self._scatter + torch.outer(delta, delta) * self.n
        torch.distributed.all_reduce(scatter, group=group)
        self.n, self._mean, self._scatter = int(count), mean, scatter
        return self

    def _merge(self, n: int, mean: Tensor, scatter: Tensor) -> None:
        if self.n is None:
            raise ArgumentError("Moments of an unknown number of rows cannot be extended.")
        # The accumulator follows the features to their device: a 2,048 x 2,048 product stays off the bus.
        own_mean, own_scatter = self._mean.to(mean.device), self._scatter.to(mean.device)
        total = self.n + n
        delta = mean - own_mean
        self._mean = own_mean + delta * (n / total)
        self._scatter = own_scatter + scatter + torch.outer(delta, delta) * (self.n * n / total)
        self.n = total

    @property
    def mean(self) -> Tensor:
        """Mean, float64 [dim]. Raises ArgumentError before the first row."""
        if self.n == 0:
            raise ArgumentError("The mean of no rows is not defined: update() the statistics first.")
        return self._mean

    @property
    def cov(self) -> Tensor:
        """Unbiased covariance (divided by n - 1), float64 [dim, dim]. Raises ArgumentError under two rows."""
        if self.n is None:
            return self._scatter
        if self.n < 2:
            raise ArgumentError(f"A covariance needs at least 2 rows, got {self.n}.")
        return self._scatter / (self.n - 1)

    def distance(self, other: GaussianStatistics) -> float:
        """Fréchet distance to another set of statistics, see `frechet_from_statistics`."""
        return frechet_from_statistics(self.mean, self.cov, other.mean, other.cov)


def few_rows(count: int | None, dim: int, what: str) -> str | None:
    """What to tell about a set of `count` rows ("50 `what`") of `dim` features, or None where there are enough of them."""
    if count is None or count > dim:
        return None
    return (f"{count:,} {what} are few for a Fréchet distance in {dim:,} features, whose covariance they do not fill: it comes "
            f"out too large. Take more than {dim:,}, and compare only numbers of equal counts.")


def frechet_distance(features_a: Tensor, features_b: Tensor, *, notice: Callable[[str], None] = warnings.warn) -> float:
    """Fréchet distance between two sets of features.

    Args:
        features_a: [N, D], any float dtype; N >= 2. N < D is allowed (the covariance is then rank-deficient).
        features_b: [M, D].
        notice: called with one sentence on sets of D rows or fewer; a warning by default.

    Returns:
        A distance >= 0, in squared units of the features; 0 for equal means and covariances.

    Raises:
        ArgumentError: fewer than two rows, different numbers of features, NaN or infinity.
    """
    sides = []
    for features in (features_a, features_b):
        rows = _checked_rows(features, None)
        sides.append(GaussianStatistics(rows.shape[1]).update(rows))
    distance = sides[0].distance(sides[1])
    if (text := few_rows(min(side.n or 0 for side in sides), sides[0].dim, "rows")) is not None:
        notice(text)
    return distance


@torch.no_grad()
def frechet_from_statistics(m1: Tensor, c1: Tensor, m2: Tensor, c2: Tensor) -> float:
    """Fréchet distance between N(m1, c1) and N(m2, c2).

    With C1 = F1 F1^T and C2 = F2 F2^T from symmetric eigendecompositions (or Cholesky's, where both are far from singular),
    tr (C1^(1/2) C2 C1^(1/2))^(1/2) is the sum of the singular values of F1^T F2. Singular values are exact to
    eps times the largest one, where square roots of eigenvalues of the product would be off by sqrt(eps) each: a
    null space costs nothing, and no complex number can turn up.

    Args:
        m1, m2: means [D].
        c1, c2: symmetric positive semi-definite covariances [D, D]; eigenvalues that rounding made negative are
            taken as 0.

    Raises:
        ArgumentError: shapes that do not fit, NaN or infinity.
    """
    m1, c1 = _checked_gaussian(m1, c1, "first")
    m2, c2 = _checked_gaussian(m2, c2, "second")
    if m1.shape != m2.shape:
        raise ArgumentError(f"Cannot compare Gaussians over {m1.shape[0]} and {m2.shape[0]} features.")
    m2, c2 = m2.to(m1.device), c2.to(m1.device)
    shift = (m1 - m2).square().sum()
    if torch.equal(c1, c2):
        return float(shift)
    cross = torch.linalg.svdvals(_factor(c1).T @ _factor(c2)).sum()
    return max(0.0, float(shift + c1.trace() + c2.trace() - 2 * cross))


def _factor(cov: Tensor) -> Tensor:
    """F [D, r] with F F^T = cov, of the rank that float64 can tell from zero."""
    # Where nothing is near zero, Cholesky's factor is as good, for a tenth of the time.
    lower: Tensor
    lower, failed = torch.linalg.cholesky_ex(cov)
    pivots = lower.diagonal()
    if not failed and pivots.min() > _SOUND_PIVOT * pivots.max():
        return lower
    values, vectors = torch.linalg.eigh(cov)
    keep = values > values.abs().max() * values.numel() * torch.finfo(values.dtype).eps
    factor: Tensor = vectors[:, keep] * values[keep].sqrt()
    return factor


def _checked_rows(features: Tensor, dim: int | None) -> Tensor:
    if not isinstance(features, Tensor) or features.ndim != 2 or features.shape[1] < 1:
        given = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ArgumentError(f"Features must be a tensor of shape [rows, features], got {given}.")
    if dim is not None and features.shape[1] != dim:
        raise ArgumentError(f"Features have {features.shape[1]} columns, these statistics have {dim}.")
    rows = float64(features)
    if not torch.isfinite(rows).all():
        raise ArgumentError("Features hold NaN or infinity: look at the images they were computed from.")
    return rows


def _checked_gaussian(mean: Tensor, cov: Tensor, which: str) -> tuple[Tensor, Tensor]:
    if mean.ndim != 1 or cov.shape != (mean.shape[0], mean.shape[0]):
        raise ArgumentError(
            f"The {which} Gaussian needs a mean [D] and a covariance [D, D], got {tuple(mean.shape)} and "
            f"{tuple(cov.shape)}."
        )
    mean, cov = float64(mean), float64(cov).to(mean.device)
    if not (torch.isfinite(mean).all() and torch.isfinite(cov).all()):
        raise ArgumentError(f"The {which} Gaussian holds NaN or infinity.")
    return mean, cov
