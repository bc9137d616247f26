"""CIFAR-10 (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", Toronto, 2009), in four forms."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from vaefast.data.cifar_files import parse_binary, parse_python
from vaefast.data.decode import DecodeOptions, decode_files
from vaefast.data.image_set import ImageSet
from vaefast.data.pictures import has_suffix
from vaefast.data.roots import as_size, check_split, data_root
from vaefast.data.sources import Source, SourceFile, open_source
from vaefast.errors import ArgumentError, DataError, DataNotFoundError

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FORMS = ("python", "binary", "jpeg")
_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
_COUNT = {"train": 50_000, "test": 10_000}
_JPEG_NOTE = "Lossy JPEG copies: figures are not comparable with those on CIFAR-10's exact pixels."


def load_cifar10(
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    form: str | None = None,
    jpeg75: bool = False,
    verify: bool = True,
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """CIFAR-10: 50,000 training or 10,000 test photographs in ten classes, [N, 3, 32, 32] uint8.

    Args:
        root: an archive, the folder it unpacks to, or a folder that holds one of these, perhaps in `cifar10/` or
            `cifar10-jpeg/`: cifar-10-python.tar.gz (cifar-10-batches-py), cifar-10-binary.tar.gz
            (cifar-10-batches-bin), or JPEG or PNG files as train/CLASS/NAME and test/CLASS/NAME in a folder or
            cifar10-jpeg.zip. It is not downloaded.
        split: "train" or "test".
        size: 32 or None; nothing else.
        form: "python", "binary" or "jpeg" to demand that form; None takes the first there is, in this order.
        jpeg75: write every image as JPEG of quality 75 (4:2:0) and read it back, as the 2019 Two-Stage VAE code does
            before its Table 1; for the exact forms only.
        verify: demand 5,000 (1,000) images of each class.
        cache, progress: as for `load_folder`; for files that need decoding.

    Raises:
        DataNotFoundError: no form of it is there.
        DataError: damaged or incomplete.
        ArgumentError: an impossible option.
    """
    check_split(split, ("train", "test"))
    if as_size(size) not in (None, (32, 32)):
        raise ArgumentError(f"CIFAR-10 comes in size 32; size={size!r} is not offered.")
    if form is not None and form not in _FORMS:
        raise ArgumentError(f"form {form!r} is unknown; choose one of {', '.join(_FORMS)}.")
    base = data_root(root)
    path = _locate(base, form)
    if path is None:
        raise DataNotFoundError(
            f"CIFAR-10{f' in form {form!r}' if form else ''} is not in {base}; put cifar-10-python.tar.gz or "
            "cifar-10-binary.tar.gz (from https://www.cs.toronto.edu/~kriz/cifar.html) or cifar10-jpeg.zip there, or "
            "pass the root that has one."
        )
    source = open_source(path)
    kind = _form_of(source)
    if form is not None and kind != form:
        raise DataError(f"{path} holds CIFAR-10 in form {kind!r}, but form {form!r} was asked for.")
    if kind == "jpeg":
        if jpeg75:
            raise ArgumentError("jpeg75 is for the exact forms of CIFAR-10; these files are lossy already.")
        images, labels = _read_pictures(source, split, cache, progress)
    else:
        images, labels = _read_batches(source, split, kind)
        images = _through_jpeg(images) if jpeg75 else images
    if verify:
        _check_counts(source, split, labels)
    note = _JPEG_NOTE if kind == "jpeg" or jpeg75 else ""
    return ImageSet(
        torch.from_numpy(images), torch.from_numpy(labels), name="cifar10", split=split, classes=_CLASSES, note=note
    )


def _locate(root: Path, form: str | None) -> Path | None:
    if root.is_file():
        return root
    bases = [root, root / "cifar10", root / "cifar-10", root / "cifar10-jpeg"]
    places = {
        "python": ("cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1"),
        "binary": ("cifar-10-batches-bin", "cifar-10-binary.tar.gz", "data_batch_1.bin"),
        "jpeg": ("cifar10-jpeg.zip", "train/airplane"),
    }
    for kind in _FORMS if form is None else (form,):
        for base in bases:
            for place in places[kind]:
                if (base / place).exists():
                    return base if place.startswith(("data_batch", "train")) else base / place
    return None


def _form_of(source: Source) -> str:
    names = {PurePosixPath(file.path).name for file in source.files}
    if "data_batch_1" in names or "test_batch" in names:
        return "python"
    if "data_batch_1.bin" in names or "test_batch.bin" in names:
        return "binary"
    if any(PurePosixPath(file.path).parent.name in _CLASSES for file in source.files):
        return "jpeg"
    raise DataError(f"{source.where} does not hold CIFAR-10 in any known form; check that this is the right file.")


def _read_batches(source: Source, split: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    by_name = {PurePosixPath(file.path).name: file for file in source.files}
    parse, suffix = (parse_python, "") if kind == "python" else (parse_binary, ".bin")
    parts = []
    for batch in _BATCHES[split]:
        file = by_name.get(batch + suffix)
        if file is None:
            raise DataError(f"{source.where} lacks {batch}{suffix}; fetch or unpack CIFAR-10 again.")
        try:
            images, labels = parse(source.read(file))
        except (OSError, ValueError) as error:
            raise DataError(f"{file.path} in {source.where} is no CIFAR-10 batch: {error}; fetch it again.") from None
        if len(images) != len(labels) or not len(labels) or labels.min() < 0 or labels.max() > 9:
            raise DataError(f"{file.path} in {source.where} must hold one label of 0..9 an image; fetch it again.")
        parts.append((images, labels))
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def _read_pictures(
    source: Source, split: str, cache: bool, progress: Callable[[int, int], None] | None
) -> tuple[np.ndarray, np.ndarray]:
    number = {name: i for i, name in enumerate(_CLASSES)}

    def label(file: SourceFile) -> int:
        *_, part, folder, _ = ("", "", *PurePosixPath(file.path).parts)
        return number.get(folder, -1) if part == split else -1

    files = [file for file in source.files if label(file) >= 0 and has_suffix(file)]
    if not files:
        raise DataError(f"{source.where} has no images in {split}/airplane and the other nine class folders.")
    options = DecodeOptions(channels=3)
    decoded = decode_files(source, files, options, cache=cache, progress=progress)
    if decoded.images.shape[2:] != (32, 32):
        height, width = decoded.images.shape[2:]
        raise DataError(f"{source.where} holds images of {height}x{width}, where CIFAR-10 has 32x32; check the files.")
    return decoded.images, np.array([label(file) for file in decoded.files], np.int64)


def _check_counts(source: Source, split: str, labels: np.ndarray) -> None:
    counts = np.bincount(labels, minlength=10)
    for name, count in zip(_CLASSES, counts, strict=True):
        if count != _COUNT[split] // 10:
            raise DataError(
                f"{source.where} holds {count:,} {split} images of class {name}, where CIFAR-10 has "
                f"{_COUNT[split] // 10:,}; fetch it again, or pass verify=False to use what is there."
            )


def _through_jpeg(images: np.ndarray) -> np.ndarray:
    """Each image written with Pillow's JPEG defaults and read back."""
    out = np.empty_like(images)

    def work(start: int) -> None:
        for i in range(start, min(start + 500, len(images))):
            file = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(images[i].transpose(1, 2, 0))).save(file, "JPEG", quality=75)
            out[i] = np.asarray(Image.open(file)).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, range(0, len(images), 500)))
    return out
