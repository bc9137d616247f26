"""NumPy files: `.npz` archives of arrays, and single arrays in `.npy`."""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch

from vaefast.data.arrays import as_image_set
from vaefast.data.image_set import ImageSet
from vaefast.data.roots import SPLIT_NAMES, as_size, check_split, held_out, required_root
from vaefast.errors import ArgumentError, DataError

IMAGE_RANKS = (3, 4)
"""Dimensions of an array that is read as one of images."""
_IMAGES = ("images", "x", "data", "imgs")
_LABELS = ("labels", "y", "label", "targets")
_PARTS = ("train", "training", *SPLIT_NAMES["test"])


def load_npz(
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    layout: str | None = None,
    test_fraction: float = 0.1,
) -> ImageSet:
    """Images in a NumPy file (.npz or .npy), [N, C, H, W] uint8, or float32 in [0, 1].

    In an .npz the images are the array `images`, `x`, `data` or `imgs`, else the first array of three or four
    dimensions; the labels, if any, `labels`, `y`, `label` or `targets`. Where it has such names for both splits
    (`x_train` or `train_images`, `x_test` or `test_images`; without a test part `x_val`, `x_dev`, ...), these are the splits;
    else a tenth of the images, chosen by a hash of their positions, is the test part. split="all" has the images of all parts.
    Case does not matter. What else looks like images and is left out is named in a warning and in the `note`. Nothing pickled
    is ever loaded.

    Args:
        root: the file, or a folder that holds exactly one. (`download` has no effect.)
        split: "train", "test" or "all".
        size: None, or the size that the images have; they are not resized.
        layout: "NCHW" or "NHWC"; None: by the rule of `as_image_set`.
        test_fraction: of the images, where the file has no splits.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is damaged, holds pickled objects or no images, or images out of range.
        ArgumentError: an impossible option.
    """
    check_split(split, ("train", "test", "all"))
    path = locate(required_root(root, "a .npz or .npy file"))
    arrays, notes = read_arrays(path, split)
    for note in notes:
        warnings.warn(note, stacklevel=3)
    try:
        whole = [as_image_set(x, name="npz", labels=y, layout=layout, split=split) for x, y in arrays.pairs]
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    result = replace(whole[0] if len(whole) == 1 else _joined(whole, path), note=" ".join(notes))
    if split != "all" and not arrays.parted:
        if len(result) < 2:
            raise DataError(f'{path} holds one image, which cannot be parted; the split "all" has it.')
        test = np.array(held_out([str(i) for i in range(len(result))], test_fraction))
        result = result.subset(np.flatnonzero(test == (split == "test")))
    if as_size(size) not in (None, result.image_shape[1:]):
        raise ArgumentError(
            f"size={size!r} was asked for, but {path} holds {result.image_shape[1]}x{result.image_shape[2]} images, "
            "which are taken as they are; resize them before saving."
        )
    return result


def locate(root: Path) -> Path:
    """The file `root`, or the one that it holds."""
    if not root.is_dir():
        return root
    files = sorted(path for path in root.iterdir() if path.suffix in (".npz", ".npy"))
    if len(files) != 1:
        raise DataError(f"{root} holds {len(files)} .npz and .npy files; pass the path of the one to load.")
    return files[0]


class _Arrays(NamedTuple):
    """(images, labels or None) of each part taken, and whether the file itself parts training from test images."""

    pairs: list[tuple[np.ndarray, np.ndarray | None]]
    parted: bool


class _Entry(NamedTuple):
    """The names of arrays: of images, and of their labels."""

    images: str
    labels: str | None


def read_arrays(path: Path, split: str, ranks: Sequence[int] = IMAGE_RANKS) -> tuple[_Arrays, list[str]]:
    """The arrays of a split, and sentences on what else the file holds; without a known name, the first of one of the `ranks`.

    Raises:
        DataError: the file is damaged, or holds pickled objects or no such array.
    """
    try:
        return _read(path, split, ranks)
    except (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile, RuntimeError,
            MemoryError) as error:  # fmt: skip
        if isinstance(error, DataError):
            raise
        if isinstance(error, MemoryError):
            raise DataError(f"{path} does not fit into memory ({error}); save a part of its images, or smaller ones.") from None
        if "pickle" in str(error).lower():
            raise DataError(
                f"{path} holds pickled objects or is not a NumPy file; save plain arrays of numbers with numpy.savez."
            ) from None
        raise DataError(f"{path} cannot be read as a NumPy file ({error}); write it again.") from None


