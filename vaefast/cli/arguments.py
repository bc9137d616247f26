"""What the commands' arguments share: how texts are read, and the arguments of every command that runs something."""

from __future__ import annotations

import argparse
from typing import Any


def numbers(kind: type) -> Any:
    """A reader of one or more numbers of that kind, separated by commas."""
    def parse(text: str) -> tuple:
        return tuple(kind(part) for part in text.split(","))

    parse.__name__ = f"{kind.__name__} or {kind.__name__},{kind.__name__}"
    return parse


def words(text: str) -> list[str]:
    """Words separated by commas."""
    return text.split(",")


def option(text: str) -> tuple[str, Any]:
    """NAME=VALUE, where VALUE is true, false, none, a number or a word."""
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    known: dict[str, Any] = {"true": True, "false": False, "none": None}
    if value.lower() in known:
        return name, known[value.lower()]
    for number in (int, float):
        try:
            return name, number(value)
        except ValueError:
            continue
    return name, value


def given(**values: Any) -> dict[str, Any]:
    """Those of the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def machine() -> argparse.ArgumentParser:
    """--device and --seed, as a parent of the commands' parsers."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed (default: 0)")
    return parser
