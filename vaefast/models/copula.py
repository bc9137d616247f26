"""A Gaussian copula of the columns of a table: each column's own values, tied together by one correlation matrix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaefast.errors import ArgumentError, DataError


class GaussianCopula:
    """x_c = F_c^-1(Phi(g_c)) with g ~ N(0, R): the columns' own distribution functions F_c, and R the correlation of the normal
    scores of the rows. A baseline for models of tables.

    Args:
        discrete: for each of the C columns whether it takes a few values alone (words' indices, booleans, counts), of which draws
            take those that were there; other columns' draws lie between them.

    Source: Sklar's theorem with a Gaussian copula, as in Patki, Wedge & Veeramachaneni 2016, "The Synthetic Data Vault", section
    III; the scores of a value that comes more than once are drawn from between those of its neighbours.
    """

    def __init__(self, discrete: Sequence[bool]) -> None:
        self.discrete = list(discrete)
        self.sorted: list[Tensor] = []
        self.correlation = torch.eye(len(self.discrete), dtype=torch.float64)

    def fit(self, values: Tensor, generator: torch.Generator | None = None) -> GaussianCopula:
        """Fit to rows [N, C], NaN where an entry is missing.

        Raises:
            ArgumentError: another shape. DataError: a column without values.
        """
        if values.ndim != 2 or values.shape[1] != len(self.discrete):
            raise ArgumentError(f"the rows have shape {list(values.shape)}; expected [N, {len(self.discrete)}].")
        values = values.double()
        columns = [values[:, i] for i in range(values.shape[1])]
        self.sorted = [column[~column.isnan()].sort().values for column in columns]
        for i in (i for i, column in enumerate(self.sorted) if not len(column)):
            raise DataError(f"column {i} has no values, all are missing; leave it out.")
        scores = self.scores(values, generator)
        there = ~scores.isnan()
        s, t = torch.where(there, scores, 0), there.double()
        moments = (s.T @ s) / torch.sqrt((s.square().T @ t) * (t.T @ s.square())).clamp_min(1e-12)  # over the rows with both
        size, vectors = torch.linalg.eigh(moments.nan_to_num())
        nearest = (vectors * size.clamp_min(1e-6)) @ vectors.T  # pairs of other rows need not fit together
        scale = nearest.diagonal().rsqrt()
        self.correlation = nearest * scale[:, None] * scale
        return self

    def scores(self, values: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Normal scores Phi^-1(F_c(x)) of rows [N, C]; NaN where an entry is missing."""
        result = torch.full(values.shape, torch.nan, dtype=torch.float64)
        for i, ordered in enumerate(self.sorted):
            there = ~values[:, i].isnan()
            x = values[there, i].double()
            low, high = (torch.searchsorted(ordered, x, right=right).double() for right in (False, True))
            within = torch.rand(x.shape, generator=generator, dtype=torch.float64)
            u = (low + (high - low) * torch.where(high - low > 1, within, 0.5)) / len(ordered)
            result[there, i] = torch.special.ndtri(u.clamp(0.5 / len(ordered), 1 - 0.5 / len(ordered)))
        return result

    def values(self, scores: Tensor) -> Tensor:
        """The way back, float64 [N, C]."""
        columns = []
        for i, (ordered, discrete) in enumerate(zip(self.sorted, self.discrete)):
            place = torch.special.ndtr(scores[:, i]) * len(ordered)
            if discrete:
                columns.append(ordered[place.long().clamp_max(len(ordered) - 1)])
            else:
                place = (place - 0.5).clamp(0, len(ordered) - 1)
                low = place.floor().long()
                columns.append(torch.lerp(ordered[low], ordered[(low + 1).clamp_max(len(ordered) - 1)], place - low))
        return torch.stack(columns, 1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n rows, float64 [n, C]."""
        eps = torch.randn(n, len(self.discrete), generator=generator, dtype=torch.float64)
        return self.values(eps @ torch.linalg.cholesky(self.correlation).T)

    def impute(self, values: Tensor, draws: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Draws of rows [N, C] with their missing entries (NaN) filled given the others, float64 [draws, N, C]."""
        scores = self.scores(values, generator).repeat(draws, 1, 1)
        for row in range(len(values)):
            hole = values[row].isnan()
            if not hole.any():
                continue
            r = self.correlation
            weight = torch.linalg.solve(r[~hole][:, ~hole], r[~hole][:, hole]).T
            spread = r[hole][:, hole] - weight @ r[~hole][:, hole]
            factor = torch.linalg.cholesky(spread + 1e-9 * torch.eye(len(spread), dtype=r.dtype))
            eps = torch.randn(draws, len(spread), generator=generator, dtype=r.dtype)
            scores[:, row, hole] = scores[:, row, ~hole] @ weight.T + eps @ factor.T
        filled = torch.stack([self.values(chain) for chain in scores])
        return torch.where(values.isnan(), filled, values.double())
