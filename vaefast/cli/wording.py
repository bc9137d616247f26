"""Advice in the words of the command line: what Python calls on_bad="skip" is --on-bad skip here."""

from __future__ import annotations

import argparse
import re
import shlex

_VALUE = r"""(?:(?P<quote>["'])(?P<text>[^"']+)(?P=quote)|(?P<plain>True|False|None|\d[\d.]*))?"""
_ARGUMENT = re.compile(rf"\b(?P<lead>with )?(?P<name>[a-z_]+)={_VALUE}(?=[\s;,.:)]|$)")
_SETTING = re.compile(r"(?<![\w./\\-])[a-z]+(?:_[a-z]+)+(?![\w/\\=-]|\.\w)")  # batch_size, and not where it is part of a path
_FOLDER = re.compile(r"\b(another|an) out\b")
_SUBJECT = re.compile(r"^([a-z_]+)(?= (?:is|has) )(?! is not installed)")

Flags = dict[str, argparse.Action]
"""By what Python calls the argument."""
_OF_TRAIN = {"resume": "--resume", "start_from": "--start-from"}
"""What other commands have to say of `vaefast train`."""


def flags_of(parser: argparse.ArgumentParser) -> Flags:
    """A command's flags; of two of one name, the first."""
    flags: Flags = {}
    for action in parser._actions:
        if action.option_strings and action.option_strings[-1].startswith("--"):
            flags.setdefault(action.dest.rpartition(".")[2], action)
    return flags


def for_command(text: str, args: argparse.Namespace) -> str:
    """`text` with the arguments that it names written as the command of `args` takes them."""
    flags, loaders = args.flags, _loaders(args)

    def named(name: str) -> str:
        if name == "root" and name not in flags:  # of a data set's loader
            name = "data_root"
        return flags[name].option_strings[0] if name in flags else _OF_TRAIN.get(name, name)

    def written(match: re.Match[str]) -> str:
        name, lead, value = match["name"], match["lead"] or "", match["text"] or match["plain"]
        model = name in flags and flags[name].dest.startswith("model.")
        if name in loaders and not (model and lead) and name not in flags:  # a model is built with it, a loader is passed it
            return f"{lead}--data-option {name}={_low(value)}" if value else match[0]
        if named(name) == name:
            return match[0]
        switch = name in flags and isinstance(flags[name], argparse.BooleanOptionalAction)
        if value == "True" or value == "False" and switch:
            return lead + named(name).replace("--", "--no-" if value == "False" else "--", 1)
        return f"{lead}{named(name)} {shlex.quote(_low(value)) if value else 'N'}"

    def bare(match: re.Match[str]) -> str:
        return named(match[0])

    text = _SUBJECT.sub(lambda match: named(match[1]) if match[1] not in _OF_TRAIN else match[0], text)
    return _SETTING.sub(bare, _ARGUMENT.sub(written, _FOLDER.sub(r"\1 --out", text)))


def _low(value: str) -> str:
    return value.lower() if value in ("True", "False", "None") else value


def _loaders(args: argparse.Namespace) -> set[str]:
    """Options of the data set that the command loads, as --data-option takes them."""
    from vaefast.data.catalog import options_of
    from vaefast.errors import VaefastError

    name = getattr(args, "request.data_name", None)
    if not hasattr(args, "data_option") or not isinstance(name, str):
        return set()
    try:
        return {*options_of(name), "classes", "held_out", "binarize"}
    except VaefastError:  # no such data set
        return set()
