"""Rows of scores over trials as JSON, CSV and Markdown.

A table is {"rows": [...], ...}, each row with "name", "title" and, for each column's key, {mean, std, values} or null.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaefast.files import write_atomically
from vaefast.training.storage import write_json

Columns = Sequence[tuple[str, str]]
"""Key of a row's value, and its heading."""


def spread(values: list[float]) -> dict[str, Any] | None:
    """Mean and deviation of what the trials gave; None of nothing."""
    if not values:
        return None
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else None, "values": values}


def printed(value: tuple[float, float | None] | None) -> dict[str, Any] | None:
    """A paper's mean and deviation in the same form."""
    return {"mean": value[0], "std": value[1], "values": []} if value else None


def columns_of(found: dict[str, Any], columns: Columns) -> list[tuple[str, str]]:
    """The columns that some row has a value in."""
    return [(key, heading) for key, heading in columns if any(row[key] for row in found["rows"])]


def shown(value: dict[str, Any] | None) -> str:
    """A mean, with its deviation where there is one; "-" for nothing."""
    if value is None:
        return "-"
    return f"{value['mean']:.4g}" + (f" ± {value['std']:.2g}" if value["std"] is not None else "")


def lines_of(found: dict[str, Any], columns: Columns) -> list[list[str]]:
    """The table as words, its headings first."""
    used = columns_of(found, columns)
    return [["model", *(heading for _, heading in used)],
            *([row["title"], *(shown(row[key]) for key, _ in used)] for row in found["rows"])]


def write_table(found: dict[str, Any], stem: Path, columns: Columns) -> None:
    """STEM.json, STEM.csv (means, deviations and values apart) and STEM.md."""
    used, lines = columns_of(found, columns), lines_of(found, columns)
    marks = ["---", *["---:"] * len(used)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], marks, *lines[1:]])
    write_atomically(stem.with_name(f"{stem.name}.md"), (text + "\n").encode())
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["model", *(f"{key}_{part}" for key, _ in used for part in ("mean", "std", "values"))])
    for row in found["rows"]:
        cells = [row["title"]]
        for key, _ in used:
            value = row[key] or {"mean": "", "std": None, "values": []}
            cells += [value["mean"], "" if value["std"] is None else value["std"], " ".join(map(str, value["values"]))]
        writer.writerow(cells)
    write_atomically(stem.with_name(f"{stem.name}.csv"), buffer.getvalue().encode())
    write_json(stem.with_name(f"{stem.name}.json"), found)
