"""How near a table comes to another: column by column, pair by pair, and where entries were filled in.

Tables are frames of any sort (see `vaefast.data.Schema.of`) or `vaefast.data.Table`s; the columns, their kinds and deviations are
those of the first table, or of `schema`. Entries that are missing are left out.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data.table import Schema, Table
from ..errors import ArgumentError, DataError


def read_tables(*frames: Any, schema: Schema | None = None) -> tuple[Table, ...]:
    """Frames by the columns of `schema`, or of the first.

    Raises:
        DataError, ArgumentError: see `vaefast.data.Schema`.
    """
    if schema is None:
        schema = frames[0].schema if isinstance(frames[0], Table) else Schema.of(frames[0])
    return tuple(schema.read(frame) for frame in frames)


def column_distances(real: Any, fake: Any, *, schema: Schema | None = None) -> dict[str, float]:
    """How far each column's distribution is from the real one's, by name; 0 is a perfect match.

    Of numbers and counts the Wasserstein-1 distance over the real column's standard deviation; of words and booleans the total
    variation, from 0 to 1. NaN where a column has no values.
    """
    one, other = read_tables(real, fake, schema=schema)
    result = {}
    for i, column in enumerate(one.schema.columns):
        a, b = (values[~values.isnan()] for values in (one.values[:, i], other.values[:, i]))
        if not len(a) or not len(b):
            result[str(column.name)] = math.nan
        elif column.kind in ("number", "count"):
            std = float(a.std(correction=0))
            result[str(column.name)] = wasserstein1(a, b) / (std or 1.0)
        else:
            size = max(len(column.words), 2)
            p, q = (torch.bincount(v.long(), minlength=size).double() / len(v) for v in (a, b))
            result[str(column.name)] = float(0.5 * (p - q).abs().sum())
    return result


def wasserstein1(a: Tensor, b: Tensor) -> float:
    """Wasserstein-1 distance of two samples [N] and [M] of numbers: the area between their distribution functions."""
    a, b = a.double().sort().values, b.double().sort().values
    places = torch.cat([a, b]).sort().values
    below = [torch.searchsorted(v, places[:-1], right=True).double() / len(v) for v in (a, b)]
    return float(((below[0] - below[1]).abs() * places.diff()).sum())


def associations(table: Any, *, schema: Schema | None = None) -> Tensor:
    """How strongly each pair of columns goes together, float64 [C, C], 1 on the diagonal.

    Numbers, counts and booleans: Pearson's correlation, -1 to 1. Two columns of words: Cramer's V, 0 to 1. Words and numbers: the
    correlation ratio eta, 0 to 1. 0 where a column does not vary, over the rows that have both.
    """
    (read,) = read_tables(table, schema=schema)
    columns, values = read.schema.columns, read.values
    result = torch.eye(len(columns), dtype=torch.float64)
    for i, first in enumerate(columns):
        for j in range(i):
            both = values[:, [i, j]]
            both = both[~both.isnan().any(1)]
            a, b = both.unbind(1)
            if not len(both):
                strength = 0.0
            elif first.kind == "category" and columns[j].kind == "category":
                strength = _cramer(a.long(), b.long())
            elif first.kind == "category":
                strength = _ratio(a.long(), b)
            elif columns[j].kind == "category":
                strength = _ratio(b.long(), a)
            else:
                strength = _pearson(a, b)
            result[i, j] = result[j, i] = strength
    return result


def association_error(real: Any, fake: Any, *, schema: Schema | None = None) -> float:
    """Mean absolute difference of the `associations` of all pairs of columns, 0 to 2; NaN where there is one column."""
    one, other = read_tables(real, fake, schema=schema)
    differences = (associations(one) - associations(other)).abs()
    below = torch.tril_indices(len(differences), len(differences), offset=-1)
    return float(differences[below[0], below[1]].mean())


class ImputationError(NamedTuple):
    """By column: the root mean squared error over the column's deviation of numbers and counts, the share that is wrong of words
    and booleans; and the means over columns of both sorts, NaN where there are none."""

    columns: dict[str, float]
    numbers: float
    words: float


def imputation_error(real: Any, filled: Any, hidden: Any, *, schema: Schema | None = None) -> ImputationError:
    """How far filled-in entries are from the ones that were hidden.

    Args:
        real: the whole table; entries that are missing in it, too, are left out.
        filled: the same rows with the hidden entries filled.
        hidden: bool [N, C], True where an entry was hidden.

    Raises:
        ArgumentError: `hidden` or `filled` is of another shape. DataError: an entry that was to be filled is missing.
    """
    one, other = read_tables(real, filled, schema=schema)
    mask = torch.as_tensor(hidden.to_numpy() if hasattr(hidden, "to_numpy") else hidden).bool()
    if mask.shape != one.values.shape or other.values.shape != one.values.shape:
        raise ArgumentError(f"hidden has shape {list(mask.shape)} and the filled table {list(other.values.shape)}; expected "
                            f"{list(one.values.shape)}, that of the real one.")
    mask = mask & one.observed
    if bool((mask & ~other.observed).any()):
        row, place = (int(n) for n in (mask & ~other.observed).nonzero()[0])
        raise DataError(f"column {one.schema.names[place]!r} is missing in row {row} of the filled table; it was to be filled.")
    errors: dict[str, float] = {}
    sorts: dict[bool, list[float]] = {True: [], False: []}
    for i, column in enumerate(one.schema.columns):
        a, b = one.values[mask[:, i], i], other.values[mask[:, i], i]
        if not len(a):
            continue
        number = column.kind in ("number", "count")
        whole = one.values[one.observed[:, i], i]
        error = float((a - b).square().mean().sqrt()) / (float(whole.std(correction=0)) or 1.0) if number else \
            float((a != b).double().mean())
        errors[str(column.name)] = error
        sorts[number].append(error)
    return ImputationError(errors, *(sum(v) / len(v) if v else math.nan for v in (sorts[True], sorts[False])))


def _pearson(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    spread = float(a.norm() * b.norm())
    return float(a @ b) / spread if spread > 0 else 0.0


def _ratio(words: Tensor, numbers: Tensor) -> float:
    """sqrt of the variance between the words' means over the whole."""
    numbers = numbers - numbers.mean()
    total = float(numbers.square().sum())
    count = torch.bincount(words).double()
    sums = torch.zeros_like(count).index_add_(0, words, numbers)
    between = float((sums.square() / count.clamp_min(1)).sum())
    return math.sqrt(between / total) if total > 0 else 0.0


def _cramer(a: Tensor, b: Tensor) -> float:
    shape = (int(a.max()) + 1, int(b.max()) + 1)
    table = torch.bincount(a * shape[1] + b, minlength=shape[0] * shape[1]).double().view(shape)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    if min(table.shape) < 2:
        return 0.0
    expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
    chi2 = float(((table - expected).square() / expected).sum())
    return math.sqrt(chi2 / (float(table.sum()) * (min(table.shape) - 1)))
