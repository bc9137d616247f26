"""Tables of mixed columns: any frame in, one float matrix out, and frames again of such matrices."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaefast.data.columns import Column, Kind, column_of, decoded, encoded
from vaefast.digest import tensor_digest
from vaefast.errors import ArgumentError, DataError


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in order: how frames are read, and given back.

    Attributes:
        columns: one or more, of different names (compared as text, so that 1 and "1" are the same name).

    Raises:
        DataError: no columns, or two of one name.
    """

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        if not self.columns:
            raise DataError("the table has no columns; at least one is needed.")
        _once(self.names)

    @classmethod
    def of(cls, frame: Any, *, columns: Sequence[str | int] | None = None, kinds: Mapping[str, Kind] | None = None) -> Schema:
        """The schema of a frame.

        Args:
            frame: a pandas (or like) data frame, a dict of columns, a structured array, or an array or tensor [N, C].
            columns: names of those that count, in this order; all if None.
            kinds: of columns by name: "number", "count", "category" or "boolean"; by the rules of `column_of` for the others.

        Raises:
            ArgumentError: it is no table, or has no such column. DataError: a column that cannot be read (see `column_of`), or
                no rows.
        """
        there = _columns(frame)
        chosen = list(there) if columns is None else [str(name) for name in columns]
        for what, names in (("columns", chosen), ("kinds", kinds or {})):
            if unknown := next((name for name in map(str, names) if name not in there), None):
                raise ArgumentError(f"{what} names {unknown!r}, which is no column of the table; it has {_listed(list(there))}.")
        wishes = {str(name): kind for name, kind in (kinds or {}).items()}
        _rows(there)
        return cls(tuple(column_of(*there[name], wishes.get(name)) for name in chosen))

    @classmethod
    def from_description(cls, described: Sequence[Mapping[str, Any]]) -> Schema:
        """What `describe` gave, as of a file."""
        return cls(tuple(map(Column.from_description, described)))

    def describe(self) -> list[dict[str, Any]]:
        """The columns, JSON-ready."""
        return [column.describe() for column in self.columns]

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, as text."""
        return tuple(str(column.name) for column in self.columns)

    def places(self, *kinds: Kind) -> list[int]:
        """Where columns of these kinds stand."""
        return [i for i, column in enumerate(self.columns) if column.kind in kinds]

    def read(self, frame: Any) -> Table:
        """A frame with these columns, in any order; others beside them are left alone. An array or tensor [N, C] has them in
        order.

        Raises:
            DataError: a column is missing, has values that it cannot (see `encoded`), or there are no rows.
            ArgumentError: it is no table.
        """
        if isinstance(frame, Table):
            if frame.schema == self:
                return frame
            frame = frame.schema.frame(frame.values, like={})
        there = _columns(frame)
        if _is_matrix(frame):
            if len(there) != len(self):
                raise DataError(f"the array has {len(there)} columns; expected {len(self)}: {_listed(self.names)}.")
            there = dict(zip(self.names, there.values()))
        if missing := next((name for name in self.names if name not in there), None):
            raise DataError(f"the table has no column {missing!r}; expected {_listed(self.names)}.")
        _rows(there)
        return Table(self, torch.from_numpy(np.stack([encoded(c, there[n][1]) for c, n in zip(self.columns, self.names)], 1)))

    def scaled(self, values: Tensor) -> Tensor:
        """Values [N, C] with their numbers standardised; counts, words and booleans as they are."""
        mean, std = self._moments(values)
        return (values - mean) / torch.where(std > 0, std, 1.0)

    def unscaled(self, values: Tensor) -> Tensor:
        """The way back from `scaled`; a number that was always the same is that one."""
        mean, std = self._moments(values)
        return values * std + mean

    def _moments(self, like: Tensor) -> tuple[Tensor, Tensor]:
        numbers = [column if column.kind == "number" else Column(column.name, column.kind) for column in self.columns]
        mean, std = ([getattr(column, name) for column in numbers] for name in ("mean", "std"))
        return (torch.tensor(mean, dtype=like.dtype, device=like.device), torch.tensor(std, dtype=like.dtype, device=like.device))

    def frame(self, values: Tensor, like: Any = None) -> Any:
        """Values [N, C] as a frame: numbers, words and booleans in the dtypes that they came in, missing where NaN.

        Args:
            like: a pandas DataFrame for one with its index; an array or tensor for an array [N, C], a dict or any other frame for
                a dict of arrays [N]. None: a DataFrame where pandas is installed, else a dict.
        """
        matrix = values.detach().to("cpu", torch.float64).numpy()
        columns = {c.name: decoded(c, matrix[:, i]) for i, c in enumerate(self.columns)}
        if _is_matrix(like):
            stacked = np.empty(matrix.shape, dtype=np.result_type(*columns.values()) if _alike(columns) else object)
            for i, column in enumerate(columns.values()):
                stacked[:, i] = column
            return torch.from_numpy(stacked) if isinstance(like, Tensor) else stacked
        if like is None or type(like).__module__.partition(".")[0] == "pandas":
            try:
                import pandas
            except ImportError:
                return columns
            index = None if like is None else like.index
            return pandas.DataFrame({c.name: _series(pandas, c, columns[c.name], index) for c in self.columns})
        return columns


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """The rows of a table as one matrix.

    Attributes:
        schema: its columns.
        values: float64 [N, C], NaN where an entry is missing; numbers in their own units, words as their index, booleans as 0
            and 1.
    """

    schema: Schema
    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        kinds = [column.kind for column in self.schema.columns]
        counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        return f"Table({len(self):,} rows, columns: {counted}, {int((~self.observed).sum()):,} entries missing)"

    @property
    def observed(self) -> Tensor:
        """Which entries are there, bool [N, C]."""
        return ~self.values.isnan()

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the columns and the values."""
        return tensor_digest([(json.dumps(self.schema.describe()), self.values)])

    def frame(self, like: Any = None) -> Any:
        """As a frame; see `Schema.frame`."""
        return self.schema.frame(self.values, like)

    def subset(self, index: Any) -> Table:
        """Some rows: a slice, integers or a mask."""
        return Table(self.schema, self.values[index])


