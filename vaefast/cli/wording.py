"""Advice in the words of the command line: what Python calls on_bad="skip" is --on-bad skip here."""

from __future__ import annotations

import re

_ARGUMENT = re.compile(r"""\b(?P<name>[a-z_]+)=(?:"(?P<text>[\w.]+)"|(?P<number>True|False|\d[\d.]*))?(?=[\s;,.:)]|$)""")
_FLAGS = {
    "fid": {"size": "--size", "on_bad": "--on-bad"},
    "train": {"size": "--image-size", "on_bad": "--on-bad"},
    "sweep": {"size": "--image-size", "on_bad": "--on-bad"},
    "evaluate": {"on_bad": "--on-bad"},
}
_LOADING = ("train", "sweep")  # these have --data-option


def for_command(text: str, command: str) -> str:
    """`text` with the arguments of data sets' loaders that it names written as `command` takes them."""
    from vaefast import data
    from vaefast.data.catalog import options_of

    loaders = {option for name in data.names() for option in options_of(name)} | {"classes", "held_out", "binarize"}

    def written(found: re.Match[str]) -> str:
        name, value = found["name"], found["text"] or found["number"]
        if flag := _FLAGS.get(command, {}).get(name):
            return f"{flag} {value or 'N'}"
        if command in _LOADING and name in loaders and value:
            return f"--data-option {name}={value.lower() if value in ('True', 'False') else value}"
        return found[0]

    return _ARGUMENT.sub(written, text)
