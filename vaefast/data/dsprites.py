"""dSprites: white shapes on black, made from known factors, for scores of disentanglement.

Source: L. Matthey, I. Higgins, D. Hassabis, A. Lerchner, "dSprites: Disentanglement testing Sprites dataset", 2017,
github.com/google-deepmind/dsprites-dataset.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from vaefast.data.image_set import ImageSet
from vaefast.data.npz import array_header, locate
from vaefast.data.roots import as_size, check_split, required_root
from vaefast.errors import ArgumentError, DataError

FACTORS = ("shape", "scale", "orientation", "position x", "position y")
SHAPES = ("square", "ellipse", "heart")
_ROWS = 4096  # read at a time: the whole is 3 GB
_SEED = 0  # of the images that are taken, and of those held out: the same ones in every run
_TEST = 10  # every so manieth of them is a test image


def load_dsprites(
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    limit: int | None = 100_000,
) -> ImageSet:
    """dSprites: 737,280 shapes of 64x64, every combination of shape, scale, orientation and place once; `factors` has these.

    Labels are the shapes. The images taken are drawn at random, and a tenth of them is the test part.

    Args:
        root: the .npz file of the authors, or a folder that holds it alone. (`download` has no effect.)
        split: "train", "test" or "all".
        size: None, or 64.
        limit: take so many images of all splits together; None for all, which are 3 GB.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is damaged, or another.
        ArgumentError: an impossible split, size or limit.
    """
    check_split(split, ("train", "test", "all"))
    if as_size(size) not in (None, (64, 64)):
        raise ArgumentError(f"size is {size!r}; the images of dSprites are 64x64, and not resized.")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < _TEST):
        raise ArgumentError(f"limit is {limit!r}; expected a whole number of {_TEST} or more, or None for all images.")
    path = locate(required_root(root, "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"))
    try:
        with zipfile.ZipFile(path) as archive, archive.open("latents_classes.npy") as file:
            latents = np.lib.format.read_array(file, allow_pickle=False)
        if latents.ndim != 2 or latents.shape[1] != 1 + len(FACTORS):
            raise DataError(f"{path} has latents_classes of shape {list(latents.shape)}; those of dSprites are [N, 6].")
        order = torch.randperm(len(latents), generator=torch.Generator().manual_seed(_SEED)).numpy()[:limit]
        test = np.arange(len(order)) % _TEST == 0
        rows = np.sort(order if split == "all" else order[test == (split == "test")])
        images = _rows(path, rows, len(latents))
    except DataError:
        raise
    except (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as dSprites' .npz ({error}); download it again.") from None
    factors = torch.from_numpy(latents[rows, 1:].astype(np.int64))  # the first one, colour, has one value
    return ImageSet(torch.from_numpy(images), factors[:, 0].contiguous(), name="dsprites", split=split, classes=SHAPES,
                    factors=factors, factor_names=FACTORS)


def _rows(path: Path, rows: np.ndarray, count: int) -> np.ndarray:
    """The images in rows (sorted) of the array `imgs`, uint8 [len(rows), 1, 64, 64] of 0 and 255; read in parts."""
    images = np.empty((len(rows), 1, 64, 64), np.uint8)
    with zipfile.ZipFile(path) as archive, archive.open("imgs.npy") as file:
        shape, by_column, dtype = array_header(file)
        if shape != (count, 64, 64) or by_column or dtype != np.uint8:
            raise DataError(f"{path} has imgs of shape {list(shape)} and {dtype}; expected uint8 [{count:,}, 64, 64].")
        for start in range(0, count, _ROWS):
            part = file.read(min(_ROWS, count - start) * 64 * 64)
            low, high = np.searchsorted(rows, (start, start + _ROWS))
            pixels = np.frombuffer(part, np.uint8).reshape(-1, 64, 64)
            images[low:high, 0] = pixels[rows[low:high] - start]
    if images.max(initial=0) > 1:
        raise DataError(f"{path} has values up to {images.max()} in imgs; those of dSprites are 0 and 1.")
    images *= 255  # in place: the whole set is 3 GB
    return images
