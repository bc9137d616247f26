"""MNIST and Fashion-MNIST, from their four IDX files.

MNIST: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Proc. IEEE 86(11), 1998. Fashion-MNIST: H. Xiao, K. Rasul,
R. Vollgraf, arXiv:1708.07747. Both: 60,000 + 10,000 grey images of 28x28 in ten classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from vaefast.data.download import fetch
from vaefast.data.idx import IdxFile, read_idx
from vaefast.data.image_set import ImageSet
from vaefast.data.roots import check_split, data_root
from vaefast.errors import ArgumentError, DataError, DataNotFoundError

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class _Family:
    """One data set of MNIST's form: where its files lie, where they can be had, and what they must contain."""

    name: str
    title: str
    folders: tuple[str, ...]
    mirrors: Sequence[str]
    classes: tuple[str, ...]
    md5: dict[str, str]  # of the uncompressed content: gzip wrappings differ between mirrors


MNIST = _Family(
    name="mnist",
    title="MNIST",
    folders=("mnist", "MNIST/raw", "."),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    classes=tuple("0123456789"),
    md5={
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
)

FASHION_MNIST = _Family(
    name="fashion-mnist",
    title="Fashion-MNIST",
    folders=("fashion-mnist", "FashionMNIST/raw", "."),
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    classes=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    md5={
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
)


def load_mnist(
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    verify: bool = True,
) -> ImageSet:
    """MNIST: 60,000 training or 10,000 test digits, [N, 1, 28, 28] uint8, in the original order.

    Args:
        root: the folder of the files `train-images-idx3-ubyte`, ..., with or without `.gz`, or one that holds them
            in `mnist/` or `MNIST/raw/` (torchvision's layout). None: `$VAEFAST_CACHE/data`.
        download: fetch missing files into `root/mnist` from the public mirrors.
        size: 28 (also None), or 32 for two rows and columns of zeros on each side.
        verify: demand the published content (MD5 of the uncompressed files). Without it any valid IDX pair loads.

    Raises:
        DataNotFoundError: a file is missing and could not be downloaded.
        DataError: a file is damaged, swapped, or not MNIST's.
        ArgumentError: an impossible split or size.
    """
    return _load(MNIST, root, split, download, size, verify)


def load_fashion_mnist(
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    verify: bool = True,
) -> ImageSet:
    """Fashion-MNIST: 60,000 training or 10,000 test articles, [N, 1, 28, 28] uint8, in the original order.

    Arguments and errors as for `load_mnist`; the folders are `root/fashion-mnist`, `root/FashionMNIST/raw`, `root`.
    """
    return _load(FASHION_MNIST, root, split, download, size, verify)


def _load(
    family: _Family,
    root: str | Path | None,
    split: str,
    download: bool,
    size: int | tuple[int, int] | None,
    verify: bool,
) -> ImageSet:
    check_split(split, ("train", "test"))
    side = size[0] if isinstance(size, (tuple, list)) and len(set(size)) == 1 else size
    if side not in (None, 28, 32):
        raise ArgumentError(f"{family.title} comes in size 28, or 32 with a margin of zeros; size={size!r} is neither.")
    image_path, label_path = _locate(family, data_root(root), split, download)
    image_file = read_idx(image_path, 3)
    label_file = read_idx(label_path, 1)
    if verify:
        for file, stem in zip((image_file, label_file), _FILES[split], strict=True):
            _verify(family, file, stem)
    if len(image_file.values) != len(label_file.values):
        raise DataError(
            f"{image_path} holds {len(image_file.values):,} images but {label_path} holds "
            f"{len(label_file.values):,} labels; they must come from the same set."
        )
    images = torch.from_numpy(image_file.values)[:, None]
    labels = torch.from_numpy(label_file.values).long()
    if side == 32:
        if images.shape[2:] != (28, 28):
            raise ArgumentError(f"size=32 needs 28x28 images; {image_path} holds {images.shape[2]}x{images.shape[3]}.")
        images = torch.nn.functional.pad(images, (2, 2, 2, 2))
    elif side == 28 and images.shape[2:] != (28, 28):
        raise ArgumentError(f"{image_path} holds images of {images.shape[2]}x{images.shape[3]}, not 28x28.")
    classes = family.classes if int(labels.max()) < len(family.classes) else None
    return ImageSet(images, labels, name=family.name, split=split, classes=classes)


def _find(folder: Path, stem: str) -> Path | None:
    """The file `stem` in `folder`: plain or .gz, and also with the dot that some unpackers write for the dash."""
    for base in (stem, stem.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (folder / (base + suffix)).is_file():
                return folder / (base + suffix)
    return None


def _locate(family: _Family, root: Path, split: str, download: bool) -> tuple[Path, Path]:
    """The image and label files of a split, downloaded if need be; the two always from the same folder."""
    folders = [root / name for name in family.folders]
    paths = [[_find(folder, stem) for stem in _FILES[split]] for folder in folders]
    best = max(range(len(folders)), key=lambda i: sum(path is not None for path in paths[i]))  # first of equals
    missing = [stem for stem, path in zip(_FILES[split], paths[best], strict=True) if path is None]
    failures: list[str] = []
    if missing and download:
        for i, stem in enumerate(_FILES[split]):
            if paths[best][i] is None and not failures:
                target = folders[best] / f"{stem}.gz"
                urls = [f"{mirror}{stem}.gz" for mirror in family.mirrors]
                failures = fetch(urls, target, partial(_verify_download, family, stem=stem))
                paths[best][i] = target
    if missing and (failures or not download):
        looked = " or ".join(str(folder) for folder in folders)
        why = f"could not be downloaded ({'; '.join(failures)})" if failures else "download is off"
        wanted = ", ".join(_FILES["train"] + _FILES["test"])
        raise DataNotFoundError(
            f"{family.title}: {' and '.join(missing)} (with or without .gz) is not in {looked}, and {why}; "
            f"put the files {wanted} into one of these folders or pass the root that has them."
        )
    images, labels = paths[best]
    assert images is not None and labels is not None
    return images, labels


def _ndim(stem: str) -> int:
    return 3 if "images" in stem else 1


def _mismatch(family: _Family, file: IdxFile, stem: str) -> str | None:
    """What is wrong with the content of `file`, or None where it is the published one."""
    if file.md5 == family.md5[stem]:
        return None
    known = {md5: f"{f.title}'s {name}" for f in (MNIST, FASHION_MNIST) for name, md5 in f.md5.items()}
    held = known.get(file.md5, "other content")
    return f"holds {held} (MD5 {file.md5}), not {family.title}'s {stem} (MD5 {family.md5[stem]})"


def _verify(family: _Family, file: IdxFile, stem: str) -> None:
    if wrong := _mismatch(family, file, stem):
        raise DataError(f"{file.path} {wrong}; replace the file, or pass verify=False to use it as it is.")


def _verify_download(family: _Family, path: Path, stem: str) -> None:
    if wrong := _mismatch(family, read_idx(path, _ndim(stem)), stem):
        raise DataError(f"{path} {wrong}")
