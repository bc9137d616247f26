"""One column of a table: what it holds, and its way to numbers and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch

from vaefast.errors import ArgumentError, DataError

Kind = Literal["number", "count", "category", "boolean"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Word = str | int | float | bool
SHOWN = 8
"""Words of a column that a message names."""


@dataclass(frozen=True)
class Column:
    """What it takes to read a column again, and to give it back; JSON-ready by `describe`.

    Attributes:
        name: as the frame has it.
        kind: "number"; "count", whole numbers of 0 and more; "category", one of `words`; "boolean".
        dtype: of the frame's column, in which it is given back.
        mean: of what was there: of the numbers, the counts, or the share of True.
        std: standard deviation of the numbers; 0 where they are all the same.
        words: of a category, in order; its value is an index among them.
        shares: how often each word occurred.
        whole: numbers that are whole, and given back so.
        ordered: whether pandas knows the words' order as one.
    """

    name: str | int
    kind: Kind
    dtype: str = "float64"
    mean: float = 0.0
    std: float = 1.0
    words: tuple[Word, ...] = ()
    shares: tuple[float, ...] = ()
    whole: bool = False
    ordered: bool = False

    def describe(self) -> dict[str, Any]:
        """Its attributes, but for those that are as they are by default."""
        usual = {f.name: f.default for f in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
                if value != usual[name]}

    @classmethod
    def from_description(cls, described: Mapping[str, Any]) -> Column:
        """What `describe` gave.

        Raises:
            ArgumentError: another thing.
        """
        try:
            attributes: dict[str, Any] = {k: tuple(v) if k in ("words", "shares") else v for k, v in described.items()}
            column = cls(**attributes)
        except TypeError:
            raise ArgumentError(f"a column is described by {described!r}; expected a name, a kind ({', '.join(KINDS)}) and what "
                                "vaefast.data.Schema.describe gives besides.") from None
        if column.kind not in KINDS:
            raise ArgumentError(f"column {column.name!r} is of kind {column.kind!r}; expected one of {', '.join(KINDS)}.")
        if column.kind == "category" and not column.words:
            raise ArgumentError(f"column {column.name!r} is a category without words; give them.")
        return column


class _Read(NamedTuple):
    """A column as it was given: what it holds ("number", "boolean" or "word"), values where `there`, and how it was typed."""

    holds: str
    values: Any
    there: np.ndarray
    dtype: str
    words: tuple[Word, ...] | None = None
    ordered: bool = False


def column_of(name: str | int, values: Any, kind: Kind | None = None) -> Column:
    """The description of a column, of the kind given or the one that its values ask for.

    Rules: booleans, and numbers that are all 0 or 1, are "boolean"; words and pandas categories "category"; whole numbers of 0
    and more, with 0 among them, "count"; other numbers "number".

    Raises:
        DataError: nothing in it, infinity, values that the kind cannot be, dates, or words and numbers in one column.
    """
    read = _read(name, values)
    if not read.there.any():
        raise DataError(f"column {name!r} has no values, all are missing; leave it out.")
    kind = _kind(read) if kind is None else kind
    if kind not in KINDS:
        raise ArgumentError(f"column {name!r} is to be of kind {kind!r}; expected one of {', '.join(KINDS)}.")
    if kind == "category":
        words = read.words if read.words is not None else _sorted(_observed(read))
        known = {word: i for i, word in enumerate(words)}
        index = [known[word] for word in _observed(read)]
        shares = np.bincount(index, minlength=len(words)) / len(index)
        return Column(name, kind, read.dtype, words=tuple(words), shares=tuple(shares.tolist()), ordered=read.ordered)
    numbers = _numbers(name, read, kind)
    seen = numbers[read.there]
    std = float(seen.std())
    if std <= 1e-12 * np.abs(seen).max(initial=0):  # rounding of a mean leaves a trace of one
        std = 0.0
    return Column(name, kind, read.dtype, mean=float(seen.mean()), std=std, whole=bool((seen == np.round(seen)).all()))


def encoded(column: Column, values: Any) -> np.ndarray:
    """Values as float64 [N], NaN where they are missing: numbers as they are, words as their index, booleans as 0 and 1.

    Raises:
        DataError: infinity, words that the column does not know, or values of another kind.
    """
    read = _read(column.name, values)
    if column.kind != "category":
        return _numbers(column.name, read, column.kind)
    known = {word: float(i) for i, word in enumerate(column.words)}
    result = np.full(len(read.there), math.nan)
    words = _observed(read)
    try:
        result[read.there] = [known[word] for word in words]
    except KeyError:
        place, word = next((i, word) for i, word in enumerate(words) if word not in known)
        names = ", ".join(map(repr, column.words[:SHOWN])) + (", ..." if len(column.words) > SHOWN else "")
        raise DataError(f"column {column.name!r} has {word!r} in row {int(read.there.nonzero()[0][place])}, which is none of the "
                        f"{len(column.words)} that are known of it ({names}); give it as missing (None).") from None
    return result


def decoded(column: Column, values: np.ndarray) -> np.ndarray:
    """What `encoded` values [N] stand for, in the column's dtype where numpy has it. What is missing stays so: None among words,
    NaN among numbers."""
    missing = np.isnan(values)
    dtype = _dtype(column.dtype)
    if column.kind == "category":
        words = np.empty(len(column.words) + 1, dtype=object)
        words[:-1] = column.words
        found = words[np.where(missing, len(column.words), values).astype(np.int64)]
        return found.astype(dtype if dtype.kind == "f" or not missing.any() else np.float64) if dtype.kind in "iuf" else found
    logical = column.kind == "boolean" and dtype.kind not in "iuf"
    if column.kind == "boolean":
        values = np.where(missing, math.nan, values > 0.5)
    elif column.whole:
        values = np.round(values)
    if missing.any():
        if logical:
            return np.array([None if gone else bool(value) for gone, value in zip(missing, values)], dtype=object)
        return values.astype(dtype if dtype.kind == "f" else np.float64)
    if logical:
        return values.astype(bool)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.clip(values, float(limits.min), np.nextafter(float(limits.max), 0)).astype(dtype)
    return values.astype(dtype if dtype.kind == "f" else np.float64)


def _dtype(name: str) -> np.dtype[Any]:
    """As numpy has it: int64 of pandas' Int64; objects where it has none."""
    for spelled in (name, name.lower()):
        try:
            return np.dtype(spelled)
        except TypeError:
            continue
    return np.dtype(object)


