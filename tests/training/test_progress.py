"""What is seen of a training at any width of a terminal."""

from __future__ import annotations

import io
import re

import pytest

from vaefast.training.progress import Bar, Lines

RECORD = {"step": 300, "epoch": 3.0, "loss": -812.345, "reconstruction": -840.1, "kl": 27.8, "gamma": 0.0812,
          "active_dimensions": 17, "images_per_second": 12345.6}


@pytest.mark.parametrize("width", [30, 40, 57, 80, 132])
def test_bar_percentage_and_time_left_at_any_width(width):
    from rich.console import Console

    out = io.StringIO()
    bar = Bar(Console(file=out, width=width, force_terminal=True, color_system=None, height=20))
    bar.stage("stage1", 1000, 0)
    for done in (100, 200, 300):
        bar.step(done)
    bar.log(RECORD)
    bar.rich.refresh()
    bar.close()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()).strip().splitlines()
    row = next(line for line in reversed(shown) if line.startswith("stage1"))
    assert len(row) <= width and " 30% " in row and "━━" in row and re.search(r"[\d-]+:[\d-]+( left)?\s*$", row)
    terms = shown[-1]
    assert terms.startswith("loss -812.3") and len(terms) <= width


def test_lines_go_on_where_nobody_reads(monkeypatch):
    told = []

    def broken(*_, **__):
        told.append(1)
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", broken)
    lines = Lines()
    lines.stage("stage1", 300, 0)
    lines.log(RECORD)
    assert len(told) == 1
