"""LSUN: a million photographs a category (F. Yu, A. Seff, Y. Zhang, S. Song, T. Funkhouser, J. Xiao, arXiv 1506.03365)."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from vaefast.data.decode import DecodeOptions, decode_files
from vaefast.data.folder import load_folder, note_skipped
from vaefast.data.image_set import ImageSet
from vaefast.data.lmdb_source import LmdbSource
from vaefast.data.roots import check_split, required_root
from vaefast.data.sources import open_source
from vaefast.errors import ArgumentError, DataError, DataNotFoundError

_ENDS = {"train": "_train_lmdb", "test": "_val_lmdb"}


def load_lsun(
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    category: str | None = None,
    crop: int | Sequence[int] | str | None = "square",
    filter: str = "bilinear",
    limit: int | None = None,
    on_bad: str = "error",
    test_fraction: float = 0.1,
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """LSUN: photographs of one category (bedroom, church_outdoor, ...), [N, 3, H, W] uint8, without labels.

    Args:
        root: a folder that holds CATEGORY_train_lmdb and CATEGORY_val_lmdb, or one of these (reading them needs
            `pip install 'vaefast[lsun]'`); or a folder, zip or tar of exported pictures, split as `load_folder` does.
            (`download` has no effect.)
        split: "train", "test" (LSUN's 300 validation pictures) or "all".
        size: of the images; default 64.
        category: which, where the folder holds several.
        crop: "square", the largest there is in the centre; else as for `load_folder`.
        limit: take the first so many of the split (bedroom has 3,033,042: 37 GB at 64x64).
        filter, on_bad, test_fraction, cache, progress: as for `load_folder`.

    Raises:
        DataNotFoundError: no such data there.
        DataError: files that are damaged.
        ArgumentError: an impossible option, or lmdb is not installed.
    """
    check_split(split, ("train", "test", "all"))
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ArgumentError(f"limit must be a whole number above 0, not {limit!r}.")
    size = 64 if size is None else size
    options = DecodeOptions.checked(size=size, filter=filter, crop=crop, channels=3, on_bad=on_bad)
    base = required_root(root, "LSUN, as LMDB folders or exported pictures")
    places = _lmdb_folders(base, split, category)
    if not places:
        if category is not None and (base / category).is_dir():
            base = base / category
        _refuse_packed(base)
        pictures = load_folder(base, split, size=size, crop=crop, filter=filter, channels=3, on_bad=on_bad,
                               test_fraction=test_fraction, cache=cache, progress=progress)
        pictures = replace(pictures, labels=None, classes=None, name="lsun")
        return pictures if limit is None else pictures.subset(slice(limit))
    parts: list[torch.Tensor] = []
    notes: list[str] = []
    for place in places:
        left = None if limit is None else limit - sum(map(len, parts))
        if left == 0:
            break
        with LmdbSource(place, left) as source:
            decoded = decode_files(source, source.files, options, cache=cache, progress=progress)
        parts.append(torch.from_numpy(decoded.images))
        notes.append(note_skipped(decoded))
    images = parts[0] if len(parts) == 1 else torch.cat(parts)
    return ImageSet(images, name="lsun", split=split, note=" ".join(note for note in notes if note))


def _lmdb_folders(base: Path, split: str, category: str | None) -> list[Path]:
    """The LMDBs of a split; none where `base` holds no LMDB at all."""
    if not base.is_dir():
        return []
    if (base / "data.mdb").is_file():
        if split != "all" and not base.name.endswith(_ENDS[split]):
            raise ArgumentError(f"{base} is one LMDB whose name does not end in {_ENDS[split]}; pass split=\"all\" to take it "
                                "whole, or the folder that it lies in.")
        return [base]
    there = sorted(path.parent.name for path in base.glob("*_lmdb/data.mdb"))
    if not there:
        return []
    categories = sorted({name.removesuffix(end) for name in there for end in _ENDS.values() if name.endswith(end)})
    if category is None:
        if len(categories) != 1:
            raise ArgumentError(f"{base} holds {len(categories)} categories; choose one with category=: {', '.join(categories)}.")
        category = categories[0]
    wanted = [category + end for part, end in _ENDS.items() if split in (part, "all")]
    if missing := [name for name in wanted if name not in there]:
        raise DataNotFoundError(f"{base} has no {missing[0]} (it has {', '.join(there)}); fetch it from LSUN's page and unpack "
                                "it.")
    return [base / name for name in wanted]


def _refuse_packed(base: Path) -> None:
    """LSUN's page gives LMDBs in zips, which nothing can read in place."""
    if base.is_dir():
        packed = sorted(base.glob("*_lmdb.zip"))
    else:
        holds_one = zipfile.is_zipfile(base) and any(file.path.endswith("data.mdb") for file in open_source(base).files)
        packed = [base] if holds_one else []
    if packed:
        raise DataError(f"{packed[0]} is a packed LMDB; unpack it and pass the folder that it then lies in.")
