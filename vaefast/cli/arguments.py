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


def add_training(parser: argparse.ArgumentParser) -> None:
    """What is trained, on what, and how long: of the commands that train a model that is named."""
    from vaefast import data
    from vaefast.data.decode import ON_BAD
    from vaefast.experiments.presets import PRESETS
    from vaefast.training.device import PRECISIONS

    parser.add_argument("model", metavar="MODEL", choices=list(PRESETS), help="what to train: " + ", ".join(PRESETS))
    parser.add_argument("--data", required=True, metavar="NAME", help="data set: " + ", ".join(data.names()))
    parser.add_argument("--image-size", "--size", dest="image_size", type=int, metavar="N",
                        help="resize to NxN, where the set offers it (folder, celeba, ...)")
    parser.add_argument("--on-bad", choices=ON_BAD, help="what to do about files that are no sound images (default: error)")
    parser.add_argument("--data-option", type=option, action="append", default=[], metavar="NAME=VALUE",
                        help="option of the data set's loader, such as crop=140 of celeba; may be given several times")
    names = sorted({name for presets in PRESETS.values() for name in presets})
    parser.add_argument("--preset", default="quick", metavar="P", help=f"{', '.join(names)} (default: quick)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=numbers(float), metavar="N[,N]", help="epochs of all stages, or of each")
    budget.add_argument("--steps", type=numbers(int), metavar="N[,N]", help="steps of all stages, or of each")
    parser.add_argument("--batch-size", type=int, metavar="B", help="examples a step, in all stages")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="precision of the networks (default: auto)")


def data_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of the data set's loader among `add_training`'s arguments."""
    return {**given(size=args.image_size, on_bad=args.on_bad), **dict(args.data_option)}
