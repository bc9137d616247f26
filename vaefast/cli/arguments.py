"""What the commands' arguments share: how texts are read, and the arguments of every command that runs something."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any


def numbers(kind: type, several: str = "one for each stage") -> Any:
    """A reader of one or more numbers of that kind, separated by commas; `several` says what more than one are."""
    def parse(text: str) -> tuple[Any, ...]:
        return tuple(kind(part) for part in text.split(","))

    parse.expected = f"{_WORDS[kind]}, or {several}, separated by commas"  # type: ignore[attr-defined]
    return parse


def real(text: str) -> float:
    """A number."""
    value = float(text)
    if math.isnan(value):
        raise ValueError
    return value


def number(text: str) -> int | float:
    """A number; an integer where it is a whole one, as some options take such alone."""
    try:
        return int(text)
    except ValueError:
        return real(text)


def seed(text: str) -> int:
    """A seed, of 64 bits."""
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError
    return value


seed.expected = "a whole number of at most 18 digits"  # type: ignore[attr-defined]
real.expected = number.expected = "a number"  # type: ignore[attr-defined]
_WORDS = {int: "a whole number", float: "a number"}


NETWORKS = ("networks of your own: MODULE:FUNCTION, which returns (encoder, decoder), of a gan (generator, discriminator), or "
            "MODULE:ENCODER,MODULE:DECODER; called with image_shape and latent_dim. That module's code is imported and run")

FEATURES = ("a network in whose features samples are compared, too: timm:NAME, torchvision:NAME, clip:NAME, dinov2:NAME or "
            "torch-fidelity:NAME, each with @FILE of its weights; or one of your own, MODULE:FUNCTION, which takes no arguments "
            "and returns a module or function, float images [B, C, H, W] in [0, 1] -> rows [B, F]. That module's code is "
            "imported and run")


def words(text: str) -> list[str]:
    """Words separated by commas."""
    return text.split(",")


def pair(text: str) -> tuple[str, str]:
    """NAME=VALUE, as texts."""
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError("expected NAME=VALUE")
    return name, value


def option(text: str) -> tuple[str, Any]:
    """NAME=VALUE, where VALUE is true, false, none, a number or a word."""
    name, value = pair(text)
    known: dict[str, Any] = {"true": True, "false": False, "none": None}
    if value.lower() in known:
        return name, known[value.lower()]
    try:
        return name, number(value)
    except ValueError:
        return name, value


def given(**values: Any) -> dict[str, Any]:
    """Those of the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def machine() -> argparse.ArgumentParser:
    """--device and --seed, as a parent of the commands' parsers."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--seed", type=seed, default=0, metavar="S", help="seed (default: 0)")
    return parser


def named(words: Sequence[str], names: Sequence[str], switches: Sequence[str]) -> str | None:
    """The first of the command line's words that is one of `names`, and no value of a flag; `switches` are flags without one."""
    before = ""
    for word in words:
        if word in names and (not before.startswith("-") or "=" in before or before in switches or before.startswith("--no-")):
            return word
        before = word
    return None


def value_of(words: Sequence[str], flag: str) -> str | None:
    """The value that a flag has among the command line's words."""
    return next((word.partition("=")[2] if "=" in word else (*words, "")[i + 1] for i, word in enumerate(words)
                 if word == flag or word.startswith(f"{flag}=")), None)
