"""Links inside an archive: which file each of them stands for. Nothing outside the archive is ever looked at."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from vaefast.errors import DataError

_MOST_STEPS = 40  # of one chain, as operating systems have it
_MOST_FILES = 1 << 22  # that links to folders may stand for


class Resolved(NamedTuple):
    """What links lead to.

    Attributes:
        files: every path that stands for a file by way of a link (a link to it, or a path below a link to a folder) -> that
            file's own path.
        broken: the paths of the other links -> why they lead nowhere.
    """

    files: dict[str, str]
    broken: dict[str, str]


class _Nowhere(Exception):
    """Why a link leads nowhere."""


def resolve(files: Collection[str], links: Mapping[str, str]) -> Resolved:
    """Follow all `links` (path -> target; from the archive's root where it begins with /, else from the link's folder).

    Raises:
        DataError: links to folders that lead to each other so often that their files cannot be listed.
    """
    stored, resolved = set(files), Resolved({}, {})
    children = _children([*files, *links])
    # A path as it is seen, where it lies in the archive, and the folders that it lies in: a link back to one is not followed.
    waiting = [(link, link, frozenset(_folders(link))) for link in links]
    while waiting:
        shown, path, above = waiting.pop()
        try:
            path = _real(path, links)
        except _Nowhere as reason:
            resolved.broken[shown] = str(reason)
            continue
        if path in stored:
            resolved.files[shown] = path
        elif path not in children:
            resolved.broken[shown] = f"is a link to {path}, which the archive does not hold"
        elif path not in above:
            inside = f"{path}/" if path else ""
            waiting += [(f"{shown}/{name}", inside + name, above | {path}) for name in children[path]]
        if len(resolved.files) + len(waiting) > _MOST_FILES:
            raise DataError(f"its links stand for more than {_MOST_FILES:,} files; unpack it and pass the folder.")
    return resolved


def _folders(path: str) -> list[str]:
    """The folders that a path lies in, the root "" among them."""
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(len(parts))]


def _children(paths: list[str]) -> dict[str, set[str]]:
    """The names in each folder."""
    children: dict[str, set[str]] = {}
    for path in paths:
        while path:
            folder, _, name = path.rpartition("/")
            known = children.setdefault(folder, set())
            if name in known:
                break
            known.add(name)
            path = folder
    return children


def _real(path: str, links: Mapping[str, str]) -> str:
    """The path without links in it. Raises `_Nowhere`."""
    ahead, done, steps = path.split("/")[::-1], list[str](), 0
    while ahead:
        part = ahead.pop()
        if part == ".." and not done:
            raise _Nowhere("is a link that leads out of the archive")
        if part == "..":
            done.pop()
        elif part not in ("", "."):
            done.append(part)
            if (target := links.get("/".join(done))) is not None:
                done = [] if target.startswith("/") else done[:-1]
                ahead += target.split("/")[::-1]
                steps += 1
                if steps > _MOST_STEPS:
                    raise _Nowhere("is a link that leads back to itself")
    return "/".join(done)
