"""A benchmark's report as a file, and its tables: the command line of those that write one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path


def report_parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that every report has: --out, --device, --seconds and --markdown."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each comparison")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the file, measure nothing")
    return parser


def make_report(options: argparse.Namespace, run: Callable[[], dict], markdown: Callable[[dict], str]) -> None:
    """Write what `run` measures into the file, unless its tables alone are asked for; print the tables."""
    if not options.markdown:
        measured = run()
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(measured, indent=1) + "\n")
    print(markdown(json.loads(options.out.read_text())), end="")
