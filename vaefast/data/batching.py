"""From the items of a Dataset, or the batches of somebody's DataLoader, to batches of images (and labels).

This runs in the worker processes of a DataLoader. There nothing is raised: what is wrong comes back as a `Refused`, so that the
user reads one sentence and not a worker's traceback.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from vaefast.data.arrays import from_array, from_tensor, image_and_label_of, item_image, split_item
from vaefast.data.labels import as_labels
from vaefast.data.random_state import set_random_states
from vaefast.data.value_range import PixelRange
from vaefast.errors import DataError

Rows = tuple[Tensor, ...]
"""Images [B, C, H, W], uint8 or float32 in [0, 1]; and labels [B], where they are wanted."""
Raw = tuple[Tensor, Tensor | None]
"""Images [B, C, H, W] of any real dtype, and labels [B] where there are any."""
Key = tuple[Any, ...]
"""What the random state of an item follows from; the last entry is the item's index."""


@dataclass(frozen=True)
class Refused:
    """Why a batch could not be made; `trace` says where in the user's code, if it was there."""

    why: str
    trace: str = ""


class Items(Dataset):
    """A map-style Dataset that is asked for keys, and sets the random states for each item by its key."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __getitems__(self, keys: Sequence[Key]) -> list[Any]:
        """The index and the item of each key."""
        return [self._item(key) for key in keys]

    def _item(self, key: Key) -> Any:
        index = int(key[-1])
        set_random_states(*key)
        try:
            return index, self.data[index]
        except Exception as error:
            return Refused(f"item {index} could not be read: {type(error).__name__}: {error}.", traceback.format_exc())


class Iterated(IterableDataset):
    """Anything that can be iterated again, as the Dataset that a DataLoader wants."""

    def __init__(self, data: Iterable[Any]) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from enumerate(self.data)
        except Exception as error:
            yield Refused(f"it failed: {type(error).__name__}: {error}.", traceback.format_exc())


@dataclass(frozen=True)
class Collate:
    """Makes batches.

    Attributes:
        range: of the first images.
        image_shape: (C, H, W) of the first image.
        labels: whether labels are wanted, too.
        classes: the number of classes that labels must be below; None for any.
        word: what errors call an item.
    """

    range: PixelRange
    image_shape: tuple[int, ...]
    labels: bool = False
    classes: int | None = None
    word: str = "item"

    def __call__(self, items: list[Any]) -> Rows | Refused:
        """The batch of a list of (index, item)."""
        try:
            for item in items:
                if isinstance(item, Refused):
                    return item
            return self.rows(stacked(items, self.word, self.image_shape), lambda n: f"{self.word} {items[n][0]}")
        except DataError as error:
            return Refused(str(error))

    def of_batch(self, batch: Any) -> Rows:
        """The batch of what a DataLoader gave. Raises DataError."""
        return self.rows(split_batch(batch), "image {}".format)

    def rows(self, raw: Raw, name: Callable[[int], str]) -> Rows:
        """Images of one range and shape. Raises DataError for others, and for labels that are not as they should be."""
        images, labels = raw
        if tuple(images.shape[1:]) != self.image_shape:
            raise DataError(f"its images have shape {list(images.shape[1:])} [C, H, W], and the first had "
                            f"{list(self.image_shape)}; all must have the same shape: resize them first.")
        images = self.range.unit(images, name)
        if not self.labels:
            return (images,)
        if labels is None:
            raise DataError("its images have no integer labels, which this model is conditioned on.")
        if self.classes is not None and int(labels.max()) >= self.classes:
            raise DataError(f"a label is {int(labels.max())}; this model has classes={self.classes}, for labels from 0 to "
                            f"{self.classes - 1}.")
        return images, labels


def stacked(items: Sequence[tuple[int, Any]], word: str = "item", shape: tuple[int, ...] | None = None) -> Raw:
    """One batch of (index, item), whose images all have the `shape` of the first.

    Raises:
        DataError: an item that is no image, or of another shape or dtype; labels for some alone.
    """
    images: list[Tensor] = []
    labels: list[int] = []
    for index, item in items:
        picture, label = split_item(item, index)
        images.append(item_image(picture, index, None))
        first, last = shape or tuple(images[0].shape), images[-1]
        if tuple(last.shape) != first:
            raise DataError(f"{word} {index} is an image [C, H, W] = {list(last.shape)}, and the first is {list(first)}; all "
                            "must have the same shape: resize them first.")
        if last.dtype != images[0].dtype:
            raise DataError(f"{word} {index} is {last.dtype} and another of its batch {images[0].dtype}; all must have the same "
                            "dtype.")
        if label is not None:
            labels.append(label)
    if labels and len(labels) < len(images):
        raise DataError(f"{len(labels)} of {len(images)} items have an integer label; all must have one, or none.")
    return torch.stack(images), as_labels(labels, len(images)) if labels else None


def split_batch(batch: Any) -> Raw:
    """Images and labels of what a DataLoader gave: a tensor or array of images, alone or first in a tuple or list, or an entry of
    a mapping; or a list of items, as a collate_fn of the user's may leave them.

    Raises:
        DataError: anything else.
    """
    if isinstance(batch, (list, tuple)) and batch and _are_items(batch):
        return stacked(list(enumerate(batch)))
    images, labels = image_and_label_of(batch, "the batch")
    if isinstance(images, Tensor):
        images = from_tensor(images, None)
    elif isinstance(images, np.ndarray) and images.dtype != object:
        images = from_array(images, None)
    else:
        raise DataError(f"it is a {type(images).__name__}; a tensor of images [B, C, H, W] was expected, alone or with labels: "
                        "see the DataLoader's collate_fn.")
    if isinstance(labels, (Tensor, np.ndarray, list)) and len(labels) == len(images):
        try:
            return images, as_labels(labels, len(images))
        except DataError:  # captions, coordinates: no labels
            return images, None
    return images, None


def _are_items(batch: Sequence[Any]) -> bool:
    """Whether a list holds items, each an image, and not images and labels."""
    first = batch[0]
    if isinstance(first, (Image.Image, tuple, list, Mapping)):
        return True
    shapes = {tuple(x.shape) if isinstance(x, (Tensor, np.ndarray)) else () for x in batch}
    return len(batch) > 1 and len(shapes) == 1 and len(next(iter(shapes))) in (2, 3)
