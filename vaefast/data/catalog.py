"""The data sets by name. A new one is a file with its loader and a line here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vaefast.data.binary import binarized
from vaefast.data.celeba import load_celeba
from vaefast.data.celeba_hq import load_celeba_hq
from vaefast.data.cifar10 import load_cifar10
from vaefast.data.classes import hold_out, of_classes
from vaefast.data.digits import load_digits
from vaefast.data.dsprites import load_dsprites
from vaefast.data.folder import load_folder
from vaefast.data.image_set import ImageSet
from vaefast.data.lfw import load_lfw, load_lfw45
from vaefast.data.lsun import load_lsun
from vaefast.data.mnist import load_fashion_mnist, load_mnist
from vaefast.data.npz import load_npz
from vaefast.errors import ArgumentError

# Every loader takes (root, split, *, download, size) and whatever options it has of its own.
_LOADERS: dict[str, Callable[..., ImageSet]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "fashion-mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
    "celeba": load_celeba,
    "celeba-hq": load_celeba_hq,
    "lfw": load_lfw,
    "lfw45": load_lfw45,
    "lsun": load_lsun,
    "dsprites": load_dsprites,
    "folder": load_folder,
    "npz": load_npz,
}


def names() -> tuple[str, ...]:
    """The names that `load` knows."""
    return tuple(_LOADERS)


def about(name: str) -> str:
    """One line on a data set.

    Raises:
        ArgumentError: unknown name.
    """
    return (inspect.getdoc(_loader(name)) or "").split("\n")[0]


def load(
    name: str,
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    classes: Any = None,
    held_out: int | None = None,
    binarize: bool = False,
    **options: Any,
) -> ImageSet:
    """Load a data set by name.

    Args:
        name: one of `names()`; `about(name)` says what it is.
        root: where its files are; see the loader of each. None: the cache's `data` folder.
        split: "train" or "test"; some sets also have "all", celeba "valid".
        download: fetch missing files where the set has public mirrors.
        size: the images' size where the set offers a choice, an int for squares or (H, W).
        classes: of a labelled set, the classes to take alone: label values or names, in a list or in one string ("1,7").
            Labels are then 0, 1, ... in this order.
        held_out: so many of the training images (after `classes`), always the same, are the test split, and the set's own test
            images are not used.
        binarize: make every value at 0.5 or above 1, and every other 0.
        options: the loader's own, e.g. `verify` (mnist, fashion-mnist, cifar10, celeba), `crop`, `filter`, `on_bad` (folder and
            all others that decode pictures), `partition` (celeba), `category` (lsun).

    Raises:
        ArgumentError: unknown name, split or option, or a value that cannot work.
        DataNotFoundError: files are missing.
        DataError: files are damaged or of the wrong kind.
    """
    loader = _loader(name)
    accepted = options_of(name)
    for option in options:
        if option not in accepted:
            has = f"its options are {', '.join(accepted)}" if accepted else "it has none"
            raise ArgumentError(f"data set {name!r} has no option {option!r}; {has}.")
    if held_out is not None and split not in ("train", "test"):
        raise ArgumentError(f"held_out parts training images in train and test; split {split!r} does not go with it.")
    if not isinstance(binarize, bool):
        raise ArgumentError(f"binarize is {binarize!r}; expected true or false.")
    images = loader(root, "train" if held_out is not None else split, download=download, size=size, **options)
    images = images if classes is None else of_classes(images, classes)
    images = images if held_out is None else hold_out(images, held_out, split)
    return binarized(images) if binarize else images


def options_of(name: str) -> tuple[str, ...]:
    """The options that a data set's loader has of its own, beside those of `load`.

    Raises:
        ArgumentError: unknown name.
    """
    common = ("root", "split", "download", "size")
    return tuple(p for p in inspect.signature(_loader(name)).parameters if p not in common)


def _loader(name: str) -> Callable[..., ImageSet]:
    if name not in _LOADERS:
        own = f" {name} is a path; for data of your own choose folder or npz, with the path as root (--data-root)."
        raise ArgumentError(f"there is no data set {name!r}; choose one of {', '.join(_LOADERS)}."
                            f"{own if Path(name).exists() else ''}")
    return _LOADERS[name]
