"""Folders, zip files and tar files seen the same way: a sorted list of named files, each of which can be read.

Nothing is ever unpacked to disk, so the names inside an archive cannot reach outside it.
"""

from __future__ import annotations

import os
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple, Protocol

from vaefast.data.links import resolve
from vaefast.data.tar import read_tar
from vaefast.errors import DataError

MAX_FILE_BYTES = 1 << 28
_MAX_TAR_BYTES = 1 << 32
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm",
            ".pbm", ".pnm"}
"""Of pictures."""
_ARCHIVES = (".zip", *_TARS)
_END_BYTES = (1 << 16) + 22 + 20 + 56  # that a zip's end can take: comment, end, and what a zip64 has before it
_NOTHING: Mapping[str, str] = {}
_SYSTEM_FILES = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"}


class SourceFile(NamedTuple):
    """One file of a source: its path inside (with /, printable), its size, a stamp that changes with its content.

    `broken` says why it cannot be read where that is known before: a link that leads nowhere, a device.
    """

    path: str
    size: int
    stamp: int
    broken: str = ""


class Source(Protocol):
    """A folder or an archive.

    `identity` names what the stamps hold for: the absolute path of a folder (its stamps are times), or "" for archives
    (theirs are checksums, valid wherever the archive lies). `notes` are sentences on what `files` does not show.
    """

    where: Path
    identity: str
    files: list[SourceFile]
    notes: list[str]

    def read(self, file: SourceFile) -> bytes:
        """The bytes of a file; safe to call from several threads. Raises OSError or ValueError where it is damaged."""


def is_archive(path: PurePath) -> bool:
    """Whether the name is that of an archive that `open_source` reads."""
    return path.name.lower().endswith(_ARCHIVES)


def open_source(where: Path) -> Source:
    """The files of a folder, a zip or a tar file; hidden and system files are left out. Links count as what they lead to.

    In archives, and in the names of files, a backslash parts folders: some Windows programs write it for the /.

    Raises:
        DataError: it is neither, or damaged, or cannot be read.
    """
    try:
        if where.is_dir():
            return _Folder(where)
        with open(where, "rb") as file:
            head = file.read(512)
        zipped = zipfile.is_zipfile(where)  # also true of a tar that a zip stands at the end of
        if zipped and head.startswith(b"PK"):
            return _Zip(where)
        if head[257:262] == b"ustar" or where.name.lower().endswith(_TARS):
            return _Tar(where)
        if zipped:
            return _Zip(where)
    except DataError:
        raise
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
        raise DataError(f"{where} cannot be read ({error}); fetch or copy it again.") from None
    raise DataError(f"{where} is not a folder, nor a sound zip or tar file; fetch it again or pass another path.")


