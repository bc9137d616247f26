"""Write a file whole or not at all."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from vaefast.errors import RunFolderError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk, and of a full share of it."""


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that a process which was killed in `write_atomically` left in `folder`."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], object] | bytes) -> Path:
    """Write to a temporary file beside `path`, flush it to disk, rename it: readers see the old file or the new.

    Args:
        path: where; missing folders are made.
        write: the content, or a function that writes it to the path it is given.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode
        if isinstance(write, bytes):
            temporary.write_bytes(write)
        else:
            write(temporary)
            os.chmod(temporary, mode)  # safetensors makes its files private; a run is shared like any other file
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RunFolderError(f"cannot write {path}: {error.strerror or error}; free some space, or choose a folder "
                             "that you may write to.") from error
    finally:
        try:
            temporary.unlink(missing_ok=True)
        except OSError:
            pass  # the folder could not be made; the first error says so
    return path