def _kind(read: _Read) -> Kind:
    if read.holds == "boolean":
        return "boolean"
    if read.holds == "word":
        return "category"
    seen = read.values[read.there]
    if np.isin(seen, (0, 1)).all() and len(np.unique(seen)) == 2:
        return "boolean"
    counts = (seen >= 0).all() and (seen == 0).any() and (seen == np.round(seen)).all() and seen.any()
    return "count" if counts else "number"


def _numbers(name: str | int, read: _Read, kind: Kind) -> np.ndarray:
    """The column as float64 [N]; DataError where it cannot be of that kind."""
    if read.holds == "word":
        row = int(read.there.nonzero()[0][0]) if read.there.any() else 0
        if not read.there.any():
            return np.full(len(read.there), math.nan)
        raise DataError(f"column {name!r} is to be of {kind}s and has {_item(read.values[row])!r} in row {row}; make numbers of "
                        "it, or name it categorical.")
    numbers = np.where(read.there, read.values, math.nan).astype(np.float64)
    seen = np.where(read.there, numbers, 0.0)
    wrong, wish = {"number": (np.zeros(len(seen), bool), ""),
                   "count": ((seen < 0) | (seen != np.round(seen)), "whole numbers of 0 and more"),
                   "boolean": (~np.isin(seen, (0, 1)), "True and False, or 0 and 1")}[kind]
    if wrong.any():
        row = int(wrong.nonzero()[0][0])
        raise DataError(f"column {name!r} is to be of {kind}s and has {numbers[row]:.6g} in row {row}; expected {wish}.")
    return numbers


def _observed(read: _Read) -> list[Word]:
    return [_item(value) for value in read.values[read.there].tolist()]


