"""NumPy files of examples that are no images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vaefast.data.array_set import ArraySet, as_array_set
from vaefast.data.npz import IMAGE_RANKS, locate, read_arrays
from vaefast.data.roots import check_split, held_out, required_root
from vaefast.errors import DataError

ARRAYS = "arrays"
"""What a run calls data of such a file."""
SUFFIXES = (".npy", ".npz")


def load_arrays(root: str | Path | None, split: str = "train", *, data_shape: Sequence[int] | None = None,
                test_fraction: float = 0.1) -> ArraySet:
    """Examples in a .npz or .npy file, [N, *data_shape]: real numbers, or uint8 that counts as [0, 1].

    Arrays are found by name, and parted into training and test examples, as those of images are (`vaefast.data.npz`): `x`,
    `data`, `x_train`, `train_data`, ..., else the first array of two dimensions or more. Nothing pickled is ever loaded.

    Args:
        root: the file, or a folder that holds exactly one.
        split: "train", "test" or "all".
        data_shape: shape of an example, which an axis of one channel may be missing of; as the file has it, if None.
        test_fraction: of the examples, where the file has no splits.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is damaged, holds pickled objects or no examples of that shape, NaN, or infinity.
    """
    check_split(split, ("train", "test", "all"))
    path = locate(required_root(root, "a .npz or .npy file"))
    shape = None if data_shape is None else tuple(data_shape)
    ranks = range(2, 10) if shape is None else (len(shape) + 1, len(shape))
    found, notes = read_arrays(path, split, ranks)
    for note in notes:
        warnings.warn(note, stacklevel=3)
    if len({x.shape[1:] for x, _ in found.pairs}) > 1:
        raise DataError(f"{path} holds parts of several shapes; load one split.")
    values = np.concatenate([x for x, _ in found.pairs]) if len(found.pairs) > 1 else found.pairs[0][0]
    labels = [y for _, y in found.pairs if y is not None]
    whole = np.concatenate(labels) if len(labels) == len(found.pairs) else None
    if split != "all" and not found.parted:
        if len(values) < 2:
            raise DataError(f'{path} holds one example, which cannot be parted; the split "all" has it.')
        rows = np.flatnonzero(np.array(held_out([str(i) for i in range(len(values))], test_fraction)) == (split == "test"))
        values, whole = values[rows], None if whole is None else whole[rows]
    try:
        arrays = as_array_set(values, shape)
        return ArraySet(arrays.values, _labels(whole, len(values)), name=path.name, split=split)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _labels(labels: np.ndarray | None, count: int) -> torch.Tensor | None:
    """Integers, one an example; anything else is no label."""
    if labels is None or labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, 1)):
        return None
    return torch.from_numpy(labels.reshape(-1).astype(np.int64))


def reads_as_images(path: str | Path) -> bool:
    """Whether the examples of a .npz or .npy file are read as images: arrays [N, H, W], [N, C, H, W] or [N, H, W, C].

    Raises:
        DataNotFoundError, DataError: as `load_arrays`.
    """
    found, _ = read_arrays(locate(required_root(path, "a .npz or .npy file")), "all", range(1, 10))
    return found.pairs[0][0].ndim in IMAGE_RANKS
