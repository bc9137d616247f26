"""Which files of a source are pictures, and what to say about the others."""

from __future__ import annotations

from pathlib import PurePosixPath

from vaefast.data.sources import SUFFIXES, Source, SourceFile, is_archive
from vaefast.errors import DataError

_HEADS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*", *(b"P%d" % i for i in range(1, 7)))


def has_suffix(file: SourceFile) -> bool:
    """Whether the file's name is that of a picture."""
    return PurePosixPath(file.path).suffix.lower() in SUFFIXES


def pictures(source: Source) -> tuple[list[SourceFile], str]:
    """The pictures of a source, and a sentence on the files that are none ("" where there are none).

    By their names; a file without a suffix by how it begins. Where no file is a picture by this rule, all files count.

    Raises:
        DataError: no files at all, or archives alone.
    """
    if not source.files:
        raise DataError(" ".join([f"{source.where} holds no files; a folder or archive of images was expected.", *source.notes]))
    taken = [file for file in source.files if has_suffix(file) or (_bare(file) and _begins_as_one(source, file))]
    if not taken:
        if all(is_archive(PurePosixPath(file.path)) for file in source.files):
            raise DataError(f"{source.where} holds no pictures but archives ({_named(source.files)}); unpack them, or pass one.")
        return list(source.files), ""
    kept = set(taken)
    rest = [file for file in source.files if file not in kept]
    if not rest:
        return taken, ""
    verb = "files are no pictures and are" if len(rest) > 1 else "file is no picture and is"
    return taken, f"{len(rest):,} {verb} ignored: {_named(rest)}."


def _named(files: list[SourceFile]) -> str:
    return ", ".join(file.path for file in files[:3]) + (", ..." if len(files) > 3 else "")


def _bare(file: SourceFile) -> bool:
    suffix = PurePosixPath(file.path).suffix[1:]
    return not suffix or suffix.isdecimal()


def _begins_as_one(source: Source, file: SourceFile) -> bool:
    try:
        content = source.read(file)
        return content.startswith(_HEADS) and (content[:4] != b"RIFF" or content[8:12] == b"WEBP")
    except (OSError, ValueError):  # to be told of when it is decoded
        return True
