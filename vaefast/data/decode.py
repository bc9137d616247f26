"""Image files -> one uint8 array, decoded in parallel; every loader of image files goes through here."""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from vaefast.data.cache import read_decoded, write_decoded
from vaefast.data.memory import in_memory
from vaefast.data.pixels import is_grey, to_mode
from vaefast.data.progress import Report, reporting
from vaefast.data.roots import as_size
from vaefast.data.sources import Source, SourceFile, Unreadable
from vaefast.errors import ArgumentError, BadFileError, DataError

ON_BAD = ("error", "skip")
FILTERS = {f.name.lower(): f for f in Image.Resampling}
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # no format that runs another program
_MAX_PIXELS = 1 << 26
_BATCH = 64
_VERSION = 2  # part of the cache key: raise it when the pixels that come out change


@dataclass(frozen=True)
class DecodeOptions:
    """How image files become pixels.

    Attributes:
        size: (H, W) to resize to after cropping; None keeps the size, which must then be the same for all.
        filter: of the resize: nearest, box, bilinear, hamming, bicubic or lanczos (Pillow's, which average over the
            source area when they reduce).
        crop: None; (h, w), cut from the centre (the upper/left one of two centres); (top, left, h, w); or "square", the
            largest square in the centre of each image.
        channels: 1 or 3; None: 1 if all files are stored as grey, else 3.
        on_bad: "error" stops at the first file that is no sound image, "skip" leaves such files out.
    """

    size: tuple[int, int] | None = None
    filter: str = "bilinear"
    crop: tuple[int, ...] | str | None = None
    channels: int | None = None
    on_bad: str = "error"

    @classmethod
    def checked(
        cls,
        *,
        size: int | Sequence[int] | None,
        filter: str,
        crop: int | Sequence[int] | str | None,
        channels: int | None = None,
        on_bad: str = "error",
    ) -> DecodeOptions:
        """Options from what a user passed; an int stands for a square.

        Raises:
            ArgumentError: an impossible value.
        """
        if filter not in FILTERS:
            raise ArgumentError(f"filter {filter!r} is unknown; choose one of {', '.join(FILTERS)}.")
        if on_bad not in ON_BAD:
            raise ArgumentError(f'on_bad must be "error" or "skip", not {on_bad!r}.')
        if channels not in (None, 1, 3):
            raise ArgumentError(f"channels must be 1 or 3, not {channels!r}.")
        box: tuple[int, ...] | str | None
        if isinstance(crop, str):
            if crop != "square":
                raise ArgumentError(f'crop must be integers or "square", not {crop!r}.')
            box = crop
        elif isinstance(crop, (tuple, list)) and len(crop) == 4:
            if not all(isinstance(n, int) for n in crop) or min(crop) < 0:
                raise ArgumentError(f"crop must be integers (top, left, height, width), not {crop!r}.")
            box = (crop[0], crop[1], *(as_size(crop[2:], "crop") or ()))
        else:
            box = as_size(crop, "crop")
        return cls(as_size(size), filter, box, channels, on_bad)


@dataclass(frozen=True)
class Decoded:
    """Decoded files.

    Attributes:
        images: uint8 [N, C, H, W].
        files: the N files they come from, in order.
        skipped: (path, reason) of the files left out.
        several: paths of files with more than one picture (animations, pages), of which the first is there.
        notes: the source's.
    """

    images: np.ndarray
    files: list[SourceFile]
    skipped: list[tuple[str, str]]
    several: list[str]
    notes: list[str]

    def told(self) -> list[str]:
        """Sentences on what is not there as the files might suggest."""
        sentences = list(self.notes)
        if self.skipped:
            total = len(self.files) + len(self.skipped)
            named = ", ".join(f"{path} {reason}" for path, reason in self.skipped[:3])
            more = ", ..." * (len(self.skipped) > 3)
            sentences.append(f"{len(self.skipped):,} of {total:,} files were left out: {named}{more}.")
        if self.several:
            named = ", ".join(self.several[:3]) + ", ..." * (len(self.several) > 3)
            verb = "files hold" if len(self.several) > 1 else "file holds"
            sentences.append(f"{len(self.several):,} {verb} several pictures, the first of which was taken: {named}.")
        return sentences


class _Bad(Exception):
    """A file that is no sound image; the reason."""


