"""Any folder, zip or tar file of images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vaefast.data.decode import Decoded, DecodeOptions, decode_files
from vaefast.data.image_set import ImageSet
from vaefast.data.pictures import pictures
from vaefast.data.roots import SPLIT_NAMES, check_split, held_out, required_root
from vaefast.data.sources import SourceFile, common_folder, open_source
from vaefast.errors import DataError

_SPLIT_NAMES = {name for names in SPLIT_NAMES.values() for name in names}


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

    Files are taken in the order of their paths; those that are no pictures by their names are ignored. Where the folder holds
    `train/` and `test/` (or, without `test/`, `val/`, `validation/`, `dev/`, `eval/`, ...), these are the splits; else a tenth of
    the files, chosen by a hash of their paths, is the test part. split="all" has every picture, wherever it lies. Where
    every image lies in a sub-folder and there are two such sub-folders or more, these are the classes, numbered in the
    order of their names; else there are no labels. Whatever is left out or ignored is said in one warning and in the `note`.

    Args:
        root: the folder or archive. (`download` has no effect.)
        split: "train", "test" or "all".
        size: resize to this; needed where images differ in size.
        filter: of the resize: nearest, box, bilinear, hamming, bicubic or lanczos.
        crop: before the resize: an int or (height, width), cut from the centre, (top, left, height, width), or "square",
            the largest square in the centre of each image.
        channels: 1 or 3; None: 1 if all files are stored as grey, else 3. Transparency is laid over white; of
            animations and documents the first picture is taken, with a warning.
        on_bad: what to do about a file that is no image, truncated, a link that leads nowhere, or of more than 2^26 pixels:
            "error" or "skip" (with a warning, and named in the set's `note`).
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
    every, ignored = pictures(source)
    layout = _Layout.of(every)
    files, left_out = layout.select(every, split, test_fraction)
    if not files:
        raise DataError(f'{source.where} has no files for split {split!r}; choose another test_fraction, or put some there.')
    decoded = decode_files(source, files, options, cache=cache, progress=progress)
    labels, classes, unlabelled = layout.labels(every, decoded.files)
    return ImageSet(
        torch.from_numpy(decoded.images), labels, name="folder", split=split, classes=classes,
        note=note_skipped(decoded, ignored, left_out, unlabelled),
    )


def note_skipped(decoded: Decoded, *more: str) -> str:
    """Sentences on what was left out, each also given as a warning; "" where there is nothing to say."""
    sentences = [text for text in (*more, *decoded.told()) if text]
    for text in sentences:
        warnings.warn(text, stacklevel=4)
    return " ".join(sentences)


@dataclass(frozen=True)
class _Layout:
    """How a tree of pictures is arranged.

    Attributes:
        prefix: the folder that the splits or classes lie in.
        folders: split -> the names of its folders below it; empty where a hash splits.
        note: a sentence on what of the tree's form is not followed, or "".
    """

    prefix: str
    folders: dict[str, list[str]]
    note: str = ""

    @classmethod
    def of(cls, files: list[SourceFile]) -> _Layout:
        common = common_folder([file.path for file in files])
        below: dict[str, set[str]] = {}
        for folder in {file.path.rpartition("/")[0] for file in files}:
            while folder:
                folder, _, name = folder.rpartition("/")
                below.setdefault(f"{folder}/" if folder else "", set()).add(name)
        with_splits = {prefix: splits for prefix, names in below.items() if (splits := _split_folders(names))}
        depth = min((prefix.count("/") for prefix in with_splits), default=0)
        highest = [prefix for prefix in with_splits if prefix.count("/") == depth]
        inside = sum(file.path.startswith(highest[0]) for file in files) if len(highest) == 1 else 0
        if 2 * inside > len(files):
            return cls(highest[0], with_splits[highest[0]])
        note = (f"{highest[0]} holds folders of training and test images, as not all of the tree does: they are not taken for "
                "the splits.") if highest else ""
        return cls(common, {}, note)

    def select(self, files: list[SourceFile], split: str, test_fraction: float) -> tuple[list[SourceFile], str]:
        """The files of a split, and a sentence on those that are in none."""
        if split == "all":
            return files, self.note
        if self.folders:
            known = {name for names in self.folders.values() for name in names}
            rest = [file for file in files if self._top(file) not in known]
            return [file for file in files if self._top(file) in self.folders[split]], self._left_out(rest)
        test = held_out([file.path[len(self.prefix) :] for file in files], test_fraction)
        return [file for file, out in zip(files, test, strict=True) if out == (split == "test")], self.note

    def _left_out(self, rest: list[SourceFile]) -> str:
        if not rest:
            return ""
        places = sorted({f"{top}/" if (top := self._top(file)) else "no folder of a split" for file in rest})
        named = ", ".join(places[:4]) + ", ..." * (len(places) > 4)
        splits = " and ".join(f"{names[0]}/" for names in self.folders.values())
        verb = "images lie" if len(rest) > 1 else "image lies"
        return f'{len(rest):,} {verb} outside {splits} (in {named}) and in neither split; the split "all" has all images.'

    def labels(
        self, files: list[SourceFile], chosen: list[SourceFile]
    ) -> tuple[torch.Tensor | None, tuple[str, ...] | None, str]:
        """Labels of `chosen` by the classes that all of `files` show, so that every split numbers them alike; the classes; a
        sentence where there would be labels but for a few files."""
        known = {name for names in self.folders.values() for name in names}
        core = [file for file in files if self._top(file) in known] if self.folders else files
        named = [self._class_of(file) for file in core]
        extra = {self._class_of(file) for file in files if self._top(file).lower() in _SPLIT_NAMES} if self.folders else set()
        number = {name: i for i, name in enumerate(sorted({*named, *extra} - {""}))}
        if len(set(named) - {""}) < 2:
            return None, None, ""
        outside = [file for file in (*core, *chosen) if self._class_of(file) not in number]
        if outside:
            few = f"{outside[0].path} lies in no class" if 2 * len(set(outside)) < len(files) else ""
            return None, None, f"There are no labels, as {few}." if few else ""
        return torch.tensor([number[self._class_of(file)] for file in chosen]), tuple(number), ""

    def _top(self, file: SourceFile) -> str:
        """The first folder below the prefix; "" where the file lies in none, or elsewhere."""
        if not file.path.startswith(self.prefix):
            return ""
        folder, slash, _ = file.path[len(self.prefix) :].partition("/")
        return folder if slash else ""

    def _class_of(self, file: SourceFile) -> str:
        """The first folder below the split's; "" where the file lies in none."""
        if not file.path.startswith(self.prefix):
            return ""
        inside = file.path[len(self.prefix) :]
        if self.folders:
            inside = inside.partition("/")[2]
        folder, slash, _ = inside.partition("/")
        return folder if slash else ""


def _split_folders(names: set[str]) -> dict[str, list[str]]:
    """Of the names in one folder, those of the training and of the test images; {} unless there are both."""
    splits = {}
    for split, kinds in SPLIT_NAMES.items():
        first = next((kind for kind in kinds if any(name.lower() == kind for name in names)), None)
        if first is None:
            return {}
        splits[split] = sorted(name for name in names if name.lower() == first)
    return splits
