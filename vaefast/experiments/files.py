"""Write a file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import RunFolderError


def write_atomic(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content` to `path` through a temporary file beside it; missing folders are made.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunFolderError(f"Cannot write {path}: {error.strerror or error}.") from error
    return path
