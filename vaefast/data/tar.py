"""A tar file read to its very end: every member's header checked, every file and link in it, and the end itself."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from vaefast.errors import DataError

_CHUNK = 1 << 20
_NO_FILES = (b"D", b"V")  # GNU's folders of incremental archives, and an archive's label
_PACKED: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_ZSTD = b"\x28\xb5\x2f\xfd"
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, ValueError, OverflowError, RecursionError)


class Member(NamedTuple):
    """A file or a link of a tar file.

    Attributes:
        name: as it stands there; bytes that are no UTF-8 are surrogates.
        data: of a file; None of a link.
        target: of a link, as it stands there; "" of a file.
        hard: whether a link's target counts from the archive's root.
        broken: why it holds no data where it is neither: a device, a pipe, the rest of a file of another volume; or "".
    """

    name: str
    data: bytes | None
    target: str = ""
    hard: bool = False
    broken: str = ""


class _Header(tarfile.TarInfo):
    """Says what is wrong with a header, where tarfile takes everything that it cannot read for the archive's end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # a block of zeros
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            raise _Damaged("it ends without the blocks of zeros that an archive ends with") from None
        except tarfile.HeaderError as error:
            raise _Damaged(f"a header is damaged: {error}") from None


class _Damaged(Exception):
    """What is wrong with an archive. (tarfile would pass over an error of its own.)"""


def read_tar(where: Path, most_bytes: int) -> list[Member]:
    """All files and links of a tar file, plain or packed with gzip, bzip2 or xz (told by content, not by name).

    Raises:
        DataError: it is damaged or cut off anywhere, whatever could be read of it; or larger than `most_bytes` unpacked.
    """
    members: list[Member] = []
    try:
        with open(where, "rb") as packed, _unpacked(packed, where) as stream:
            archive = tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header, encoding="utf-8", errors="surrogateescape")
            total = 0
            while (header := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # or tarfile keeps the headers of a million files
                total += header.size
                if total > most_bytes:
                    raise DataError(f"{where} unpacks to more than {most_bytes >> 30} GiB; unpack it and pass the folder.")
                if header.issym() or header.islnk():
                    members.append(Member(header.name, None, header.linkname, header.islnk()))
                elif header.isfile():
                    members.append(Member(header.name, _data(archive, header)))
                elif not header.isdir() and header.type not in _NO_FILES:
                    members.append(Member(header.name, None, broken="is no regular file"))
            _check_end(archive.fileobj)
    except DataError:
        raise
    except (_Damaged, *_DAMAGE) as error:
        count = sum(member.data is not None for member in members)
        raise DataError(f"{where} is a damaged or truncated tar file: {count:,} file{'s' * (count != 1)} could be read before "
                        f"the damage ({error or type(error).__name__}); fetch or copy it again.") from None
    return members


def _unpacked(packed: BinaryIO, where: Path) -> Any:
    """The archive's own bytes. These readers go through all streams of a file and check their sums, as tarfile's do not."""
    head = packed.read(6)
    packed.seek(0)
    if head.startswith(_ZSTD):
        try:
            from compression import zstd  # type: ignore[import-not-found]  # Python 3.14
        except ImportError:
            raise DataError(f"{where} is packed with zstd, which this Python cannot read; unpack it, pass the folder.") from None
        return zstd.ZstdFile(packed)
    for magic, opener in _PACKED.items():
        if head.startswith(magic):
            return opener(packed)
    return contextlib.nullcontext(packed)


def _data(archive: tarfile.TarFile, header: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(header)
    data = stream.read() if stream is not None else b""
    if len(data) != header.size:
        raise _Damaged(f"{header.name} is cut off")
    return data


def _check_end(rest: Any) -> None:
    """Read what follows the first block of zeros: nothing but zeros. This also checks the sum at the end of a packed file."""
    while piece := rest.read(_CHUNK):
        if piece.strip(b"\0"):
            raise _Damaged("bytes follow the archive's end: part of it is zeros, or it is several archives in one")
