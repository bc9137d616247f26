"""NumPy files: `.npz` archives of arrays, and single arrays in `.npy`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from vaefast.data.arrays import as_image_set
from vaefast.data.image_set import ImageSet
from vaefast.data.roots import as_size, check_split, held_out, required_root
from vaefast.errors import ArgumentError, DataError

_IMAGES = ("images", "x", "data", "imgs")
_LABELS = ("labels", "y", "label", "targets")


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
    (`x_train` or `train_images`, `x_test` or `test_images`), these are the splits; else a tenth of the images, chosen
    by a hash of their positions, is the test part. Nothing pickled is ever loaded.

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
    path = _locate(required_root(root, "a .npz or .npy file"))
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays = {"arr_0": loaded}
        else:
            with loaded:
                arrays = _wanted_arrays(loaded)
    except (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        if "pickle" in str(error).lower():
            raise DataError(
                f"{path} holds pickled objects or is not a NumPy file; save plain arrays of numbers with numpy.savez."
            ) from None
        raise DataError(f"{path} cannot be read as a NumPy file ({error}); write it again.") from None
    found = _of_split(arrays, path, split)
    try:
        whole = [as_image_set(x, name="npz", labels=y, layout=layout, split=split) for x, y in found]
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    result = whole[0] if len(whole) == 1 else _joined(whole, path)
    if split != "all" and not _has_splits(arrays):
        if len(result) < 2:
            raise DataError(f'{path} holds one image, which cannot be split; pass split="all".')
        test = np.array(held_out([str(i) for i in range(len(result))], test_fraction))
        result = result.subset(np.flatnonzero(test == (split == "test")))
    if as_size(size) not in (None, result.image_shape[1:]):
        raise ArgumentError(
            f"size={size!r} was asked for, but {path} holds {result.image_shape[1]}x{result.image_shape[2]} images, "
            "which are taken as they are; resize them before saving."
        )
    return result


def _locate(root: Path) -> Path:
    if not root.is_dir():
        return root
    files = sorted(path for path in root.iterdir() if path.suffix in (".npz", ".npy"))
    if len(files) != 1:
        raise DataError(f"{root} holds {len(files)} .npz and .npy files; pass the path of the one to load.")
    return files[0]


def _names(kinds: tuple[str, ...], split: str) -> list[str]:
    return [name for kind in kinds for name in (f"{kind}_{split}", f"{split}_{kind}")]


def _has_splits(arrays: Mapping[str, np.ndarray]) -> bool:
    return all(any(name in arrays for name in _names(_IMAGES, split)) for split in ("train", "test"))


def _wanted_arrays(archive: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays that can matter; others are not read."""
    known = {*_IMAGES, *_LABELS}
    for split in ("train", "test"):
        known.update(_names(_IMAGES, split), _names(_LABELS, split))
    arrays = {name: archive[name] for name in archive if name in known}
    if not any(name in arrays for name in _IMAGES) and not _has_splits(arrays):
        for name in archive:
            if name not in arrays and archive[name].ndim in (3, 4):
                arrays[name] = archive[name]
                break
    return arrays


def _of_split(
    arrays: Mapping[str, np.ndarray], path: Path, split: str
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """(images, labels) of the split; two pairs where all of a file with splits is asked for."""
    if _has_splits(arrays):
        pairs = []
        for part in ("train", "test") if split == "all" else (split,):
            images = next(name for name in _names(_IMAGES, part) if name in arrays)
            labels = next((name for name in _names(_LABELS, part) if name in arrays), None)
            pairs.append((arrays[images], None if labels is None else arrays[labels]))
        return pairs
    images = next((name for name in _IMAGES if name in arrays), None)
    if images is None:
        images = next((name for name, array in arrays.items() if array.ndim in (3, 4) and name not in _LABELS), None)
    if images is None:
        raise DataError(f"{path} holds no array of images [N, H, W], [N, C, H, W] or [N, H, W, C].")
    labels = next((name for name in _LABELS if name in arrays), None)
    return [(arrays[images], None if labels is None else arrays[labels])]


def _joined(parts: list[ImageSet], path: Path) -> ImageSet:
    if parts[0].image_shape != parts[1].image_shape or parts[0].images.dtype != parts[1].images.dtype:
        raise DataError(f"{path} holds training and test images of different shapes or dtypes; load one split.")
    labels = [part.labels for part in parts if part.labels is not None]
    return ImageSet(
        torch.cat([part.images for part in parts]), torch.cat(labels) if len(labels) == len(parts) else None,
        name="npz", split="all",
    )
