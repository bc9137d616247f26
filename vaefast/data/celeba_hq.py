"""CelebA-HQ: 30,000 faces of 1024x1024 pixels (T. Karras, T. Aila, S. Laine, J. Lehtinen, ICLR 2018)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from vaefast.data.decode import DecodeOptions, decode_files
from vaefast.data.folder import note_skipped
from vaefast.data.image_set import ImageSet
from vaefast.data.pictures import has_suffix
from vaefast.data.roots import check_split, required_root
from vaefast.data.sources import SourceFile, is_archive, open_source
from vaefast.errors import DataError

COUNT = 30_000
_SEED, _TEST_FRACTION = 1967, 0.2
_FOLDERS = ("CelebA-HQ-img", "CelebAMask-HQ/CelebA-HQ-img", "celeba-hq", "celeba_hq")


def load_celeba_hq(
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    crop: int | Sequence[int] | str | None = None,
    filter: str = "bilinear",
    verify: bool = True,
    on_bad: str = "error",
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """CelebA-HQ: 30,000 faces, by default at 256x256, [N, 3, H, W] uint8: 24,000 to train with, 6,000 to test.

    The split is that of Keras' image_dataset_from_directory with seed 1967 and a fifth held out, as used for GAMIX-VAE
    (Rivera 2023). That code resizes without averaging over the source area; the filters here average. There are no
    labels.

    Args:
        root: a zip or tar file or a folder of the pictures, or a folder that holds CelebA-HQ-img (as CelebAMask-HQ
            does). Masks and other files beside that folder are left alone. (`download` has no effect.)
        split: "train", "test" or "all".
        size: of the images; default 256.
        crop, filter, on_bad, cache, progress: as for `load_folder`.
        verify: demand 30,000 pictures; False splits the pictures there are, which gives another split.

    Raises:
        DataNotFoundError: no such data there.
        DataError: files that are damaged, or another number of them.
        ArgumentError: an impossible option.
    """
    check_split(split, ("train", "test", "all"))
    options = DecodeOptions.checked(size=256 if size is None else size, filter=filter, crop=crop, channels=3, on_bad=on_bad)
    source = open_source(_locate(required_root(root, "CelebA-HQ, a folder or archive of pictures")))
    files = [file for file in source.files if has_suffix(file)]
    inside = [file for file in files if "CelebA-HQ-img" in PurePosixPath(file.path).parts[:-1]]
    files = inside or files
    if verify and len(files) != COUNT:
        raise DataError(f"{source.where} holds {len(files):,} pictures, where CelebA-HQ has {COUNT:,}; fetch it again, or pass "
                        "verify=False to split those there are.")
    files = _part(files, split)
    if not files:
        raise DataError(f"{source.where} holds no pictures for split {split!r}; CelebA-HQ was expected there.")
    decoded = decode_files(source, files, options, cache=cache, progress=progress)
    return ImageSet(torch.from_numpy(decoded.images), name="celeba-hq", split=split, note=note_skipped(decoded))


def _part(files: list[SourceFile], split: str) -> list[SourceFile]:
    """The files of a split, in the order of their names; Keras holds out the last of a seeded shuffle of that order."""
    if split == "all":
        return files
    order = np.arange(len(files))
    np.random.RandomState(_SEED).shuffle(order)
    border = len(files) - int(_TEST_FRACTION * len(files))
    return [files[i] for i in sorted(order[border:] if split == "test" else order[:border])]


def _locate(root: Path) -> Path:
    if root.is_file():
        return root
    for name in _FOLDERS:
        if (root / name).is_dir():
            return root / name
    archives = [path for path in sorted(root.iterdir()) if path.is_file() and is_archive(path)]
    return archives[0] if len(archives) == 1 else root
