"""What is seen of a training at any width of a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import sys

import pytest

from vaefast.data.progress import reporting
from vaefast.training.progress import Bar, Lines, make_progress

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


def shown_on(terminal: bool, monkeypatch, **environment: str) -> str:
    """What a short training shows on a terminal, or in a pipe, with these variables."""
    for name in ("NO_COLOR", "COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JUPYTER_COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **environment}.items():
        monkeypatch.setenv(name, value)
    try:
        reader, writer = pty.openpty() if terminal else os.pipe()
    except OSError as error:
        pytest.skip(f"no terminal can be made here: {error}")
    with os.fdopen(writer, "w", buffering=1, encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        progress = make_progress()
        progress.message("lightning is missing; pip install 'vaefast[examples]' brings it, and much else besides")
        progress.stage("stage1", 400, 0)
        for done in (100, 300):
            progress.step(done)
        progress.log(RECORD)
        progress.step(400)
        progress.log({**RECORD, "step": 400})
        progress.close()
        with reporting(None, "faces") as report:
            report(1, 2)
        monkeypatch.undo()
        found, piece = b"", b"."
        os.set_blocking(reader, False)
        while piece:
            try:
                piece = os.read(reader, 1 << 16)
            except OSError:
                piece = b""
            found += piece
    os.close(reader)
    return found.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("environment", [{}, {"CI": "true"}, {"COLUMNS": "40"}, {"NO_COLOR": "1"}])
def test_a_log_has_whole_lines_and_no_codes(environment, monkeypatch):
    lines = shown_on(False, monkeypatch, **environment).splitlines()
    assert not re.search(r"[\x1b\r]", "".join(lines)) and len(lines) == 4
    assert lines[0].endswith("'vaefast[examples]' brings it, and much else besides") and lines[1] == "stage1: 400 steps"
    assert lines[2].startswith("stage1  75%  epoch 3.0  loss -812.3") and lines[3].startswith("stage1 100%")


def test_a_dumb_terminal_gets_the_lines_of_a_log(monkeypatch):
    text = shown_on(True, monkeypatch, TERM="dumb")
    log = shown_on(False, monkeypatch)
    assert re.sub(r"\d+ s left", "", text) == re.sub(r"\d+ s left", "", log) and not re.search(r"[\x1b\r]", text)


def test_no_color_leaves_the_bar_without_colours(monkeypatch):
    codes = set(re.findall(r"\x1b\[([\d;]*)m", shown_on(True, monkeypatch, NO_COLOR="1")))
    assert codes <= {"0", "1", "2"}  # bold and dim are no colours
    assert any(code.startswith(("3", "38")) for code in re.findall(r"\x1b\[([\d;]*)m", shown_on(True, monkeypatch)))


def test_forty_columns_hold_every_line(monkeypatch):
    text = shown_on(True, monkeypatch, COLUMNS="40")
    drawn = [line for line in re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)) if line]
    assert max(map(len, drawn)) <= 40 and "'vaefast[examples]'" in text
    assert any(line.startswith("stage1 100% ━") for line in drawn) and any(line.endswith("…") for line in drawn)


def test_a_notebook_gets_the_lines_of_a_log(monkeypatch):
    """Its standard output is a stream that is no terminal, whatever TERM says; bars would need widgets."""
    cell = io.StringIO()
    monkeypatch.setenv("TERM", "xterm-color")
    monkeypatch.setattr(sys, "stdout", cell)
    progress = make_progress()
    progress.stage("stage1", 300, 0)
    progress.log(RECORD)
    progress.close()
    assert isinstance(progress, Lines) and cell.getvalue().startswith("stage1: 300 steps\nstage1 100%  epoch 3.0  loss -812.3")
