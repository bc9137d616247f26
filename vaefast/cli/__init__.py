"""The command line: `vaefast {train,sweep,sample,evaluate,fid,reproduce,info,demo}`."""

from __future__ import annotations

import argparse
import shlex
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from vaefast import __version__
from vaefast.cli import demo, evaluate, fid, info, reproduce, sample, sweep, train
from vaefast.cli.arguments import machine
from vaefast.cli.wording import for_command
from vaefast.errors import VaefastError


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; `args.call` of what it returns runs one."""
    made = argparse.ArgumentParser(prog="vaefast", description="Train, sample and score VAEs and small GANs.")
    made.add_argument("--version", action="version", version=f"vaefast {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="{train,sweep,sample,evaluate,fid,reproduce,info,demo}")
    shared = machine()
    for command in (train, sweep, sample, evaluate, fid, reproduce, info, demo):
        command.add(commands, shared)
    return made


def _show(command: str, said: set[str], usual: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any,
          **more: Any) -> None:
    """A warning of the package's as one line, once; others, such as a library's to its users' authors, as usual."""
    if category is UserWarning:
        if str(message) not in said:
            said.add(str(message))
            print(f"vaefast: {for_command(str(message), command)}", file=sys.stderr)
    else:
        usual(message, category, *where, **more)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (0, 2 for bad input, 130 after Ctrl-C)."""
    from vaefast.training.allocator import keep_freed_memory

    words = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(words)
    args.line = shlex.join(["vaefast", *words])
    keep_freed_memory()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # paths may hold bytes that are no UTF-8, and terminals may know little
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show, args.command, set(), warnings.showwarning)
            args.call(args)
    except VaefastError as error:
        print(f"vaefast: {for_command(str(error), args.command)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = ""
        if args.command == "train" and any((Path(args.out) / name).exists() for name in ("config.json", "trials.json")):
            line = args.line if args.resume else args.line + " --resume"
            hint = f"; everything is saved, go on with: {line}"
        if args.command == "sweep":
            hint = "; what is done is kept, the same command goes on"
        print(f"\nvaefast: stopped{hint}", file=sys.stderr)
        return 130
    return 0
