"""CelebA, aligned and cropped: 202,599 faces of 178x218 pixels.

Source: Z. Liu, P. Luo, X. Wang, X. Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import torch

from vaefast.data.decode import DecodeOptions, decode_files, first_size
from vaefast.data.folder import note_skipped
from vaefast.data.image_set import ImageSet
from vaefast.data.roots import check_split, required_root
from vaefast.data.sources import Source, SourceFile, open_source
from vaefast.errors import ArgumentError, DataError, DataNotFoundError

COUNT = 202_599
_OFFICIAL = {"train": (1, 162_770), "valid": (162_771, 182_637), "test": (182_638, COUNT), "all": (1, COUNT)}
_WAE_SEED, _WAE_TEST = 123, 20_000
_ALIGNED_SIZE = (218, 178)
_PLACES = ("img_align_celeba", "img_align_celeba.zip")
_NAME = re.compile(r"(\d{6})\.(?:jpe?g|png)", re.IGNORECASE)


def load_celeba(
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    crop: int | Sequence[int] | str | None = 128,
    filter: str = "bilinear",
    partition: str = "official",
    verify: bool = True,
    on_bad: str = "error",
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """CelebA: 202,599 aligned faces, cropped and resized, [N, 3, H, W] uint8; the crop and the filter are yours to state.

    Published figures differ in the crop: 128 (Two-Stage VAE), 140 (WAE), 160 (Lucic et al. 2018), 108 (Sequential VAE).
    All are cut from the centre of the 218 rows and 178 columns: 128 is rows 45:173, columns 25:153; 140 is rows 39:179,
    columns 19:159. Figures of different crops or filters do not compare; the set's `note` says which they are. There are
    no labels.

    Args:
        root: img_align_celeba.zip, the folder img_align_celeba, or a folder that holds one of these, perhaps in
            `celeba/`. (`download` has no effect: its owners ask everyone to fetch it from their own page.)
        split: "train", "valid", "test" or "all"; partition "wae" has no "valid".
        size: of the images; default 64.
        crop: before the resize; None for the whole picture, else as for `load_folder`.
        filter: of the resize, as for `load_folder`; "bilinear" in the Two-Stage VAE's code, "lanczos" in the WAE's.
        partition: "official" (162,770 / 19,867 / 19,962 by the files' numbers), or "wae" (182,599 / 20,000, shuffled by
            Python 2 with seed 123, as the code of Tolstikhin et al. 2018 does).
        verify: demand that all 202,599 pictures are there, of 178x218 pixels; False takes those of the split there are.
        on_bad, cache, progress: as for `load_folder`.

    Raises:
        DataNotFoundError: no such data there.
        DataError: files that are damaged, missing, or not CelebA's.
        ArgumentError: an impossible option.
    """
    if partition not in ("official", "wae"):
        raise ArgumentError(f'partition {partition!r} is unknown; choose "official" or "wae".')
    check_split(split, tuple(_OFFICIAL) if partition == "official" else ("train", "test", "all"))
    options = DecodeOptions.checked(size=64 if size is None else size, filter=filter, crop=crop, channels=3, on_bad=on_bad)
    source = open_source(_locate(required_root(root, "CelebA (img_align_celeba.zip or its folder)")))
    pictures = _numbered(source)
    if verify:
        _check(source, pictures)
    part = numbers(split, partition)
    files = [pictures[n] for n in sorted(pictures) if n in part]
    if not files:
        raise DataError(f"{source.where} has no picture of split {split!r} in the {partition} partition; fetch the rest.")
    decoded = decode_files(source, files, options, cache=cache, progress=progress)
    assert options.size is not None
    made = (f"CelebA cropped to {crop}" if crop is not None else "CelebA uncropped") + (
        f", {filter} to {options.size[0]}x{options.size[1]}, {partition} partition.")
    return ImageSet(torch.from_numpy(decoded.images), name="celeba", split=split,
                    note=f"{made} {note_skipped(decoded)}".strip())


def numbers(split: str, partition: str) -> range | frozenset[int]:
    """The numbers (1 to 202,599, as in the files' names) of a split's pictures."""
    if partition == "official" or split == "all":
        first, last = _OFFICIAL[split]
        return range(first, last + 1)
    order = _python2_shuffled(list(range(1, COUNT + 1)), _WAE_SEED)
    return frozenset(order[-_WAE_TEST:] if split == "test" else order[:-_WAE_TEST])


def _python2_shuffled(items: list[int], seed: int) -> list[int]:
    """`random.seed(seed); random.shuffle(items)` of Python 2, which draws otherwise than Python 3."""
    draw = random.Random(seed).random
    for i in range(len(items) - 1, 0, -1):
        j = int(draw() * (i + 1))
        items[i], items[j] = items[j], items[i]
    return items


def _locate(root: Path) -> Path:
    if root.is_file():
        return root
    for base in (root, root / "celeba"):
        for place in _PLACES:
            if (base / place).exists():
                return base / place
    if next(root.glob("[0-9][0-9][0-9][0-9][0-9][0-9].*"), None) is not None:
        return root
    raise DataNotFoundError(f"{root} holds neither img_align_celeba.zip nor a folder img_align_celeba with pictures 000001.jpg "
                            "and so on; pass the root that has one of them.")


def _numbered(source: Source) -> dict[int, SourceFile]:
    """The pictures by the number that their names are."""
    by_number: dict[int, SourceFile] = {}
    for file in source.files:
        match = _NAME.fullmatch(PurePosixPath(file.path).name)
        if match is None or not 1 <= (number := int(match[1])) <= COUNT:
            continue
        if number in by_number:
            raise DataError(f"{source.where} holds picture {number:06} twice, as {by_number[number].path} and {file.path}; pass "
                            "the folder of one of them.")
        by_number[number] = file
    if not by_number:
        raise DataError(f"{source.where} is not CelebA: pictures named 000001.jpg to {COUNT}.jpg were expected.")
    return by_number


def _check(source: Source, pictures: dict[int, SourceFile]) -> None:
    advice = "fetch it again, or pass verify=False to use what is there"
    if len(pictures) != COUNT:
        absent = next(n for n in range(1, COUNT + 1) if n not in pictures)
        raise DataError(f"{source.where} holds {len(pictures):,} of CelebA's {COUNT:,} pictures ({absent:06} is missing); "
                        f"{advice}.")
    size = first_size(source, [pictures[1]])
    if size not in (None, _ALIGNED_SIZE):
        raise DataError(f"{source.where} holds pictures of {size[0]}x{size[1]} (height x width), where aligned CelebA has "
                        f"218x178; {advice}.")