def _printable(name: str) -> str:
    """The name with what is no UTF-8 in it written out, as in caf\\xe9.png."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _inside(name: str) -> str:
    """A name in an archive as a plain path from its root."""
    path = posixpath.normpath(_printable(name).replace("\\", "/")).lstrip("/")
    while path.startswith("../"):  # nothing is unpacked, so it does no harm
        path = path[3:]
    return "" if path in (".", "..") else path


def _visible(path: str) -> bool:
    return not any(part.startswith(".") or part.lower() in _SYSTEM_FILES for part in PurePosixPath(path).parts)


def _hidden_pictures(paths: Iterable[str]) -> list[str]:
    """What to tell about hidden pictures; not about the twins that macOS puts beside every file."""
    hidden = [path for path in paths if PurePosixPath(path).suffix.lower() in SUFFIXES
              and not any(part.startswith("._") or part.lower() in _SYSTEM_FILES for part in PurePosixPath(path).parts)]
    if not hidden:
        return []
    return [f"{len(hidden):,} hidden picture{'s are' if len(hidden) > 1 else ' is'} left out, such as {min(hidden)}."]


def refuse_large(path: str, size: int) -> None:
    """ValueError for a file that no image can be as large as."""
    if size > MAX_FILE_BYTES:
        raise ValueError(f"it is {size:,} bytes long, more than the {MAX_FILE_BYTES:,} that an image may have")


def _twice(count: int) -> list[str]:
    """What to tell about names that an archive holds more than once."""
    if not count:
        return []
    return [f"{count:,} name{'s stand' if count > 1 else ' stands'} in the archive more than once; the last file of each counts."]


class _Folder:
    def __init__(self, where: Path) -> None:
        self.where = where
        self.identity = str(where.resolve())
        self.files: list[SourceFile] = []
        self.notes: list[str] = []
        self._names: dict[str, str] = {}  # of files whose path is not their name
        hidden: list[str] = []
        above = {os.fspath(where): frozenset[str]()}  # of each folder still to come, the real folders that it lies in
        for folder, subfolders, names in os.walk(where, followlinks=True, onerror=_raise):
            real = os.path.realpath(folder)
            known = above.pop(folder, frozenset())
            if real in known:  # a link that leads back
                subfolders.clear()
                continue
            above.update({os.path.join(folder, name): known | {real} for name in subfolders})
            for name in names:
                on_disk = Path(folder, name).relative_to(where).as_posix()
                path = _printable(on_disk.removesuffix(name) + name.replace("\\", "/"))
                if not _visible(path):
                    hidden.append(path)
                else:
                    while path in self._names or (path != on_disk and (where / path).exists()):
                        path = f"{path}~"  # what could be confused with another is told apart
                    self.files.append(file_at(where / on_disk, path))
                    if path != on_disk:
                        self._names[path] = on_disk
        self.files.sort()
        self.notes = _hidden_pictures(hidden)

    def read(self, file: SourceFile) -> bytes:
        refuse(file)
        return (self.where / self._names.get(file.path, file.path)).read_bytes()


def file_at(at: Path, path: str) -> SourceFile:
    try:
        state = at.stat()
    except OSError:
        return SourceFile(path, 0, 0, "is a link that leads nowhere" if at.is_symlink() else "cannot be read")
    if not stat.S_ISREG(state.st_mode):
        return SourceFile(path, 0, 0, "is no regular file")
    return SourceFile(path, state.st_size, state.st_mtime_ns)


def _raise(error: OSError) -> None:
    raise error


def refuse(file: SourceFile) -> None:
    """ValueError for a file that is known to be no image."""
    if file.broken:
        raise Unreadable(file.broken)
    refuse_large(file.path, file.size)


class Unreadable(ValueError):
    """A file that cannot be read; the reason, to follow its name."""


class _Archive:
    """What zips and tars share: entries under plain paths, links resolved."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.identity = ""
        self.files: list[SourceFile] = []
        self.notes: list[str] = []
        self._real: dict[str, str] = {}  # of links

    def _list(self, entries: Mapping[str, tuple[int, int]], links: Mapping[str, str],
              no_files: Mapping[str, str] = _NOTHING) -> None:
        """List files (path -> size and stamp), what links (path -> target) stand for, and `no_files` (path -> why)."""
        self._real, broken = resolve(entries, links)
        broken = {**no_files, **broken}
        listed = {path: SourceFile(path, *entries[path]) for path in entries}
        listed |= {path: SourceFile(path, *entries[real]) for path, real in self._real.items()}
        listed |= {path: SourceFile(path, 0, 0, reason) for path, reason in broken.items()}
        self.files = sorted(file for path, file in listed.items() if path and _visible(path))
        self.notes += _hidden_pictures(path for path in listed if not _visible(path))

    def _entry(self, file: SourceFile) -> str:
        """The path of the entry that holds the file."""
        refuse(file)
        return self._real.get(file.path, file.path)


