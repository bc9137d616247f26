"""The UCI handwritten digits, which ship with the package: real data without any download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
doi:10.24432/C50P49, licence CC BY 4.0 (its test part, as scikit-learn's `load_digits` has it). `uci_digits.npz` holds it
unchanged: 1,797 grey images of 8x8, uint8 from 0 to 16, and their labels.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vaefast.data.image_set import ImageSet
from vaefast.data.roots import as_size, check_split
from vaefast.errors import ArgumentError

FILE = Path(__file__).with_name("uci_digits.npz")


def load_digits(
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
) -> ImageSet:
    """The UCI digits, [N, 1, H, W] uint8: 1,442 to train on, 355 to test, or "all" 1,797.

    Values 0..16 are scaled to 0..255, then enlarged bilinearly. The last fifth (rounded down) of each class in file
    order is the test part.

    Args:
        root, download: not used; the data come with the package.
        size: of the images, at least 8; default 32.

    Raises:
        ArgumentError: an impossible split or size.
    """
    check_split(split, ("train", "test", "all"))
    height, width = as_size(size) or (32, 32)
    if min(height, width) < 8:
        raise ArgumentError(f"size={size!r} is below the 8x8 pixels of the original digits.")
    images, labels = _arrays(split, height, width)
    return ImageSet(
        torch.from_numpy(images.copy()), torch.from_numpy(labels.copy()), name="digits", split=split,
        classes=tuple("0123456789"),
    )


@lru_cache(maxsize=8)
def _arrays(split: str, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 1, height, width] and labels of a split: a tenth of a second, which a training and its scores ask for often."""
    with np.load(FILE, allow_pickle=False) as uci:
        digits, labels = uci["images"], uci["labels"].astype(np.int64)
    test = np.zeros(len(labels), bool)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        test[members[len(members) - len(members) // 5 :]] = True
    chosen = {"train": ~test, "test": test, "all": np.ones_like(test)}[split]
    small = np.rint(digits[chosen] * (255.0 / 16.0)).astype(np.uint8)
    images = np.empty((len(small), 1, height, width), np.uint8)
    for i, image in enumerate(small):
        images[i, 0] = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    return images, labels[chosen]