def _series(pandas: Any, column: Column, values: np.ndarray, index: Any) -> Any:
    if column.dtype == "category":
        typed = pandas.CategoricalDtype(list(column.words), ordered=column.ordered)
    else:
        typed = column.dtype
    series = pandas.Series(values, index=index)
    try:
        return series.astype(typed)
    except (TypeError, ValueError):  # what is missing has no place in whole numbers and booleans
        return series


def _is_matrix(frame: Any) -> bool:
    return isinstance(frame, Tensor) or isinstance(frame, np.ndarray) and frame.dtype.names is None


def _alike(columns: Mapping[Any, np.ndarray]) -> bool:
    return all(column.dtype.kind in "biuf" for column in columns.values())


def _columns(frame: Any) -> dict[str, tuple[str | int, Any]]:
    """The columns by their names as text: the name itself, and the values."""
    if isinstance(frame, Table):
        frame = frame.schema.frame(frame.values, like={})
    if _is_matrix(frame):
        if frame.ndim != 2:
            raise ArgumentError(f"the table is an array of shape {list(frame.shape)}; expected [N, C]: a row of C values each.")
        pairs: list[tuple[Any, Any]] = [(i, frame[:, i]) for i in range(frame.shape[1])]
    elif isinstance(frame, Mapping):
        pairs = list(frame.items())
    elif isinstance(frame, np.ndarray):
        pairs = [(name, frame[name]) for name in frame.dtype.names or ()]
    elif hasattr(frame, "columns") and hasattr(frame, "__getitem__") and not isinstance(frame, type):
        _once(frame.columns)  # pandas would give both of one name
        pairs = [(name, frame[name]) for name in frame.columns]
    else:
        raise ArgumentError(f"the table is of type {type(frame).__name__}; expected a data frame, a dict of columns, or an array "
                            "[N, C].")
    _once([name for name, _ in pairs])
    columns = {str(name): (int(name) if isinstance(name, (int, np.integer)) and not isinstance(name, bool) else str(name), values)
               for name, values in pairs}
    if not columns:
        raise DataError("the table has no columns; at least one is needed.")
    return columns


def _once(names: Iterable[Any]) -> None:
    counted = Counter(map(str, names))
    if twice := next((name for name, count in counted.items() if count > 1), None):
        raise DataError(f"the table has two columns called {twice!r}; give each a name of its own.")


def _rows(columns: Mapping[str, tuple[Any, Any]]) -> int:
    """How many there are; the same in every column, and one at least."""
    counts = {}
    for name, (_, values) in columns.items():
        try:
            counts[name] = len(values)
        except TypeError:
            raise DataError(f"column {name!r} is of type {type(values).__name__}; expected a value for each row.") from None
    first, count = next(iter(counts.items()))
    if other := next((name for name in counts if counts[name] != count), None):
        raise DataError(f"column {first!r} has {count} rows and column {other!r} {counts[other]}; expected as many in each.")
    if not count:
        raise DataError("the table has no rows; at least one is needed.")
    return count


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
