"""From images in any form to feature rows: one pass, in blocks, by any extractor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import data
from ..data.roots import expanded
from ..errors import ArgumentError, DataNotFoundError
from .inception_input import checked_images, rounded, stretched

Extractor = Callable[[Tensor], Tensor]
BLOCK = 1000  # images a call of the extractor, and rows an update: few enough to hold, many enough for a matrix product


def open_images(images: Any, *, size: int | tuple[int, int] | None = None, on_bad: str = "error") -> Any:
    """What `images` stands for: the ImageSet of a path (folder, zip, tar, .npz, .npy), anything else as it is.

    All images of a path are taken, whatever splits it has. Folders and archives are decoded in parallel; `size` (int, or height
    and width) resizes their images, which may then differ in size, and `on_bad="skip"` leaves out files that are no sound images.
    """
    if not isinstance(images, (str, os.PathLike)):
        return images
    path = Path(images)
    numpy_file = path.suffix in (".npz", ".npy")
    if numpy_file:
        return data.load("npz", path, split="all", size=size)
    return data.load("folder", path, split="all", size=size, on_bad=on_bad, cache=False)


def check_paths(*images: Any) -> None:
    """Raise DataNotFoundError for a path that is not there: before the network is loaded, or fetched, for it."""
    for path in images:
        if isinstance(path, (str, os.PathLike)) and not expanded(path).exists():
            raise DataNotFoundError(f"{os.fspath(path)} does not exist; a folder, zip, tar or .npz of images was expected there.")


def image_batches(images: Any, *, stretch: bool = False, round_to_uint8: bool = False) -> Iterator[Tensor]:
    """Batches of at most `BLOCK` images [B, C, H, W], uint8 or float in [0, 1], after the changes asked for.

    Args:
        images: a tensor [N, C, H, W], an ImageSet, a path as `open_images` takes it, or an iterable of such tensors.

    Raises:
        ArgumentError: another shape, dtype or range. DataError: a path that holds no images.
    """
    images = open_images(images)
    images = getattr(images, "images", images)
    if isinstance(images, Tensor):
        images = (images,)
    elif not isinstance(images, Iterable):
        raise ArgumentError(f"Images must be a tensor, an ImageSet, a path, or batches of tensors, got {type(images).__name__}.")
    for chunk in images:
        for start in range(0, len(chunk), BLOCK):
            batch = checked_images(chunk[start : start + BLOCK])
            batch = stretched(batch) if stretch else batch
            yield rounded(batch) if round_to_uint8 else batch


def feature_batches(extractor: Extractor, images: Any, **changes: bool) -> Iterator[Tensor]:
    """Feature rows [B, F] of `image_batches(images, **changes)`.

    Raises:
        ArgumentError: the extractor gives something else than one row an image.
    """
    for batch in image_batches(images, **changes):
        with torch.no_grad():
            rows = extractor(batch)
        if not isinstance(rows, Tensor) or rows.ndim != 2 or len(rows) != len(batch):
            given = list(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise ArgumentError(f"The extractor made {given} of {len(batch)} images; expected a tensor [{len(batch)}, features].")
        yield rows


def extract_features(extractor: Extractor, images: Any, *, stretch: bool = False, rounded: bool = False) -> Tensor:
    """Features [N, F] of images.

    Args:
        extractor: any callable from images [B, C, H, W] to features [B, F]: an `Inception`, the `features` of a classifier,
            your own network. It gets uint8 or floats as they are here.
        images: a tensor [N, C, H, W] (uint8, or float in [0, 1]; 1 or 3 channels), an ImageSet, the path of a folder,
            archive or .npz, or an iterable of tensors.
        stretch: darkest value of each image to 0, brightest to 1, first.
        rounded: floats to the 256 levels of an image file, first.

    Raises:
        ArgumentError: images of another kind, none at all, or rows that do not fit them. DataError: an unusable path.
    """
    parts = list(feature_batches(extractor, images, stretch=stretch, round_to_uint8=rounded))
    if not parts:
        raise ArgumentError("There are no images to take features of.")
    return torch.cat(parts)


def extractor_name(extractor: Extractor) -> str:
    """How a report calls it."""
    return str(getattr(extractor, "identity", None) or getattr(extractor, "__name__", None) or type(extractor).__name__)
