"""Advice in the words of the command line: what Python calls on_bad="skip" is --on-bad skip here."""

from __future__ import annotations

import argparse
import inspect
import re

_VALUE = r"""(?:(?P<quote>["'])(?P<text>[\w.]+)(?P=quote)|(?P<plain>True|False|None|\d[\d.]*))?"""
_ARGUMENT = re.compile(rf"\b(?P<lead>with )?(?P<name>[a-z_]+)={_VALUE}(?=[\s;,.:)]|$)")
_SETTING = re.compile(r"(?<![\w./\\-])[a-z]+(?:_[a-z]+)+(?![\w/\\=-]|\.\w)")  # batch_size, and not where it is part of a path
_SPLIT = re.compile(r'; (?:pass )?split="all"(?: has all images| to take it [^;.]*)?(?: or)?')
"""Which images of a set are taken is the command's own choice."""
_FLAGS = {
    "fid": {"size": "--size", "on_bad": "--on-bad"},
    "train": {"size": "--image-size", "on_bad": "--on-bad"},
    "sweep": {"size": "--image-size", "on_bad": "--on-bad"},
    "evaluate": {"on_bad": "--on-bad"},
}


def for_command(text: str, args: argparse.Namespace) -> str:
    """`text` with the arguments of data sets' loaders and of models that it names written as the command of `args` takes them."""
    flags, loaders, models = _FLAGS.get(args.command, {}), _loaders(args), _of_model(args)

    def written(found: re.Match[str]) -> str:
        name, lead, value = found["name"], found["lead"] or "", found["text"] or found["plain"]
        if flag := flags.get(name):
            return f"{lead}{flag} {value or 'N'}"
        value = value.lower() if value in ("True", "False", "None") else value
        if value and name in models and (lead or name not in loaders):  # a model is built with it, a loader is passed it
            return f"{lead}--model-option {name}={value}"
        return f"{lead}--data-option {name}={value}" if value and name in loaders else found[0]

    def named(found: re.Match[str]) -> str:
        return f"--{found[0].replace('_', '-')}" if hasattr(args, found[0]) else found[0]

    return _SETTING.sub(named, _ARGUMENT.sub(written, _SPLIT.sub(_other_way, text)))


def _other_way(found: re.Match[str]) -> str:
    return "; pass" if found[0].endswith(" or") else ""


def _loaders(args: argparse.Namespace) -> set[str]:
    """Options of the data set that the command loads, as --data-option takes them."""
    from vaefast.data.catalog import options_of
    from vaefast.errors import VaefastError

    if not hasattr(args, "data_option") or not isinstance(getattr(args, "data", None), str):
        return set()
    try:
        return {*options_of(args.data), "classes", "held_out", "binarize"}
    except VaefastError:  # no such data set
        return set()


def _of_model(args: argparse.Namespace) -> set[str]:
    """Arguments of the model that the command trains, as --model-option takes them."""
    if not hasattr(args, "model_option"):
        return set()
    from vaefast import api
    from vaefast.experiments.presets import PRESETS

    return set(inspect.signature(api.MODELS[next(iter(PRESETS[args.model].values())).kind]).parameters)