class _Zip(_Archive):
    def __init__(self, where: Path) -> None:
        super().__init__(where)
        try:
            self._zip = zipfile.ZipFile(where)
        except UnicodeDecodeError:
            raise DataError(f"{where} holds names that are no UTF-8 but are said to be; unpack it and pass the folder.") from None
        self._check_count()
        self._entries: dict[str, zipfile.ZipInfo] = {}
        twice = 0
        for info in self._zip.infolist():
            path = _inside(info.filename)
            if not info.filename.endswith(("/", "\\")):
                twice += path in self._entries
                self._entries[path] = info
        links = {path: self._target(path, info) for path, info in self._entries.items() if stat.S_ISLNK(info.external_attr >> 16)}
        self._list({path: (info.file_size, info.CRC) for path, info in self._entries.items() if path not in links}, links)
        self.notes += _twice(twice)

    def _check_count(self) -> None:
        """zipfile takes the list of files as it finds it: compare it with what the archive's end says of it.

        Raises:
            DataError: a list that is cut, or archives one after the other, of which the list is the last one's.
        """
        count, first = len(self._zip.filelist), min((info.header_offset for info in self._zip.filelist), default=0)
        with open(self.where, "rb") as file:
            head = file.read(4)
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _END_BYTES))
            end = file.read()
        at = end.rfind(b"PK\5\6")
        said = int.from_bytes(end[at + 10 : at + 12], "little")
        wide = at - 20 - 56  # where the end of a zip64 lies
        if said == 0xFFFF and wide >= 0 and end[at - 20 :].startswith(b"PK\6\7") and end[wide:].startswith(b"PK\6\6"):
            lost = count != int.from_bytes(end[wide + 32 : wide + 40], "little")
        else:
            lost = count % (1 << 16) != said  # old programs let the count run over
        if lost:
            raise DataError(f"{self.where} is a damaged zip file: it lists {count:,} files where its end says {said:,}; fetch or "
                            "copy it again.")
        if first > 0 and head == b"PK\3\4":
            raise DataError(f"{self.where} begins with {first:,} bytes that are of none of its {count:,} files: it is damaged, "
                            "or several archives in one; unpack it and pass the folder.")

    def _target(self, path: str, info: zipfile.ZipInfo) -> str:
        if info.file_size > 4096:
            return path  # no path is as long: a link to itself, which is told
        return _outward(self._zip.read(info).decode("utf-8", "surrogateescape"))

    def read(self, file: SourceFile) -> bytes:
        try:
            return self._zip.read(self._entries[self._entry(file)])
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise ValueError(f"the archive is damaged or encrypted there: {error}") from None


def _outward(target: str) -> str:
    """A symbolic link's target with /; one from the file system's root leads out of any archive."""
    target = _printable(target).replace("\\", "/")
    return "/.." + target if target.startswith("/") else target


class _Tar(_Archive):
    """A tar file, held in memory: a compressed one cannot be read out of order."""

    def __init__(self, where: Path) -> None:
        super().__init__(where)
        self._content: dict[str, bytes] = {}
        links: dict[str, str] = {}
        broken: dict[str, str] = {}
        twice = 0
        for member in read_tar(where, _MAX_TAR_BYTES):
            path = _inside(member.name)
            if PurePosixPath(path).name.startswith("._"):  # what macOS puts beside every file
                continue
            twice += path in self._content or path in links or path in broken
            target = "/" + _inside(member.target) if member.hard else _outward(member.target)
            data = self._content.get(target[1:]) if member.hard and target[1:] != path else member.data
            links.pop(path, None)  # the last of a name counts, as when unpacked
            self._content.pop(path, None)
            broken.pop(path, None)
            if member.broken:
                broken[path] = member.broken
            elif data is not None:
                self._content[path] = data
            else:
                links[path] = target
        self._list({path: (len(data), zlib.crc32(data)) for path, data in self._content.items()}, links, broken)
        self.notes += _twice(twice)

    def read(self, file: SourceFile) -> bytes:
        return self._content[self._entry(file)]


def common_folder(paths: Sequence[str]) -> str:
    """The folder, with a / at its end, that all paths lie in; "" if there is none."""
    folders = [PurePosixPath(path).parts[:-1] for path in paths]
    common = os.path.commonprefix(folders) if folders else ()
    return "".join(f"{part}/" for part in common)