class _Colour(Exception):
    """A colour image where only grey ones had been seen."""


def first_size(source: Source, files: Sequence[SourceFile]) -> tuple[int, int] | None:
    """(H, W) of the first file whose header can be read; None if there is none."""
    for file in files:
        try:
            with Image.open(io.BytesIO(source.read(file)), formats=_FORMATS) as image:
                return image.height, image.width
        except Exception:  # a bad file is reported when it is decoded
            continue
    return None


def decode_files(
    source: Source,
    files: Sequence[SourceFile],
    options: DecodeOptions,
    *,
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Decoded:
    """Decode `files` of `source`, from the cache where they were decoded before.

    Args:
        cache: look in the cache and write to it, if its folder can be written.
        progress: called as progress(files done, files in all) from the calling thread; None shows a bar on a terminal.

    Raises:
        DataError: no image at all; with on_bad="error" the first file that is not a sound image; images of different
            sizes without `options.size`; a crop outside an image.
    """
    if not files:
        raise DataError(f"{source.where} holds no images.")
    if not cache:
        with reporting(progress, source.where.name) as report:
            return _decode(source, files, options, in_memory, report)
    key = _key(source, files, options)
    if (known := read_decoded(key)) is not None:
        images, meta = known
        left_out = {path for path, _ in meta["skipped"]}
        kept = [file for file in files if file.path not in left_out]
        if len(kept) == len(images):
            if progress is not None:
                progress(len(files), len(files))
            skipped = [(path, reason) for path, reason in meta["skipped"]]
            return Decoded(images, kept, skipped, meta["several"], source.notes)
    with write_decoded(key) as writer, reporting(progress, source.where.name) as report:
        allocate = in_memory if writer is None else writer.allocate
        decoded = _decode(source, files, options, allocate, report)
        if writer is not None:
            writer.commit(decoded.images, {"source": _text(source), "skipped": decoded.skipped, "several": decoded.several})
    return decoded


def _text(source: Source) -> str:
    return os.fsencode(source.where).decode("utf-8", "backslashreplace")


def _key(source: Source, files: Sequence[SourceFile], options: DecodeOptions) -> str:
    sha = hashlib.sha256(json.dumps([_VERSION, source.identity, asdict(options)]).encode())
    for file in files:
        sha.update(json.dumps(file).encode())
    return sha.hexdigest()


def _decode(
    source: Source,
    files: Sequence[SourceFile],
    options: DecodeOptions,
    allocate: Callable[[tuple[int, ...]], np.ndarray],
    progress: Report,
) -> Decoded:
    channels = options.channels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
        if channels is None:
            channels = 1 if _first_is_grey(source, files) else 3
            if channels == 1:
                try:
                    return _fill(source, files, options, 1, allocate, progress)
                except _Colour:
                    channels = 3
        return _fill(source, files, options, channels, allocate, progress)


def _first_is_grey(source: Source, files: Sequence[SourceFile]) -> bool:
    for file in files:
        try:
            with Image.open(io.BytesIO(source.read(file)), formats=_FORMATS) as image:
                return is_grey(image)
        except Exception:  # a bad file is reported when it is decoded
            continue
    return False


def _fill(
    source: Source,
    files: Sequence[SourceFile],
    options: DecodeOptions,
    channels: int,
    allocate: Callable[[tuple[int, ...]], np.ndarray],
    progress: Report,
) -> Decoded:
    """Decode every file into its row; rows of bad files are closed up at the end."""
    skipped: list[tuple[int, str]] = []
    first = 0
    pixels: np.ndarray | None = None
    while pixels is None:
        if first == len(files):
            path, reason = files[skipped[0][0]].path, skipped[0][1]
            raise DataError(f"{source.where} holds no sound image: {path} {reason}, and so on.")
        try:
            pixels, _ = _decode_one(source, files[first], options, channels)
        except _Bad as bad:
            if options.on_bad == "error":
                raise BadFileError(_describe(source, files[first].path, str(bad))) from None
            skipped.append((first, str(bad)))
            first += 1
    shape = pixels.shape
    images = allocate((len(files), channels, *shape[:2]))

    def work(start: int) -> tuple[list[tuple[int, str]], list[int]]:
        bad_ones, animated = [], []
        for i in range(start, min(start + _BATCH, len(files))):
            try:
                one, more = _decode_one(source, files[i], options, channels)
            except _Bad as bad:
                bad_ones.append((i, str(bad)))
                if options.on_bad == "error":
                    break
                continue
            if one.shape != shape:
                raise DataError(
                    f"{source.where} holds images of different sizes: {files[first].path} is {shape[0]}x{shape[1]} but "
                    f"{files[i].path} is {one.shape[0]}x{one.shape[1]} (height x width); pass size= to resize them all."
                )
            images[i] = one.transpose(2, 0, 1)
            if more:
                animated.append(i)
        return bad_ones, animated

    several: list[int] = []

    with ThreadPoolExecutor(max(1, min(32, _cpus()))) as pool:
        starts = range(first, len(files), _BATCH)
        batches = [pool.submit(work, start) for start in starts]
        try:
            for start, batch in zip(starts, batches, strict=True):  # in order: the first bad file is the one reported
                bad_ones, animated = batch.result()
                several += animated
                if bad_ones and options.on_bad == "error":
                    i, reason = bad_ones[0]
                    raise BadFileError(_describe(source, files[i].path, reason))
                skipped += bad_ones
                progress(min(start + _BATCH, len(files)), len(files))
        finally:
            for batch in batches:
                batch.cancel()
    named = [files[i].path for i in several]
    if not skipped:
        return Decoded(images, list(files), [], named, source.notes)
    left_out = {i for i, _ in skipped}
    rows = [i for i in range(len(files)) if i not in left_out]
    closed_up = allocate((len(rows), *images.shape[1:]))
    for to in range(0, len(rows), _BATCH):
        closed_up[to : to + _BATCH] = images[rows[to : to + _BATCH]]
    return Decoded(closed_up, [files[i] for i in rows], [(files[i].path, reason) for i, reason in skipped], named,
                   source.notes)


def _decode_one(
    source: Source, file: SourceFile, options: DecodeOptions, channels: int
) -> tuple[np.ndarray, bool]:
    """The pixels [H, W, channels] of one file, and whether more pictures are in it."""
    try:
        with Image.open(io.BytesIO(source.read(file)), formats=_FORMATS) as opened:
            if opened.width * opened.height > _MAX_PIXELS:
                raise _Bad(
                    f"is {opened.width}x{opened.height} pixels, more than the {_MAX_PIXELS:,} allowed "
                    "(a decompression bomb?)"
                )
            grey = is_grey(opened)
            # A phone's JPEG (MPO) has a preview or a depth map as its second picture.
            several = bool(getattr(opened, "is_animated", False)) and opened.format != "MPO"
            image = to_mode(opened, channels)
    except _Bad:
        raise
    except Exception as error:  # decoders raise many kinds for damaged files
        raise _Bad(_reason(error)) from None
    if channels == 1 and options.channels is None and not grey:
        raise _Colour
    if options.crop is not None:
        image = image.crop(_box(image, file, options.crop))
    if options.size is not None and image.size != options.size[::-1]:
        image = image.resize(options.size[::-1], FILTERS[options.filter])
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array, several


def _box(image: Image.Image, file: SourceFile, crop: tuple[int, ...] | str) -> tuple[int, int, int, int]:
    if isinstance(crop, str):
        crop = (min(image.height, image.width),) * 2
    height, width = crop[-2:]
    top, left = crop[:2] if len(crop) == 4 else ((image.height - height) // 2, (image.width - width) // 2)
    if top < 0 or left < 0 or top + height > image.height or left + width > image.width:
        raise DataError(
            f"{file.path} is {image.height}x{image.width} (height x width), too small for crop={crop}; pass a smaller "
            "crop."
        )
    return left, top, left + width, top + height


def _reason(error: Exception) -> str:
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, Image.UnidentifiedImageError):
        return "is not an image"
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than the {_MAX_PIXELS:,} pixels allowed (a decompression bomb?)"
    if "truncated" in str(error):
        return "is a truncated image"
    return f"cannot be decoded ({error or type(error).__name__})"


def _describe(source: Source, path: str, reason: str) -> str:
    inside = str(PurePosixPath(source.where.as_posix(), path)) if source.where.is_dir() else f"{path} in {source.where}"
    return f'{inside} {reason}; repair or remove it, or pass on_bad="skip" to leave such files out.'


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
