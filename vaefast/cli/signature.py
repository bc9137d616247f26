"""Flags read off signatures: their names, types, choices and defaults, with the docstring's words as help."""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vaefast.cli.arguments import option, real

_SEE = re.compile(r"(?:see|as for) `(vaefast[\w.]+)`")


class Hint:
    """What an annotation takes, as words of a command line."""

    def __init__(self, annotation: Any) -> None:
        kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        self.words = [str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
        self.plain = {kind for kind in kinds if isinstance(kind, type)}
        lists = [get_args(kind)[0] for kind in kinds if get_origin(kind) in (tuple, Sequence)]
        self.several = [word for kind in lists if get_origin(kind) is Literal for word in get_args(kind)]
        self.lists = [kind for kind in lists if get_origin(kind) is not Literal]
        self.entries = any(get_origin(kind) is Mapping for kind in kinds)

    @property
    def given(self) -> bool:
        """Whether a command line can give any of it but none."""
        return bool(self.words or self.several or self.lists or self.entries or self.plain & {bool, int, float, str})

    @property
    def metavar(self) -> str:
        """The value, in a line of help: its choices, N for whole numbers, X for others."""
        kind = "N" if self.plain & {int, float} == {int} else "X" if self.plain & {float, str} else ""
        kind += "N,N" * (self.lists == [int]) or "X,X" * (self.lists == [float])
        words = [*self.words, *self.several]
        return f"{{{','.join([*words, kind] if kind else words)}}}" if words else kind

    def expected(self, name: str) -> str:
        """What it takes, for people; "" for nothing that a command line can give."""
        forms = [", ".join(self.words)] if self.words else []
        forms += [f"some of {', '.join(self.several)}, separated by commas"] if self.several else []
        forms += [words for kind, words in ((bool, "true or false"), (str, "a word")) if kind in self.plain]
        forms += ["a number"] if float in self.plain else ["a whole number"] if int in self.plain else []
        forms += ["numbers separated by commas"] if self.lists else []
        forms += [f"its entries, {name}.KEY=VALUE"] if self.entries else []
        forms += ["none"] if forms and NoneType in self.plain and "none" not in self.words else []
        return " or ".join(forms)

    def read(self, text: str) -> Any:
        """The value that a text stands for; `ValueError` if it is none."""
        if text in self.words:
            return text
        if self.several and set(parts := text.split(",")) <= set(self.several):
            return parts
        low = text.lower()
        if low == "none" and NoneType in self.plain:
            return None
        if low in ("true", "false") and bool in self.plain:
            return low == "true"
        if self.plain & {int, float}:
            try:
                value = real(text)
            except ValueError:
                if not self.lists and str not in self.plain:
                    raise
            else:
                if int in self.plain and value == int(value):
                    return int(value)
                if float in self.plain:
                    return value
        if self.lists:
            return [self.lists[0](part) for part in re.split("[,x]", text)]
        if str in self.plain:
            return text
        raise ValueError(text)


def hints_of(owner: Any) -> dict[str, Hint]:
    """What each argument of a class takes."""
    return {name: Hint(kind) for name, kind in get_type_hints(owner.__init__).items() if name != "return"}


def reader(name: str, hint: Hint) -> Callable[[str], Any]:
    """Reads a flag's text, and says what it expects in words."""

    def read(text: str) -> Any:
        try:
            return hint.read(text)
        except (ValueError, OverflowError):
            near = difflib.get_close_matches(text, hint.words, 1)
            raise argparse.ArgumentTypeError(f"expected {'one of ' * (len(hint.words) > 1 and not hint.plain - {NoneType})}"
                                             f"{hint.expected(name)}" + (f"; did you mean {near[0]}?" if near else "")) from None

    return read


def described(owner: Any) -> dict[str, str]:
    """The words on each argument in the `Args` of a docstring, and where they name another object's, that one's."""
    descriptions = described(owner.__base__) if owner.__base__ not in (None, object) else {}
    block = re.search(r"^Args:\n((?:    .*\n?|\n)*)", inspect.cleandoc(owner.__doc__ or ""), re.M)
    for entry in re.findall(r"^    (\S.*(?:\n     .*)*)", block[1] if block else "", re.M):
        names, _, words = " ".join(entry.split()).partition(": ")
        descriptions |= dict.fromkeys(names.split(", "), words)
    for name, words in descriptions.items():
        if (see := _SEE.match(words)) and (other := _named(see[1])) not in (None, owner):
            descriptions[name] = described(other).get(name, words)
    return descriptions


def _named(path: str) -> Any:
    room, _, name = path.rpartition(".")
    return getattr(import_module(room), name, None)


def flag(name: str) -> str:
    """What the command line calls an argument."""
    return f"--{name.rstrip('_').replace('_', '-')}"


def add_arguments(parser: Any, owner: Any, names: Sequence[str], *, group: str, defaults: Mapping[str, Any],
                  renamed: Mapping[str, str] | None = None) -> None:
    """A flag for each of the arguments `names` of class `owner`; the namespace has what is given alone, as "group.name".

    `defaults` are told in the help; an argument that has none there says nothing.
    """
    hints, about = hints_of(owner), described(owner)
    for name in names:
        hint, words = hints[name], _help(about.get(name, ""), defaults.get(name))
        common: dict[str, Any] = {"dest": f"{group}.{name}", "default": argparse.SUPPRESS, "help": words}
        option_string = (renamed or {}).get(name) or flag(name)
        if hint.entries:
            parser.add_argument(option_string, type=option, action="append", metavar="NAME=VALUE", **common)
        elif bool in hint.plain:
            parser.add_argument(option_string, action=argparse.BooleanOptionalAction, **common)
        else:
            parser.add_argument(option_string, type=reader(name.rstrip("_"), hint), metavar=hint.metavar, **common)


def _help(words: str, default: Any) -> str:
    words = words.replace("`", "").rstrip(".")
    if default not in (None, "", {}, ()):
        words += f" (default: {shown(default)})"
    return words.replace("%", "%%")


def shown(value: Any) -> str:
    """A value as a command line writes it."""
    if isinstance(value, Mapping):
        return " ".join(f"{key}={shown(entry)}" for key, entry in value.items())
    if isinstance(value, (tuple, list)):
        return ",".join(map(shown, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
