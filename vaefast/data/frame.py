"""Pandas data frames of pictures: a column of files' names, or of pictures, and perhaps one of labels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vaefast.data.decode import DecodeOptions, decode_files
from vaefast.data.labels import LABEL_KEYS, as_labels
from vaefast.data.sources import SourceFile, file_at, refuse
from vaefast.errors import DataError, DataNotFoundError

_MORE_LABEL_KEYS = ("class", "target", "category", "y")


def is_frame(obj: Any) -> bool:
    """Whether it is a pandas data frame (pandas itself is not needed to tell)."""
    return hasattr(obj, "columns") and hasattr(obj, "iloc") and hasattr(obj, "dtypes")


def pictures_of_frame(frame: Any) -> tuple[np.ndarray | list[Any], torch.Tensor | None, tuple[str, ...] | None]:
    """The pictures of a frame's rows - uint8 [N, C, H, W] decoded from the named files, or a list of what lies in the column -,
    their labels and the classes, where labels are words.

    Labels are in a column called label (labels, class, target, ...), or in the only other one.

    Raises:
        DataError: no row, no column of files or pictures or more than one, a file that is not there or no picture, pictures of
            different sizes, labels that are neither integers nor words.
    """
    columns = list(frame.columns)
    if not len(frame):
        raise DataError("the data frame has no rows; at least one image is needed.")
    named = [c for c in columns if str(c).lower() in (*LABEL_KEYS, *_MORE_LABEL_KEYS)]
    files = [c for c in columns if c not in named and isinstance(frame[c].iloc[0], (str, os.PathLike))]
    if len(files) > 1:  # such as a title beside a path
        files = [c for c in files if Path(frame[c].iloc[0]).suffix] or files
    pictures = [c for c in columns if isinstance(frame[c].iloc[0], (Image.Image, np.ndarray, torch.Tensor))]
    found = pictures or files
    if len(found) != 1:
        what = f"{len(found)} columns" if found else "no column"
        raise DataError(f"the data frame has {what} of pictures or names of files among {', '.join(map(str, columns))}; give "
                        "one, and perhaps a column of labels.")
    others = named or [c for c in columns if c != found[0]]
    labels, classes = _labels(frame[others[0]], str(others[0])) if len(others) == 1 or named else (None, None)
    column = list(frame[found[0]])
    return (column if pictures else _decoded(column)), labels, classes


def _labels(column: Any, name: str) -> tuple[torch.Tensor, tuple[str, ...] | None]:
    """Integers as they are; words as their places among the sorted ones."""
    values = list(column)
    if all(isinstance(v, str) for v in values):
        classes = tuple(sorted(set(values)))
        number = {word: i for i, word in enumerate(classes)}
        return torch.tensor([number[v] for v in values]), classes
    wrong = next((i for i, v in enumerate(values) if isinstance(v, bool) or not isinstance(v, (int, np.integer))), None)
    if wrong is not None:
        raise DataError(f"row {wrong} of the column {name} is {values[wrong]!r}; labels must be integers in all rows, or words "
                        "in all.")
    return as_labels(values, len(values)), None


class _Files:
    """Files anywhere on the disk, in the order given (a `vaefast.data.sources.Source`)."""

    def __init__(self, paths: list[Path]) -> None:
        self.where = Path(os.path.commonpath([path.parent for path in paths]))
        self.identity = "files"
        self.files = [file_at(path, str(path)) for path in paths]
        self.notes: list[str] = []

    def read(self, file: SourceFile) -> bytes:
        refuse(file)
        return Path(file.path).read_bytes()


def _decoded(names: list[Any]) -> np.ndarray:
    wrong = next((i for i, name in enumerate(names) if not isinstance(name, (str, os.PathLike))), None)
    if wrong is not None:
        raise DataError(f"row {wrong} of the data frame has {names[wrong]!r} where others have the name of a file; drop it, or "
                        "name a file.")
    paths = [Path(os.path.abspath(os.path.expanduser(name))) for name in names]
    missing = [path for path in paths if not path.exists()]
    if missing:
        more = f" (nor {len(missing) - 1:,} others)" if len(missing) > 1 else ""
        raise DataNotFoundError(f"{missing[0]}, which the data frame names, does not exist{more}; write the paths out, or start "
                                "in the folder that they begin in.")
    source = _Files(paths)
    return decode_files(source, source.files, DecodeOptions()).images
