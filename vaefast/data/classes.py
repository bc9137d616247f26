"""Some classes of a labelled data set, and images held out of its training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from vaefast.data.image_set import ImageSet
from vaefast.errors import ArgumentError, DataError

_SEED = 0  # of the images held out: the same ones in every run


def of_classes(images: ImageSet, classes: Any) -> ImageSet:
    """The images of some classes alone, with labels from 0 in the order in which the classes are named.

    Args:
        classes: label values or names of classes, in a sequence or, as on a command line, in one string: "1,7",
            "automobile,horse".

    Raises:
        DataError: the set has no labels, or no image of a class.
        ArgumentError: no such class, one named twice, or none at all.
    """
    if images.labels is None:
        raise DataError(f"classes is {classes!r}, and {images.name} has no labels; leave it out.")
    known = images.classes or tuple(str(i) for i in range(images.num_classes))
    chosen = [_number(images, known, one) for one in _listed(classes)]
    if not chosen or len(set(chosen)) < len(chosen):
        raise ArgumentError(f"classes is {classes!r}; expected one or more different classes of {images.name}.")
    place = torch.full((len(known),), -1)
    place[chosen] = torch.arange(len(chosen))
    labels = place[images.labels]
    if missing := [known[c] for i, c in enumerate(chosen) if not bool((labels == i).any())]:
        raise DataError(f"{images.name}/{images.split} has no image of class {missing[0]!r}.")
    mask = labels >= 0
    names = tuple(known[c] for c in chosen)
    return replace(images.subset(mask), labels=labels[mask], classes=names,
                   note=" ".join(filter(None, [images.note, f"Classes {', '.join(names)} alone."])))


def hold_out(images: ImageSet, count: Any, split: str) -> ImageSet:
    """The training part without `count` images drawn at random (always the same ones), or, as split "test", those.

    Raises:
        ArgumentError: not at least one image held out, or none left.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 0 < count < len(images):
        raise ArgumentError(f"held_out is {count!r}; expected a whole number from 1 to {len(images) - 1:,}, fewer than there are "
                            f"{images.name} training images.")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(_SEED))
    part = images.subset((order[:count] if split == "test" else order[count:]).sort().values)
    note = f"Test images are {count:,} held out of the training images."
    return replace(part, split=split, note=" ".join(filter(None, [images.note, note])))


def _listed(classes: Any) -> Sequence[Any]:
    if isinstance(classes, str):
        return [one.strip() for one in classes.split(",") if one.strip()]
    return list(classes) if isinstance(classes, (list, tuple)) else [classes]


def _number(images: ImageSet, known: Sequence[str], one: Any) -> int:
    """The label value that `one` stands for: a name, or the value itself."""
    if one in known:
        return known.index(one)
    value = int(one) if isinstance(one, str) and one.isdecimal() else one
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(known):
        raise ArgumentError(f"there is no class {one!r} in {images.name}; choose of {', '.join(known)}, or of 0 to "
                            f"{len(known) - 1}.")
    return value
