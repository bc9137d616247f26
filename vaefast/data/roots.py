"""What all loaders do at the door: the root folder, the split's name, image sizes, and held-out parts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from vaefast.data.cache import cache_dir
from vaefast.errors import ArgumentError, DataNotFoundError

SPLIT_NAMES = {"train": ("train", "training"),
               "test": ("test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation", "holdout", "heldout")}
"""What folders and arrays of a split are called, in the order in which they are looked for."""


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with ~ expanded.

    Raises:
        ArgumentError: there is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ArgumentError(f"{os.fspath(path)!r} begins with ~, and there is no such home folder; write the path out.") from None


def data_root(root: str | os.PathLike[str] | None) -> Path:
    """`root` with ~ expanded; None means the folder `data` of the cache."""
    return cache_dir() / "data" if root is None else expanded(root)


def required_root(root: str | os.PathLike[str] | None, what: str) -> Path:
    """An existing `root`.

    Raises:
        ArgumentError: none was given.
        DataNotFoundError: it does not exist.
    """
    if root is None:
        raise ArgumentError(f"root is missing; pass the path of {what}.")
    path = expanded(root)
    if not path.exists():
        raise DataNotFoundError(f"{path} does not exist; {what} was expected there.")
    return path


def check_split(split: str, known: Sequence[str]) -> None:
    """Raise ArgumentError unless `split` is one of `known`."""
    if split not in known:
        raise ArgumentError(f"split {split!r} is unknown; choose one of {', '.join(known)}.")


def as_size(size: int | Sequence[int] | None, name: str = "size") -> tuple[int, int] | None:
    """`size` as (H, W); an int means a square.

    Raises:
        ArgumentError: not one or two positive integers.
    """
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in pair):
        raise ArgumentError(f"{name} must be a positive integer or (height, width), not {size!r}.")
    return pair[0], pair[1]


def held_out(keys: Sequence[str], fraction: float) -> list[bool]:
    """Which of `keys` belong to the test part.

    The part a key falls into depends on its own SHA-256 alone, so adding or removing others never moves it between
    training and test. Where there are two keys or more, neither part is left empty (the key next to the border moves).

    Raises:
        ArgumentError: a fraction outside (0, 1).
    """
    if not 0.0 < fraction < 1.0:
        raise ArgumentError(f"test_fraction must lie between 0 and 1, not {fraction!r}.")
    draws = [int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2.0**64 for key in keys]
    test = [draw < fraction for draw in draws]
    if len(set(keys)) > 1 and len(set(test)) == 1:
        border = min(draws) if not test[0] else max(draws)
        test = [(draw == border) != test[0] for draw in draws]
    return test
