"""Pieces of the pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vaefast.experiments import html
from vaefast.experiments.study.calls import read_calls
from vaefast.experiments.study.cell import Study

Pictures = Sequence[tuple[str, str]]
"""File names without .png, and captions."""


def pictures(folder: Path, figures: Pictures) -> list[str]:
    """Those of the figures that are there."""
    there = [(folder / f"{name}.png", caption) for name, caption in figures]
    return [html.figure(path, caption, "wide") for path, caption in there if path.is_file()]


def calls(study: Study) -> str:
    """What was asked for, where it ran, and how long it took."""
    lines = [[call["command"] or "from Python", call["device"], f"{call['cores']} cores, {call['threads']} threads",
              f"{call['seconds'] / 60:.1f}"] for call in read_calls(study)]
    if not lines:
        return "<p>None came to its end yet.</p>"
    return html.table(["command", "device", "machine", "minutes"], lines, "words")
