"""Labeled Faces in the Wild, one folder a person.

Sources: G. B. Huang, M. Ramesh, T. Berg, E. Learned-Miller, UMass Amherst technical report 07-49, 2007; deep-funneled
version: G. B. Huang, M. Mattar, H. Lee, E. Learned-Miller, NIPS 2012.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch

from vaefast.data.decode import DecodeOptions, decode_files, first_size
from vaefast.data.folder import note_skipped
from vaefast.data.image_set import ImageSet
from vaefast.data.roots import check_split, held_out, required_root
from vaefast.data.sources import is_archive, open_source
from vaefast.errors import ArgumentError, DataError, DataNotFoundError

_FOLDERS = ("lfw", "lfw-deepfunneled", "lfw_funneled", "lfw_home/lfw_funneled")
_ORIGINAL_SIZE = (250, 250)
_ORIGINAL_CROP = 150
_COPY_SIZE = (64, 64)
# 90x90 of the original, and what is left of it in a 64x64 copy of the central 150x150: 64 * 90 / 150 = 38.4
_NARROW = {_ORIGINAL_SIZE: 90, _COPY_SIZE: 38}
_COPY_NOTE = ("45x45 enlarged from the central 38x38 of 64x64 copies: the view of the central 90x90 of the original files, with "
              "less detail; figures are not comparable with those on the originals.")


def load_lfw(
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    filter: str = "box",
    crop: int | Sequence[int] | str | None = "auto",
    test_fraction: float = 0.1,
    on_bad: str = "error",
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """Labeled Faces in the Wild: 13,233 faces of 5,749 people, [N, 3, H, W] uint8, split by person.

    About a tenth of the people, chosen by a hash of their names, is the test part: nobody is in both. There are no
    labels.

    Args:
        root: the zip or tar file, the folder of people's folders, or a folder that holds one of these.
        split: "train", "test" or "all".
        size: of the images; default 64.
        filter, on_bad, cache, progress: as for `load_folder`.
        crop: "auto" cuts the central 150x150 out of the original 250x250 and nothing out of other sizes; else as for
            `load_folder`.
        test_fraction: of the people.

    Raises:
        DataNotFoundError: no such data there.
        DataError: files that are damaged.
        ArgumentError: an impossible option. (`download` has no effect.)
    """
    check_split(split, ("train", "test", "all"))
    if isinstance(crop, str) and crop != "auto":
        raise ArgumentError(f'crop must be "auto", None, integers or an integer, not {crop!r}.')
    wanted = DecodeOptions.checked(
        size=64 if size is None else size, filter=filter, crop=None if isinstance(crop, str) else crop, channels=3,
        on_bad=on_bad,
    )
    base = required_root(root, "Labeled Faces in the Wild")
    source = open_source(_locate(base))
    files = [file for file in source.files if file.path.lower().endswith((".jpg", ".jpeg", ".png"))]
    people = [PurePosixPath(file.path).parent.name for file in files]
    if len(set(people)) < 2 or "" in people:
        raise DataError(
            f"{source.where} is not Labeled Faces in the Wild: images in one folder a person were expected."
        )
    if split != "all":
        names = sorted(set(people))
        test = dict(zip(names, held_out(names, test_fraction), strict=True))
        files = [file for file, person in zip(files, people, strict=True) if test[person] == (split == "test")]
    if crop == "auto" and first_size(source, files) == _ORIGINAL_SIZE:
        wanted = DecodeOptions.checked(
            size=wanted.size, filter=filter, crop=_ORIGINAL_CROP, channels=3, on_bad=on_bad
        )
    decoded = decode_files(source, files, wanted, cache=cache, progress=progress)
    return ImageSet(torch.from_numpy(decoded.images), name="lfw", split=split, note=note_skipped(decoded))


def load_lfw45(
    root: str | Path | None = None,
    split: str = "train",
    *,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    filter: str = "bicubic",
    test_fraction: float = 0.1,
    on_bad: str = "error",
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """LFW at 45x45 from the central 90x90: the faces without surroundings of Hinrichsen's comparison of GANs and VAEs.

    Where the files are 64x64 copies of the central 150x150, their central 38x38 is enlarged, which `note` says: the view is
    the paper's, the detail is not.

    Args:
        root, split, on_bad, cache, progress, test_fraction: as for `load_lfw`.
        size: of the images; default 45.
        filter: of the resize; the published code has bicubic.

    Raises:
        As `load_lfw`. DataError: files of another size than 250x250 and 64x64.
    """
    base = required_root(root, "Labeled Faces in the Wild")
    source = open_source(_locate(base))
    stored_size = first_size(source, [file for file in source.files if file.path.lower().endswith((".jpg", ".jpeg", ".png"))])
    if stored_size is None:
        raise DataError(f"{source.where} holds no images.")
    if stored_size not in _NARROW:
        raise DataError(f"{source.where} holds images of {stored_size[0]}x{stored_size[1]}; the 45x45 faces are cut out of the "
                        "original 250x250 or of 64x64 copies: use lfw with crop= and size=.")
    images = load_lfw(root, split, download=download, size=45 if size is None else size, filter=filter, crop=_NARROW[stored_size],
                      test_fraction=test_fraction, on_bad=on_bad, cache=cache, progress=progress)
    note = _COPY_NOTE if stored_size == _COPY_SIZE else ""
    return replace(images, name="lfw45", note=" ".join(text for text in (images.note, note) if text))


def _locate(root: Path) -> Path:
    """The archive or folder of people at, or just below, `root`."""
    if root.is_file():
        return root
    folders = [root / name for name in _FOLDERS if (root / name).is_dir()]
    for folder in (root, *folders):
        for path in sorted(folder.glob("lfw*")):
            if path.is_file() and is_archive(path):
                return path
    for folder in (*folders, root):
        if next(folder.glob("*/*_[0-9][0-9][0-9][0-9].*"), None) is not None:
            return folder
    raise DataNotFoundError(
        f"{root} holds neither an archive lfw*.zip or lfw*.tgz nor folders Person_Name/Person_Name_0001.jpg; "
        "pass the root that has one of them."
    )
