"""The command line: `vaefast {train,sweep,sample,evaluate,export,fid,reproduce,info,demo}`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vaefast import __version__
from vaefast.cli import demo, evaluate, export, fid, info, reproduce, sample, sweep, train
from vaefast.cli.arguments import machine
from vaefast.cli.parser import Parser
from vaefast.cli.wording import flags_of, for_command
from vaefast.errors import VaefastError

COMMANDS = {"train": train, "sweep": sweep, "sample": sample, "evaluate": evaluate, "export": export, "fid": fid,
            "reproduce": reproduce, "info": info, "demo": demo}
STOPPED, BROKEN_PIPE = 130, 141
"""Exit statuses of a shell's commands after Ctrl-C, and where nobody reads on."""


def parser(words: Sequence[str] = ()) -> Parser:
    """The parser of all commands, with the arguments of the one that `words` name alone: these may take seconds to import.

    `args.call` of what it returns runs a command.
    """
    made = Parser(prog="vaefast", description="Train, sample and score VAEs and small GANs.")
    made.add_argument("--version", action="version", version=f"vaefast {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar=f"{{{','.join(COMMANDS)}}}")
    command = next((word for word in words if not word.startswith("-")), None)
    for name, module in COMMANDS.items():
        if name == command:
            module.add(commands, machine(), *([words] if module is train else []))
        else:
            commands.add_parser(name, help=module.HELP)
    return made


def _show(args: argparse.Namespace, said: set[str], usual: Callable[..., None], message: Warning | str, category: type[Warning],
          *where: Any, **more: Any) -> None:
    """A warning of the package's as one line, once; others, such as a library's to its users' authors, as usual."""
    if category is UserWarning:
        if str(message) not in said:
            said.add(str(message))
            print(f"vaefast: {for_command(str(message), args)}", file=sys.stderr)
    else:
        usual(message, category, *where, **more)


def main(argv: list[str] | None = None, ready: Callable[[], None] = lambda: None) -> int:
    """Run the command line; returns the exit status (0, 2 for bad input, 130 after Ctrl-C). `ready` is called before it does
    anything, when what it needs is imported."""
    words = sys.argv[1:] if argv is None else argv
    args = None
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # paths may hold bytes that are no UTF-8, and terminals may know little
    try:
        args = _parsed(words)
        args.line = shlex.join(["vaefast", *words])
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show, args, set(), warnings.showwarning)
            ready()
            _run(args)
        sys.stdout.flush()
    except VaefastError as error:
        print(f"vaefast: {for_command(str(error), args) if args else error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nvaefast: stopped{_hint(args)}", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # such as of `vaefast info | head`
        silence()
        return BROKEN_PIPE
    return 0


def silence() -> None:
    """Let what is still to be written go nowhere: Python writes it when it ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # standard output is no file


def _parsed(words: list[str]) -> argparse.Namespace:
    made = parser(words)
    args, unknown = made.parse_known_args(words)
    subparser = next(action for action in made._actions if isinstance(action, argparse._SubParsersAction)).choices[args.command]
    if unknown:
        if args.command == "train":
            train.refuse(unknown[0], args.model)
        subparser.unrecognized(unknown)
    args.flags = flags_of(subparser)
    return args


def _run(args: argparse.Namespace) -> None:
    from vaefast.training.allocator import keep_freed_memory

    keep_freed_memory()
    args.call(args)


def _hint(args: argparse.Namespace | None) -> str:
    """How to go on after Ctrl-C."""
    if args is None:
        return ""
    out = Path(getattr(args, "request.out", ""))
    if args.command == "train" and any((out / name).exists() for name in ("config.json", "trials.json")):
        return f"; everything is saved, go on with: {args.line if 'request.resume' in args else args.line + ' --resume'}"
    return "; what is done is kept, the same command goes on" if args.command == "sweep" else ""
