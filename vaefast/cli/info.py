"""`vaefast info`."""

from __future__ import annotations

import argparse
from typing import Any

HELP = "versions, devices, and which backend serves which op"


def add(commands: Any, machine: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    info = commands.add_parser("info", help=HELP)
    info.set_defaults(call=_run)


def _run(args: argparse.Namespace) -> None:
    from vaefast.experiments.information import print_information

    print_information()
