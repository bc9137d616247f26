"""What a person sees while a stage trains: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

from vaefast.data.progress import draws_bars

SHOWN = (("loss", "loss"), ("reconstruction", "rec"), ("kl", "kl"), ("gamma", "gamma"), ("active_dimensions", "active"))
LINE_SECONDS = 15.0


class Progress(Protocol):
    """Told of stages, steps and log records."""

    def stage(self, name: str, total: int, start: int) -> None: ...

    def step(self, done: int) -> None: ...

    def log(self, record: dict[str, Any]) -> None: ...

    def message(self, text: str) -> None: ...

    def close(self) -> None: ...


def describe(record: dict[str, Any]) -> str:
    """One line of a record's live terms, such as "loss -812.3  rec -840.1  kl 27.8  gamma 0.081  active 17"."""
    parts = [f"{short} {record[name]:.4g}" for name, short in SHOWN if name in record]
    parts += [f"{name} {value:.4g}" for name, value in record.items() if name.endswith("/loss")]  # one a player
    return "  ".join(parts + [f"{record['images_per_second']:,.0f} img/s"])


class Silent:
    """Shows nothing."""

    def stage(self, name: str, total: int, start: int) -> None:
        pass

    def step(self, done: int) -> None:
        pass

    def log(self, record: dict[str, Any]) -> None:
        pass

    def message(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class Lines(Silent):
    """A line every 15 seconds and at the end of a stage, for logs and pipes."""

    def __init__(self) -> None:
        self.last, self.read = 0.0, True
        self.name, self.total, self.start, self.began = "", 0, 0, 0.0

    def stage(self, name: str, total: int, start: int) -> None:
        self.name, self.total, self.start, self.began, self.last = name, total, start, time.monotonic(), 0.0
        self.message(f"{name}: {total:,} steps" + (f", from step {start:,}" if start else ""))

    def log(self, record: dict[str, Any]) -> None:
        now, done = time.monotonic(), record["step"]
        if now - self.last < LINE_SECONDS and done < self.total:
            return
        self.last = now
        left = (now - self.began) / max(1, done - self.start) * (self.total - done)
        self.message(f"{self.name} {done / self.total:4.0%}  epoch {record['epoch']:.1f}  {describe(record)}  "
                     f"{left:.0f} s left")

    def message(self, text: str) -> None:
        if self.read:
            try:
                print(text, flush=True)
            except BrokenPipeError:  # nobody reads on, as after `| head`; the training is worth more than its lines
                self.read = False


class Bar(Silent):
    """A rich progress bar with percentage and ETA, at any width, and a line of live terms below it.

    Args:
        console: rich's; its standard one by default.
    """

    def __init__(self, console: Any = None) -> None:
        from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column
        from rich.text import Text

        bar = self

        class Lines(RichProgress):
            def get_renderables(self) -> Any:
                yield self.make_tasks_table(self.tasks)
                if bar.terms:
                    yield Text(bar.terms, no_wrap=True, overflow="ellipsis", style="dim")

        def fixed() -> Column:
            return Column(no_wrap=True)

        columns: list[ProgressColumn] = [TextColumn("{task.description}", table_column=fixed()),
                                         TextColumn("{task.percentage:>3.0f}%", table_column=fixed()),
                                         BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4))]
        self.terms = ""
        self.rich = Lines(console=console, expand=True)
        width = self.rich.console.width
        if width >= 60:
            columns += [TimeElapsedColumn(table_column=fixed())]
        columns += [TimeRemainingColumn(compact=True, table_column=fixed())]
        if width >= 50:
            columns += [TextColumn("left", table_column=fixed())]
        self.rich.columns = tuple(columns)
        self.rich.start()
        self.task: Any = None

    def stage(self, name: str, total: int, start: int) -> None:
        self.terms = ""
        self.task = self.rich.add_task(name, total=total, completed=start)

    def step(self, done: int) -> None:
        self.rich.update(self.task, completed=done)

    def log(self, record: dict[str, Any]) -> None:
        self.terms = describe(record)

    def message(self, text: str) -> None:
        self.rich.console.print(text, highlight=False, markup=False)  # "vaefast[wandb]" is no markup

    def close(self) -> None:
        self.rich.stop()


def make_progress(show: bool = True) -> Progress:
    """A bar where standard output is a terminal that draws one, lines elsewhere (pipes, logs, notebooks, dumb terminals), nothing
    if not `show`."""
    if not show:
        return Silent()
    return Bar() if draws_bars(sys.stdout) else Lines()
