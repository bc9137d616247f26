"""`vaefast demo`."""

from __future__ import annotations

import argparse
from typing import Any

HELP = "a two-stage VAE on handwritten digits in a few minutes"


def add(commands: Any, machine: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    demo = commands.add_parser("demo", parents=[machine], help=HELP)
    demo.add_argument("--out", default=None, metavar="RUN", help="run folder (default: vaefast-demo, or the next free name)")
    demo.set_defaults(call=_run)


def _run(args: argparse.Namespace) -> None:
    from vaefast.experiments.demo import demo

    demo(args.out, seed=args.seed, device=args.device, command=args.line)
