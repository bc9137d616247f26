"""The cache folder, and decoded images kept in it as memory maps.

A cached set is one folder, `decoded/<key>/`, with `images.npy` and `meta.json`. It is written under another name
and renamed when complete, so a process killed at any moment leaves no half cache behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vaefast.data.memory import in_memory
from vaefast.errors import DataError

_STALE_SECONDS = 24 * 3600


def cache_dir() -> Path:
    """Where vaefast keeps what it can make again: `$VAEFAST_CACHE`, else `~/.cache/vaefast`. Not created here.

    Raises:
        DataError: there is no home folder (no HOME, and no entry of the user in the list of users).
    """
    try:
        return Path(os.environ.get("VAEFAST_CACHE") or "~/.cache/vaefast").expanduser()
    except RuntimeError:
        raise DataError("there is no home folder to keep a cache in; set VAEFAST_CACHE to a folder to write to.") from None


def read_decoded(key: str) -> tuple[np.ndarray, dict[str, Any]] | None:
    """The cached uint8 array [N, C, H, W] (a copy-on-write map) and its meta data, or None if there is no sound one."""
    try:
        folder = cache_dir() / "decoded" / key
        meta = json.loads((folder / "meta.json").read_text())
        images = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)
        if images.dtype == np.uint8 and list(images.shape) == meta["shape"] and images.ndim == 4:
            return images, meta
    except (DataError, OSError, ValueError, KeyError, TypeError, EOFError):
        pass
    return None


class DecodedWriter:
    """A cache entry in the making: `allocate` arrays in it, then `commit` one of them."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key
        self._files: list[tuple[np.memmap, Path]] = []

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        """A uint8 array [N, C, H, W] in a file of the entry; in memory if the disk has no room for it."""
        path = self._folder / f"images-{len(self._files)}.npy"
        try:
            array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
            # Without its blocks reserved, a map on a full disk ends the process with SIGBUS instead of an error.
            if hasattr(os, "posix_fallocate"):
                with open(path, "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
        except OSError:
            path.unlink(missing_ok=True)
            return in_memory(shape)
        self._files.append((array, path))
        return array

    def commit(self, images: np.ndarray, meta: dict[str, Any]) -> None:
        """Publish `images` (one that `allocate` gave) with `meta`; without effect for an array in memory."""
        for array, path in self._files:
            if array is not images:
                path.unlink(missing_ok=True)
                continue
            array.flush()
            os.replace(path, self._folder / "images.npy")
            with open(self._folder / "meta.json", "w") as file:
                json.dump({**meta, "shape": list(images.shape)}, file)
                file.flush()
                os.fsync(file.fileno())
            final = self._folder.parent / self._key
            if final.exists() and read_decoded(self._key) is None:
                shutil.rmtree(final, ignore_errors=True)
            with contextlib.suppress(OSError):  # another process was first: its entry is the same
                os.rename(self._folder, final)


@contextlib.contextmanager
def write_decoded(key: str) -> Iterator[DecodedWriter | None]:
    """Prepare the cache entry `key`; None where the cache folder cannot be written. Uncommitted entries vanish."""
    try:
        base = cache_dir() / "decoded"
        folder = base / f".partial-{uuid.uuid4().hex}"
        base.mkdir(parents=True, exist_ok=True)
        _remove_stale(base)
        folder.mkdir()
    except (DataError, OSError):
        yield None
        return
    try:
        yield DecodedWriter(folder, key)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(base: Path) -> None:
    """Remove what processes killed more than a day ago left unfinished."""
    for partial in base.glob(".partial-*"):
        with contextlib.suppress(OSError):
            if time.time() - partial.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(partial, ignore_errors=True)
