"""An argument parser that answers a mistake with a line of usage and one sentence."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

_WORDS = {int: "a whole number", float: "a number"}


class Parser(argparse.ArgumentParser):
    """As argparse's. What a value has to be is said in words: a reader's own attribute `expected`, or "a number"."""

    strangers: frozenset[str] = frozenset()
    """Flags that there are elsewhere, and so no abbreviations of flags here."""

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        return [] if option_string.partition("=")[0] in self.strangers else super()._get_option_tuples(option_string)

    def short_usage(self) -> str:
        """One line: what has to be given."""
        parts = [self.prog]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                parts.append("COMMAND")
            elif not action.option_strings and action.nargs != "?":
                parts.append(str(action.metavar or action.dest))
            elif action.required and action.option_strings:
                parts.append(f"{action.option_strings[0]} {action.metavar or ''}".strip())
        return f"usage: {' '.join(parts)} [options]; all of them: {self.prog} --help"

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument ([^:]+): (?=is )", r"\1 ", message)
        end = "" if message.endswith(("?", ".")) else "."
        print(f"{self.short_usage()}\nvaefast: {message}{end}", file=sys.stderr)
        sys.exit(2)

    def unrecognized(self, words: Sequence[str]) -> NoReturn:
        """The error of arguments that there are not, with the nearest that there is."""
        word = words[0].partition("=")[0]
        known = [option for action in self._actions for option in action.option_strings]
        near = difflib.get_close_matches(word, known, 1) if word.startswith("-") else []
        self.error(f"there is no argument {word}" + (f"; did you mean {near[0]}?" if near else f" of {self.prog}"))

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        kind: Any = self._registry_get("type", action.type, action.type)
        try:
            return kind(arg_string)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(action, f"is {arg_string!r}; {error}") from None
        except (TypeError, ValueError):
            expected = getattr(kind, "expected", None) or _WORDS.get(kind, "another value")
            raise argparse.ArgumentError(action, f"is {arg_string!r}; expected {expected}") from None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        near = difflib.get_close_matches(str(value), choices, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"there is no command {value!r}{hint or '; expected ' + ', '.join(choices)}")
        raise argparse.ArgumentError(action, f"is {value!r}; expected one of {', '.join(choices)}{hint}")
