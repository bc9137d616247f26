"""Errors say what to do in the words of Python; here in those of the command line."""

from __future__ import annotations

import argparse
import inspect
import re

_ADVICE = re.compile(r"""\b(pass|with) (\w+)=("[^"]*"|'[^']*'|[\w+-]+(?:\.\w+)*)?""")


def as_flags(message: str, args: argparse.Namespace) -> str:
    """`message` with "pass size=", "pass verify=False" and the like as the arguments of a command that trains a model."""
    if not hasattr(args, "data_option") or not isinstance(getattr(args, "data", None), str):
        return message
    from vaefast import api
    from vaefast.data.catalog import options_of
    from vaefast.errors import VaefastError
    from vaefast.experiments.presets import PRESETS

    try:
        options = {*options_of(args.data), "size"}
    except VaefastError:  # no such data set
        return message
    model = api.MODELS[next(iter(PRESETS[args.model].values())).kind]

    def flag(found: re.Match[str]) -> str:
        word, name, value = found.groups()
        value = (value or "VALUE").strip("\"'")
        value = value.lower() if value in ("True", "False", "None") else value
        if name == "size" and name in options:
            return f"{word} --image-size {'N' if value == 'VALUE' else value}"
        if name in options:
            return f"{word} --data-option {name}={value}"
        if name in inspect.signature(model).parameters and hasattr(args, "model_option"):
            return f"{word} --model-option {name}={value}"
        return found.group()

    return _ADVICE.sub(flag, message)
