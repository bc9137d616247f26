"""Any folder, zip or tar file of images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch

from vaefast.data.decode import Decoded, DecodeOptions, decode_files
from vaefast.data.image_set import ImageSet
from vaefast.data.roots import check_split, held_out, required_root
from vaefast.data.sources import SourceFile, common_folder, open_source
from vaefast.errors import DataError

_SPLIT_FOLDERS = {"train": ("train", "training"), "test": ("test", "val", "valid", "validation")}
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}


def load_folder(
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    filter: str = "bilinear",
    crop: int | Sequence[int] | str | None = None,
    channels: int | None = None,
    on_bad: str = "error",
    test_fraction: float = 0.1,
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """Any folder, zip or tar of images, perhaps in one sub-folder a class, [N, C, H, W] uint8.

    Files are taken in the order of their paths. Where the folder holds `train/` and `test/` (or, without `test/`,
    `val/`), these are the splits; else a tenth of the files, chosen by a hash of their paths, is the test part. Where
    every image lies in a sub-folder and there are two such sub-folders or more, these are the classes, numbered in the
    order of their names; else there are no labels.

    Args:
        root: the folder or archive. (`download` has no effect.)
        split: "train", "test" or "all".
        size: resize to this; needed where images differ in size.
        filter: of the resize: nearest, box, bilinear, hamming, bicubic or lanczos.
        crop: before the resize: an int or (height, width), cut from the centre, (top, left, height, width), or "square",
            the largest square in the centre of each image.
        channels: 1 or 3; None: 1 if all files are stored as grey, else 3. Transparency is laid over white.
        on_bad: what to do about a file that is no image, truncated, or of more than 2^26 pixels: "error" or "skip"
            (with a warning, and named in the set's `note`).
        test_fraction: of the files, where there is no test folder.
        cache: keep the decoded pixels in the cache folder and find them there again.
        progress: called with (files done, files in all); None shows a bar on a terminal.

    Raises:
        DataNotFoundError: there is no `root`.
        DataError: no images, a bad file, different sizes without `size`.
        ArgumentError: an impossible option.
    """
    check_split(split, ("train", "test", "all"))
    options = DecodeOptions.checked(size=size, filter=filter, crop=crop, channels=channels, on_bad=on_bad)
    source = open_source(required_root(root, "a folder, zip or tar file of images"))
    if not source.files:
        raise DataError(f"{source.where} holds no files; a folder or archive of images was expected.")
    layout = _Layout.of(source.files)
    files = layout.select(source.files, split, test_fraction)
    if not files:
        raise DataError(f'{source.where} has no files for split {split!r}; pass split="all" or another test_fraction.')
    decoded = decode_files(source, files, options, cache=cache, progress=progress)
    labels, classes = layout.labels(source.files, decoded.files)
    return ImageSet(
        torch.from_numpy(decoded.images), labels, name="folder", split=split, classes=classes,
        note=note_skipped(decoded),
    )


def note_skipped(decoded: Decoded) -> str:
    """A sentence on the files that were left out, also given as a warning; "" where there are none."""
    if not decoded.skipped:
        return ""
    total = len(decoded.files) + len(decoded.skipped)
    named = ", ".join(f"{path} {reason}" for path, reason in decoded.skipped[:3])
    more = ", ..." if len(decoded.skipped) > 3 else ""
    note = f"{len(decoded.skipped):,} of {total:,} files were left out: {named}{more}."
    warnings.warn(note, stacklevel=4)
    return note


@dataclass(frozen=True)
class _Layout:
    """How a tree of files is arranged: the folder they all lie in, and below it the folders of the splits, if any."""

    prefix: str
    folders: dict[str, str]  # split -> its folder, or empty

    @classmethod
    def of(cls, files: list[SourceFile]) -> _Layout:
        prefix = common_folder([file.path for file in files])
        tops = {file.path[len(prefix) :].partition("/")[0] for file in files if "/" in file.path[len(prefix) :]}
        own = {split: next((n for n in names if n in tops), "") for split, names in _SPLIT_FOLDERS.items()}
        return cls(prefix, own if all(own.values()) else {})

    def select(self, files: list[SourceFile], split: str, test_fraction: float) -> list[SourceFile]:
        if self.folders:
            wanted = set(self.folders.values()) if split == "all" else {self.folders[split]}
            return [file for file in files if file.path[len(self.prefix) :].partition("/")[0] in wanted]
        if split == "all":
            return files
        test = held_out([file.path[len(self.prefix) :] for file in files], test_fraction)
        return [file for file, out in zip(files, test, strict=True) if out == (split == "test")]

    def labels(
        self, files: list[SourceFile], chosen: list[SourceFile]
    ) -> tuple[torch.Tensor | None, tuple[str, ...] | None]:
        """Labels of `chosen` by the classes that all of `files` show, so that every split numbers them alike."""
        pictures = [file for file in files if PurePosixPath(file.path).suffix.lower() in SUFFIXES] or files
        classes = sorted({self._class_of(file) for file in pictures})
        number = {name: i for i, name in enumerate(classes)}
        if "" in number or len(number) < 2 or any(self._class_of(file) not in number for file in chosen):
            return None, None
        return torch.tensor([number[self._class_of(file)] for file in chosen]), tuple(classes)

    def _class_of(self, file: SourceFile) -> str:
        """The first folder below the split's; "" where the file lies in none."""
        inside = file.path[len(self.prefix) :]
        if self.folders:
            inside = inside.partition("/")[2]
        folder, slash, _ = inside.partition("/")
        return folder if slash else ""
