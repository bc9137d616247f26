"""The one form in which images reach the rest of the package: a tensor, its labels, and where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from vaefast.data.labels import require_vectors
from vaefast.digest import tensor_digest
from vaefast.errors import ArgumentError, DataError
from vaefast.pixel_values import as_unit


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet(Dataset):
    """A data set of equally sized images, held whole.

    Attributes:
        images: [N, C, H, W] on the CPU, contiguous; uint8 in 0..255, or float32 in [0, 1]. It may be a
            copy-on-write memory map of a cache file: writing to it never changes the file.
        labels: int64 [N], or None where the set has none.
        name: the data set's name, e.g. "mnist".
        split: "train", "test" or "all".
        classes: the name of each label value, or None.
        note: what a reader of results should know (lossy copies, skipped files), or "".
        factors: int64 [N, F], the values' numbers of the factors that an image was made from, where they are known, else None.
        factor_names: the name of each factor, or ().
        condition: float [N, d], vectors that a model is conditioned on, or None.

    As a torch Dataset, item i is `(image, label)` - image [C, H, W] of the set's dtype, label an int - where there
    are labels, and the image alone where there are none. Two sets are equal only when they are the same object;
    compare `digest` to compare content.

    Raises:
        DataError: the tensors do not have these shapes and dtypes, or there is no image.
    """

    images: torch.Tensor
    labels: torch.Tensor | None = None
    name: str = "array"
    split: str = "train"
    classes: tuple[str, ...] | None = None
    note: str = ""
    factors: torch.Tensor | None = None
    factor_names: tuple[str, ...] = ()
    condition: torch.Tensor | None = None
    _digest: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if not isinstance(images, torch.Tensor) or images.dtype not in (torch.uint8, torch.float32):
            got = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
            raise DataError(f"images must be a uint8 or float32 tensor, not {got}; vaefast.data.as_image_set converts.")
        if images.ndim != 4 or 0 in images.shape:
            raise DataError(f"images must have shape [N, C, H, W] with no size 0, not {list(images.shape)}.")
        if labels is not None:
            if not isinstance(labels, torch.Tensor) or labels.dtype != torch.int64 or labels.ndim != 1:
                raise DataError("labels must be an int64 tensor [N].")
            if len(labels) != len(images):
                raise DataError(f"there are {len(labels):,} labels for {len(images):,} images; there must be one each.")
            object.__setattr__(self, "labels", labels.detach().cpu().contiguous())
        factors = self.factors
        if factors is not None:
            if factors.dtype != torch.int64 or factors.shape != (len(images), len(self.factor_names)):
                raise DataError(f"factors have shape {list(factors.shape)} and {factors.dtype}; expected int64 [N, F] of "
                                f"{len(images):,} images and {len(self.factor_names)} factor_names.")
            object.__setattr__(self, "factors", factors.detach().cpu().contiguous())
        require_vectors(self.condition, len(images))
        object.__setattr__(self, "images", images.detach().cpu().contiguous())
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        if self.labels is None:
            return self.images[int(index)]
        return self.images[int(index)], int(self.labels[int(index)])

    def __repr__(self) -> str:
        c, h, w = self.image_shape
        parts = [f"{self.name}/{self.split}", f"{len(self):,} images {c}x{h}x{w}", str(self.images.dtype)[6:]]
        if self.labels is not None:
            parts.append(f"{self.num_classes} classes")
        return f"ImageSet({', '.join(parts)})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        c, h, w = self.images.shape[1:]
        return int(c), int(h), int(w)

    @property
    def num_classes(self) -> int:
        """How many label values there are: the named classes, else the largest label + 1; 0 without labels."""
        if self.labels is None:
            return 0
        return len(self.classes) if self.classes is not None else int(self.labels.max()) + 1

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of dtype, shape, pixels, labels and vectors; names and notes do not count. Computed once."""
        if self._digest is None:
            vectors = [] if self.condition is None else [("condition", self.condition)]
            object.__setattr__(self, "_digest", tensor_digest([("", self.images), ("", self.labels), *vectors]))
        assert self._digest is not None
        return self._digest

    def subset(self, indices: slice | Sequence[int] | np.ndarray | torch.Tensor) -> ImageSet:
        """The images at `indices` (a slice, integers of any kind, or a boolean mask [N]), in that order.

        A slice of step 1 shares memory with this set; anything else copies.

        Raises:
            ArgumentError: an index is outside the set, the mask has another length, or nothing is selected.
        """
        if isinstance(indices, slice):
            forward = (indices.step or 1) > 0  # torch slices only forwards
            chosen = indices if forward else torch.tensor(range(len(self))[indices], dtype=torch.long)
        else:
            chosen = torch.as_tensor(indices)
            if chosen.dtype == torch.bool:
                if chosen.shape != (len(self),):
                    raise ArgumentError(f"the mask has shape {list(chosen.shape)}; the set has {len(self):,} images.")
            elif chosen.numel() and (chosen.ndim != 1 or chosen.is_floating_point()):
                raise ArgumentError("indices must be a slice, a list of integers, or a boolean mask.")
            elif chosen.numel() and not -len(self) <= int(chosen.min()) <= int(chosen.max()) < len(self):
                raise ArgumentError(
                    f"indices {int(chosen.min())}..{int(chosen.max())} do not lie in this set of {len(self):,} images."
                )
            chosen = chosen if chosen.dtype == torch.bool else chosen.long()
        images = self.images[chosen]
        if len(images) == 0:
            raise ArgumentError(f"the subset of {self.name}/{self.split} would be empty.")
        labels, factors, condition = (None if t is None else t[chosen] for t in (self.labels, self.factors, self.condition))
        return replace(self, images=images, labels=labels, factors=factors, condition=condition)


def to_float(batch: torch.Tensor) -> torch.Tensor:
    """Images as floats in [0, 1]: uint8 becomes float32 divided by 255, floats are returned unchanged.

    Works on any shape and device.

    Raises:
        ArgumentError: another dtype.
    """
    if batch.dtype == torch.uint8 or batch.is_floating_point():
        return as_unit(batch)
    raise ArgumentError(f"images must be uint8 or floating point, not {batch.dtype}.")
