"""Fetching a missing file from public mirrors: checked before it gets its name, never half there."""

from __future__ import annotations

import contextlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from vaefast.errors import DataError

TIMEOUT_SECONDS = 10.0
_CHUNK = 1 << 18
_NETWORK_ERRORS = (
    urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError,
)


def fetch(
    urls: Sequence[str],
    target: Path,
    check: Callable[[Path], None],
    *,
    timeout: float | None = None,
    max_bytes: int = 1 << 28,
) -> list[str]:
    """Bring `target` from the first of `urls` that delivers a sound copy.

    Each copy goes to a temporary name beside `target`, `check(path)` looks at it and raises DataError where it is
    not what it should be, and only then is it renamed. An existing `target` is left alone.

    Args:
        timeout: seconds without any progress before a mirror is given up; default TIMEOUT_SECONDS.
        max_bytes: a longer answer is refused.

    Returns:
        [] on success, else one sentence part a mirror: "host: reason".

    Raises:
        DataError: the folder of `target` cannot be written.
    """
    if target.exists():
        return []
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    failures = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        for url in urls:
            host = url.split("/")[2]
            try:
                _copy(url, partial, TIMEOUT_SECONDS if timeout is None else timeout, max_bytes)
                check(partial)
            except DataError as error:
                reason = str(error).replace(str(partial), "the file it sent").rstrip(".")
                failures.append(f"{host}: {reason}")
            except urllib.error.HTTPError as error:
                failures.append(f"{host}: HTTP status {error.code}")
            except _NETWORK_ERRORS as error:
                failures.append(f"{host}: {getattr(error, 'reason', None) or error or type(error).__name__}")
            else:
                if not target.exists():
                    os.replace(partial, target)
                return []
    except OSError as error:
        raise DataError(
            f"{target.parent} cannot be written ({error.strerror or error}); pass a root that can be, "
            f"or put {target.name} there yourself."
        ) from None
    finally:
        with contextlib.suppress(OSError):  # it may never have been made
            partial.unlink()
    return failures


def _copy(url: str, path: Path, timeout: float, max_bytes: int) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "vaefast"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        expected = answer.headers.get("Content-Length")
        done = 0
        with open(path, "wb") as file:
            while piece := answer.read(_CHUNK):
                done += len(piece)
                if done > max_bytes:
                    raise DataError(f"the answer is longer than {max_bytes:,} bytes")
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if expected is not None and expected.isdigit() and int(expected) != done:
            raise DataError(f"the answer broke off after {done:,} of {int(expected):,} bytes")
