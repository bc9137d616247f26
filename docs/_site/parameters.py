"""Docstrings say "x, y: what both are" where two parameters have one meaning; the reference lists each with its own type."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension

ENTRY = re.compile(r"^    (\w+(?:, \w+)+):((?:.*\n?)(?:^        .*\n?|^\s*\n(?=        ))*)", re.M)


def apart(text: str) -> str:
    """The docstring with an entry for each name."""
    return ENTRY.sub(lambda entry: "".join(f"    {name}:{entry[2].rstrip()}\n" for name in entry[1].split(", ")), text)


class Parameters(Extension):
    """Applies it to all that is read."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = apart(obj.docstring.value)
