"""What the commands' arguments share: how texts are read, and the arguments of every command that runs something."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from collections.abc import Mapping as MappingType
from collections.abc import Sequence as SequenceType
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from vaefast.errors import ArgumentError


def numbers(kind: type) -> Any:
    """A reader of one or more numbers of that kind, separated by commas."""
    def parse(text: str) -> tuple:
        return tuple(kind(part) for part in text.split(","))

    parse.expected = f"{_WORDS[kind]}, or one for each stage, separated by commas"  # type: ignore[attr-defined]
    return parse


def real(text: str) -> float:
    """A number."""
    value = float(text)
    if math.isnan(value):
        raise ValueError
    return value


def number(text: str) -> int | float:
    """A number; an integer where it is a whole one, as some models take such alone."""
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


def words(text: str) -> list[str]:
    """Words separated by commas."""
    return text.split(",")


def option(text: str) -> tuple[str, Any]:
    """NAME=VALUE, where VALUE is true, false, none, a number or a word."""
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError("expected NAME=VALUE")
    known: dict[str, Any] = {"true": True, "false": False, "none": None}
    if value.lower() in known:
        return name, known[value.lower()]
    try:
        return name, number(value)
    except ValueError:
        return name, value


def by_name(options: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Options by name; NAME.KEY=VALUE is an entry of an option that is itself a mapping."""
    found: dict[str, Any] = {}
    for name, value in options:
        name, dot, key = name.partition(".")
        found[name] = {**found.get(name, {}), key: value} if dot else value
    return found


def as_declared(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """A model's options as its signature declares them: 16 for a whole number and 16.0 for any, numbers for "20,30".

    Raises:
        ArgumentError: a value that is not of the kind that it declares. Options that it has not are left for it to refuse.
    """
    from vaefast import api
    from vaefast.experiments.presets import PRESETS

    model = api.MODELS[next(iter(PRESETS[kind].values())).kind]
    hints = get_type_hints(model.__init__)
    return {name: _declared(name.rstrip("_"), value, hints[name]) if name in hints else value for name, value in options.items()}


def _declared(name: str, value: Any, hint: Any) -> Any:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    plain = {kind for kind in kinds if isinstance(kind, type)}
    lists = [kind for kind in kinds if get_origin(kind) in (tuple, SequenceType)]
    if value is None and NoneType in plain or isinstance(value, bool) and bool in plain:
        return value
    if isinstance(value, Mapping) and any(get_origin(kind) is MappingType for kind in kinds):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if int in plain and value == int(value):
            return int(value)
        if float in plain:
            return float(value)
        if lists:
            value = str(value)
    if isinstance(value, str) and str in plain:
        return value
    if isinstance(value, str) and lists:
        try:
            return [get_args(lists[0])[0](part) for part in value.split(",")]
        except ValueError:
            pass
    expected = [words for one, words in ((bool, "true or false"), (str, "a word")) if one in plain]
    expected += ["a number"] if float in plain else ["a whole number"] if int in plain else []
    expected += ["numbers separated by commas"] if lists else []
    expected += [f"its entries, {name}.KEY=VALUE"] if any(get_origin(kind) is MappingType for kind in kinds) else []
    if not expected:
        raise ArgumentError(f"{name} is {value!r}; the command line cannot give what it takes: build the model in Python "
                            "(networks of your own go by --networks).")
    expected += ["none"] if NoneType in plain else []
    raise ArgumentError(f"{name} is {value!r}; expected {' or '.join(expected)}.")


def given(**values: Any) -> dict[str, Any]:
    """Those of the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def machine() -> argparse.ArgumentParser:
    """--device and --seed, as a parent of the commands' parsers."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--seed", type=seed, default=0, metavar="S", help="seed (default: 0)")
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