def _item(value: Any) -> Word:
    return value.item() if isinstance(value, np.generic) else value


def _sorted(words: Sequence[Word]) -> list[Word]:
    return sorted(set(words), key=lambda word: (isinstance(word, str), word))


def _read(name: str | int, values: Any) -> _Read:
    dtype = str(getattr(values, "dtype", "object"))
    if isinstance(values, torch.Tensor):
        dtype = str(values.dtype).removeprefix("torch.")
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()  # numpy has no bfloat16
    if hasattr(values, "cat") and hasattr(values.cat, "categories"):  # pandas: the words are known, in an order of their own
        words = tuple(_item(word) for word in values.cat.categories.tolist())
        codes = np.asarray(values.cat.codes)
        spelled = np.empty(len(words), dtype=object)
        spelled[:] = words
        there = codes >= 0
        filled = np.full(len(codes), None, dtype=object)
        filled[there] = spelled[codes[there]]
        return _Read("word", filled, there, "category", words, bool(values.cat.ordered))
    missing = np.asarray(values.isna(), bool) if hasattr(values, "isna") else np.ma.getmaskarray(values) \
        if isinstance(values, np.ma.MaskedArray) else None
    array = _array(values)
    if array.ndim != 1:
        raise DataError(f"column {name!r} has shape {list(array.shape)}; expected one value a row.")
    if array.dtype.kind == "O":
        return _of_objects(name, array, missing, dtype)
    if array.dtype.kind not in "biufU":
        what = {"M": "dates", "m": "spans of time", "c": "complex numbers"}.get(array.dtype.kind, f"values of {array.dtype}")
        raise DataError(f"column {name!r} holds {what}; make numbers, words or booleans of it, or leave it out.")
    missing = np.zeros(len(array), bool) if missing is None else missing
    if array.dtype.kind == "f":
        missing = missing | np.isnan(array)
        _finite(name, array, ~missing)
    holds = {"b": "boolean", "U": "word"}.get(array.dtype.kind, "number")
    return _Read(holds, array, ~missing, dtype)


def _array(values: Any) -> np.ndarray:
    if isinstance(values, np.ma.MaskedArray):
        return np.asarray(values.data)
    if isinstance(values, (list, tuple)):  # numpy would make words of numbers that stand beside words
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    return np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)


def _of_objects(name: str | int, array: np.ndarray, missing: np.ndarray | None, dtype: str) -> _Read:
    there = ~(np.fromiter(map(_is_missing, array), bool, len(array)) if missing is None else missing)
    seen = array[there]
    if all(isinstance(v, (bool, np.bool_)) for v in seen):
        holds = "boolean" if len(seen) else "number"
    elif all(isinstance(v, (int, float, np.number)) and not isinstance(v, (bool, np.bool_, np.complexfloating)) for v in seen):
        holds = "number"
    elif all(isinstance(v, str) for v in seen):
        return _Read("word", array, there, dtype)
    else:
        number = next((v for v in seen if not isinstance(v, str)), None)
        word = next((v for v in seen if isinstance(v, str)), None)
        if word is None:
            raise DataError(f"column {name!r} holds {number!r} of type {type(number).__name__}; expected numbers, words or "
                            "booleans alone.")
        raise DataError(f"column {name!r} holds the word {word!r} and {number!r} of type {type(number).__name__}; expected words "
                        "or numbers alone, and None or NaN for what is missing.")
    result = np.zeros(len(array), np.float64)
    result[there] = seen.astype(np.float64)
    _finite(name, result, there)
    return _Read(holds, result, there, dtype)


def _is_missing(value: Any) -> bool:
    """None, NaN, NaT and pandas' NA, which has no truth."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):
        return True


def _finite(name: str | int, values: np.ndarray, there: np.ndarray) -> None:
    infinite = there & ~np.isfinite(np.where(there, values, 0).astype(np.float64))
    if infinite.any():
        raise DataError(f"column {name!r} has infinity in row {int(infinite.nonzero()[0][0])}; give it as missing (NaN), or "
                        "leave the row out.")
