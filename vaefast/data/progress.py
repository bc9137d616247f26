"""How far decoding has come, on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Report = Callable[[int, int], None]


def draws_bars(stream: TextIO) -> bool:
    """Whether it is a terminal on which a line can be drawn anew: no file, pipe or notebook, and no dumb terminal."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


@contextmanager
def reporting(progress: Report | None, what: str) -> Iterator[Report]:
    """`progress` itself, or a bar on standard error for the length of the block; nothing where that draws none."""
    if progress is not None:
        yield progress
        return
    if not draws_bars(sys.stderr):
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn(),
                  console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"decoding {what}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
