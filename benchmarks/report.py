"""A benchmark's report as a file that grows with each case, and its tables: the command line of those that write one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vaefast.files import write_atomically

Save = Callable[[dict], None]


def save(path: Path, report: dict) -> None:
    """Write what has been measured so far: a run that is cut off leaves it."""
    write_atomically(path, (json.dumps(report, indent=1) + "\n").encode())


def report_parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that every report has: --out, --device, --seconds and --markdown."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each comparison")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the file, measure nothing")
    return parser


def make_report(options: argparse.Namespace, run: Callable[[Save], dict], markdown: Callable[[dict], str]) -> None:
    """Write what `run` measures into the file, unless its tables alone are asked for; print the tables. `run` is given a
    function that writes what there is so far."""
    if not options.markdown:
        save(options.out, run(partial(save, options.out)))
    print(markdown(json.loads(options.out.read_text())), end="")