def _read(path: Path, split: str, ranks: Sequence[int]) -> tuple[_Arrays, list[str]]:
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            array = np.lib.format.read_array(file, allow_pickle=False)
            if file.read(1):
                raise DataError(f"{path} has bytes after the array {list(array.shape)} that it begins with; save one array.")
            return _Arrays([(array, None)], False), []
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"{path} holds {twice[0]!r} twice; write it again.")
        shapes = {name: _shape(archive, full) for name, full in zip(names, archive.namelist(), strict=True)}
        chosen, left_out, parted = _chosen(names, shapes, split, path, ranks)
        notes = [f"{', '.join(left_out)} in {path.name} {'were' if len(left_out) > 1 else 'was'} left out."] if left_out else []
        notes += _unlabelled(chosen, shapes, path)
        full = dict(zip(names, archive.namelist(), strict=True))
        pairs = [(_array(archive, full[entry.images]), None if entry.labels is None else _array(archive, full[entry.labels]))
                 for entry in chosen]
    return _Arrays(pairs, parted), notes


def _chosen(names: list[str], shapes: dict[str, tuple[int, ...]], split: str, path: Path,
            ranks: Sequence[int]) -> tuple[list[_Entry], list[str], bool]:
    """What to take of a file, what looks like images and is left out, and whether the file has splits."""
    parts = {part: entry for part in ("", *_PARTS) if (entry := _of_part(names, part)) is not None}
    train = next((part for part in SPLIT_NAMES["train"] if part in parts), None)
    test = next((part for part in SPLIT_NAMES["test"] if part in parts), None)
    parted = train is not None and test is not None
    if split == "all":
        taken = list(parts.values())
    elif parted:
        taken = [parts[train if split == "train" else test]]  # type: ignore[index]
    else:
        taken = list(parts.values())[:1]
    labels_too = {name for entry in parts.values() for name in entry}
    pictures = [name for name in names if len(shapes[name]) in ranks and name not in labels_too and name.lower() not in _LABELS]
    if not taken:
        if not pictures:
            forms = "images [N, H, W], [N, C, H, W] or [N, H, W, C]" if ranks == IMAGE_RANKS else "examples [N, ...]"
            raise DataError(f"{path} holds no array of {forms}.")
        labels = next((name for kind in _LABELS for name in names if name.lower() == kind), None)
        taken = [_Entry(pictures.pop(0), labels)]
    used = {entry.images for entry in taken}
    known = {parts[part].images for part in (train, test) if part is not None} if parted else used
    rest = [entry.images for entry in parts.values() if entry.images not in used | known] + pictures
    return taken, [f"{name} {list(shapes[name])}" for name in rest], parted


def _unlabelled(chosen: list[_Entry], shapes: dict[str, tuple[int, ...]], path: Path) -> list[str]:
    """A sentence where there could be labels, and are none."""
    without = [entry.images for entry in chosen if entry.labels is None]
    if len(without) < len(chosen):
        return [f"There are no labels, as {', '.join(without)} in {path.name} has none."] if without else []
    counts = {shapes[entry.images][:1] for entry in chosen}
    other = [name for name, shape in shapes.items() if len(shape) == 1 and shape in counts]
    if not other:
        return []
    return [f"There are no labels: {', '.join(other)} in {path.name} could be such; labels are named {', '.join(_LABELS)}."]


def _of_part(names: list[str], part: str) -> _Entry | None:
    """The arrays of a part of the data set ("train", ...; "" for those without a part's name), whatever their case."""
    def first(kinds: tuple[str, ...]) -> str | None:
        wanted = [name for kind in kinds for name in ((f"{kind}_{part}", f"{part}_{kind}") if part else (kind,))]
        return next((name for kind in wanted for name in names if name.lower() == kind), None)

    images = first(_IMAGES)
    return None if images is None else _Entry(images, first(_LABELS))


def array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and dtype of the array that an .npy file begins with; ValueError for what is none."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """The shape in an array's header; () for what is no array."""
    with archive.open(name) as file:
        try:
            return array_header(file)[0]
        except ValueError:
            return ()


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # at the end zipfile also checks the sum
            raise ValueError(f"{name} has bytes after its array")
        return array


def _joined(parts: list[ImageSet], path: Path) -> ImageSet:
    first = parts[0]
    if any(part.image_shape != first.image_shape or part.images.dtype != first.images.dtype for part in parts):
        raise DataError(f"{path} holds parts of images of different shapes or dtypes; load one split.")
    labels = [part.labels for part in parts if part.labels is not None]
    return ImageSet(
        torch.cat([part.images for part in parts]), torch.cat(labels) if len(labels) == len(parts) else None,
        name="npz", split="all",
    )
