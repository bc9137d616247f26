"""An LMDB of image files, seen as a source of named files (see `sources`)."""

from __future__ import annotations

import struct
import weakref
from itertools import islice
from pathlib import Path
from typing import Any

from vaefast.data.sources import SourceFile, refuse_large
from vaefast.errors import ArgumentError, DataError

_MAGIC = 0xBEEFC0DE
# Of a meta page: magic, page size, last page in use, transaction. The second meta page lies a page further.
_META = struct.Struct("=16x I 20x I 92x Q Q")


class _Environment:
    """An LMDB opened once for all sources of it: lmdb opens no file twice in one process."""

    open: weakref.WeakValueDictionary[tuple[int, int], _Environment] = weakref.WeakValueDictionary()

    def __init__(self, where: Path, key: tuple[int, int]) -> None:
        _check_size(where / "data.mdb")
        self.data = _library().open(str(where), readonly=True, lock=False, create=False, readahead=False)
        self.key, self.users = key, 0
        self.open[key] = self

    def release(self) -> None:
        """Close it, at once, if nothing else uses it: a garbage collector may come late."""
        self.users -= 1
        if self.users <= 0:
            self.open.pop(self.key, None)
            self.data.close()


class LmdbSource:
    """The values of an LMDB, named by their keys and in the keys' order.

    Args:
        where: folder with data.mdb, opened for reading alone and without a lock.
        limit: of so many values only.

    Raises:
        ArgumentError: lmdb is not installed.
        DataError: no sound LMDB, one that is cut off, or one that this process holds open itself.
    """

    def __init__(self, where: Path, limit: int | None = None) -> None:
        lmdb = _library()
        self._environment: _Environment | None = None
        self.where, self.identity = where, str(where.resolve())
        self.notes: list[str] = []
        try:
            state = (where / "data.mdb").stat()
            key = state.st_dev, state.st_ino
            self._environment = _Environment.open.get(key) or _Environment(where, key)
            self._environment.users += 1
            with self._environment.data.begin(buffers=True) as view:  # a value's size lies beside its key: none is read here
                self.files = [SourceFile(bytes(name).decode("latin-1"), len(value), state.st_mtime_ns)
                              for name, value in islice(view.cursor(), limit)]
        except (lmdb.Error, OSError) as error:
            self.close()
            if "already open" in str(error):
                raise DataError(f"{where} is held open by lmdb in this process; close() that environment first.") from None
            raise DataError(f"{where} cannot be read as an LMDB ({error}); unpack or fetch it again.") from None

    def __enter__(self) -> LmdbSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the LMDB, so that others in this process may open it; nothing can be read any more."""
        environment, self._environment = getattr(self, "_environment", None), None
        if environment is not None:
            environment.release()

    def read(self, file: SourceFile) -> bytes:
        """The value of a key."""
        refuse_large(file.path, file.size)
        if self._environment is None:
            raise ValueError("its LMDB is closed")
        with self._environment.data.begin() as view:
            value = view.get(file.path.encode("latin-1"))
        if value is None:
            raise ValueError("it is no longer in the LMDB")
        return value


def _check_size(path: Path) -> None:
    """Raise OSError for a file that ends before the last page in use: to read on a map beyond its end kills the process."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        first = file.read(_META.size)
        if len(first) < _META.size or _META.unpack(first)[0] != _MAGIC:
            return  # lmdb says what is wrong
        page = _META.unpack(first)[1]
        file.seek(page)
        second = file.read(_META.size)
    metas = [_META.unpack(meta) for meta in (first, second) if len(meta) == _META.size]
    _, _, last, _ = max((meta for meta in metas if meta[0] == _MAGIC), key=lambda meta: meta[3])
    need = (max(last, 1) + 1) * page
    if size < need:
        raise OSError(f"data.mdb is truncated: it has {size:,} of {need:,} bytes")


def _library() -> Any:
    try:
        import lmdb
    except ImportError:
        raise ArgumentError("lmdb is not installed, which reads LSUN's own export; pip install 'vaefast[lsun]', or export the "
                            "pictures to a folder.") from None
    return lmdb
