"""An LMDB of image files, seen as a source of named files (see `sources`)."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from vaefast.data.sources import SourceFile, refuse_large
from vaefast.errors import ArgumentError, DataError


class LmdbSource:
    """The values of an LMDB, named by their keys and in the keys' order.

    Args:
        where: folder with data.mdb, opened for reading alone and without a lock.
        limit: of so many values only.

    Raises:
        ArgumentError: lmdb is not installed.
        DataError: no sound LMDB.
    """

    def __init__(self, where: Path, limit: int | None = None) -> None:
        lmdb = _library()
        self.where, self.identity = where, str(where.resolve())
        try:
            self._data = lmdb.open(str(where), readonly=True, lock=False, create=False, readahead=False)
            stamp = (where / "data.mdb").stat().st_mtime_ns
            with self._data.begin(buffers=True) as view:  # a value's size lies beside its key: no value is read here
                self.files = [SourceFile(bytes(key).decode("latin-1"), len(value), stamp)
                              for key, value in islice(view.cursor(), limit)]
        except (lmdb.Error, OSError) as error:
            raise DataError(f"{where} cannot be read as an LMDB ({error}); unpack or fetch it again.") from None

    def read(self, file: SourceFile) -> bytes:
        """The value of a key."""
        refuse_large(file.path, file.size)
        with self._data.begin() as view:
            value = view.get(file.path.encode("latin-1"))
        if value is None:
            raise ValueError("it is no longer in the LMDB")
        return value


def _library() -> Any:
    try:
        import lmdb
    except ImportError:
        raise ArgumentError("lmdb is not installed, which reads LSUN's own export; pip install 'vaefast[lsun]', or export the "
                            "pictures to a folder.") from None
    return lmdb
