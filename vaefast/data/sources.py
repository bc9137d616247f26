"""Folders, zip files and tar files seen the same way: a sorted list of named files, each of which can be read.

Nothing is ever unpacked to disk, so the names inside an archive cannot reach outside it.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from vaefast.errors import DataError

MAX_FILE_BYTES = 1 << 28
_MAX_TAR_BYTES = 1 << 32
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_SYSTEM_FILES = {"__MACOSX", "Thumbs.db", "desktop.ini"}


class SourceFile(NamedTuple):
    """One file of a source: its path inside (with /), its size, and a stamp that changes with its content."""

    path: str
    size: int
    stamp: int


class Source(Protocol):
    """A folder or an archive.

    `identity` names what the stamps hold for: the absolute path of a folder (its stamps are times), or "" for archives
    (theirs are checksums, valid wherever the archive lies).
    """

    where: Path
    identity: str
    files: list[SourceFile]

    def read(self, file: SourceFile) -> bytes:
        """The bytes of a file; safe to call from several threads. Raises OSError or ValueError where it is damaged."""


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that `open_source` reads."""
    return path.name.lower().endswith(_ARCHIVES)


def open_source(where: Path) -> Source:
    """The files of a folder, a zip or a tar file; hidden and system files are left out.

    Raises:
        DataError: it is neither, or damaged, or cannot be read.
    """
    try:
        if where.is_dir():
            return _Folder(where)
        if zipfile.is_zipfile(where):
            return _Zip(where)
        if is_archive(where) and not where.name.lower().endswith(".zip"):
            return _Tar(where)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, NotImplementedError) as error:
        raise DataError(f"{where} cannot be read ({error}); fetch or copy it again.") from None
    raise DataError(f"{where} is not a folder, nor a sound zip or tar file; fetch it again or pass another path.")


def _visible(path: str) -> bool:
    return not any(part.startswith(".") or part in _SYSTEM_FILES for part in PurePosixPath(path).parts)


def refuse_large(path: str, size: int) -> None:
    """ValueError for a file that no image can be as large as."""
    if size > MAX_FILE_BYTES:
        raise ValueError(f"it is {size:,} bytes long, more than the {MAX_FILE_BYTES:,} that an image may have")


class _Folder:
    def __init__(self, where: Path) -> None:
        self.where = where
        self.identity = str(where.resolve())
        self.files = []
        seen = set()
        for folder, subfolders, names in os.walk(where, followlinks=True, onerror=_raise):
            real = os.path.realpath(folder)
            if real in seen:  # a link that leads back
                subfolders.clear()
                continue
            seen.add(real)
            for name in names:
                path = Path(folder, name)
                relative = path.relative_to(where).as_posix()
                if _visible(relative):
                    state = path.stat()
                    self.files.append(SourceFile(relative, state.st_size, state.st_mtime_ns))
        self.files.sort()

    def read(self, file: SourceFile) -> bytes:
        refuse_large(file.path, file.size)
        return (self.where / file.path).read_bytes()


def _raise(error: OSError) -> None:
    raise error


class _Zip:
    def __init__(self, where: Path) -> None:
        self.where = where
        self.identity = ""
        self._zip = zipfile.ZipFile(where)
        self.files = sorted(
            SourceFile(info.filename, info.file_size, info.CRC)
            for info in self._zip.infolist()
            if not info.is_dir() and _visible(info.filename)
        )

    def read(self, file: SourceFile) -> bytes:
        refuse_large(file.path, file.size)
        try:
            return self._zip.read(file.path)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise ValueError(f"the archive is damaged or encrypted there: {error}") from None


class _Tar:
    """A tar file, held in memory: a compressed one cannot be read out of order."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.identity = ""
        self._content: dict[str, bytes] = {}
        self.files = []
        total = 0
        with tarfile.open(where, "r|*") as tar:
            for member in tar:
                if not member.isfile() or not _visible(member.name.removeprefix("./")):
                    continue
                total += member.size
                if total > _MAX_TAR_BYTES:
                    limit = f"{_MAX_TAR_BYTES >> 30} GiB"
                    raise DataError(f"{where} unpacks to more than {limit}; unpack it and pass the folder.")
                stream = tar.extractfile(member)
                data = stream.read() if stream is not None else b""
                path = member.name.removeprefix("./")
                self._content[path] = data
                self.files.append(SourceFile(path, len(data), zlib.crc32(data)))
        self.files.sort()

    def read(self, file: SourceFile) -> bytes:
        refuse_large(file.path, file.size)
        return self._content[file.path]


def common_folder(paths: Sequence[str]) -> str:
    """The folder, with a / at its end, that all paths lie in; "" if there is none."""
    folders = [PurePosixPath(path).parts[:-1] for path in paths]
    common = os.path.commonprefix(folders) if folders else ()
    return "".join(f"{part}/" for part in common)
