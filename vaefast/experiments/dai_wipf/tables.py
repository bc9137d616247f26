"""Rows of scores over trials, beside the paper's, as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaefast.experiments.dai_wipf.cell import Study, run_path, scores_of
from vaefast.experiments.dai_wipf.paper import TITLES, Mean
from vaefast.experiments.dai_wipf.protocol import Row
from vaefast.files import write_atomically
from vaefast.training.storage import write_json

COLUMNS = (
    ("paper_fid", "FID in the paper"),
    ("fid", "FID"),
    ("fd_classifier", "FD-classifier"),
    ("reconstructions", "FD-classifier of reconstructions"),
    ("reconstruction_error", "squared error a pixel"),
    ("gamma", "gamma"),
    ("active_dimensions", "active dimensions"),
    ("minutes", "minutes of training"),
)
"""Key of a row's value, and its heading. "paper_fid" is the one that was not measured here."""


def table(study: Study, name: str, data: str, rows: Sequence[Row], paper: dict[str, dict[str, Mean]]) -> dict[str, Any]:
    """The rows of a table on one data set, over all trials that are finished, were they asked for by this call or an earlier one.

    Returns:
        name, data, preset, trials, "rows": for each its name, title and, for each column, {mean, std, values} or null.
    """
    found: list[dict[str, Any]] = []
    most = 0
    for row in rows:
        done = sorted(run_path(study, name, data, row.training, 1).parent.glob("trial-*/evaluation.json")) if row.training else ()
        trials = [_values(scores_of(path.parent), row.stage) for path in done]
        most = max(most, len(trials))
        printed = paper.get(row.name, {}).get(data)
        found.append({"name": row.name, "title": TITLES[row.name],
                      "paper_fid": {"mean": printed[0], "std": printed[1], "values": []} if printed else None,
                      **{key: _spread([t[key] for t in trials if key in t]) for key, _ in COLUMNS[1:]}})
    for row, values in zip(rows, found):
        if row.best_of:
            values |= _best([other for other in found if other["name"] in row.best_of])
    return {"table": name, "data": data, "preset": study.preset, "trials": most, "rows": found}


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The columns measured here of the row with the lowest mean FID (FD-classifier, where there is no FID)."""
    for key in ("fid", "fd_classifier"):
        if scored := [row for row in rows if row[key]]:
            best = min(scored, key=lambda row: row[key]["mean"])
            measured = {column: best[column] for column, _ in COLUMNS[1:]}
            return measured | {"best": best["name"]}
    return {}


def _values(scores: dict[str, Any], stage: int) -> dict[str, float]:
    """The columns of one trial."""
    keys = {"fid": f"fid/stage{stage}", "fd_classifier": f"fd_classifier/stage{stage}",
            "reconstructions": "fd_classifier/reconstructions", "reconstruction_error": "reconstruction_error",
            "gamma": "gamma_x", "active_dimensions": "active_dimensions", "minutes": f"minutes/stage{stage}"}
    return {column: float(scores[key]) for column, key in keys.items() if scores.get(key) is not None}


def _spread(values: list[float]) -> dict[str, Any] | None:
    if not values:
        return None
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else None, "values": values}


def columns_of(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The columns that some row has a value in."""
    return [(key, heading) for key, heading in COLUMNS if any(row[key] for row in found["rows"])]


def shown(value: dict[str, Any] | None) -> str:
    """A mean, with its deviation where there is one; "-" for nothing."""
    if value is None:
        return "-"
    return f"{value['mean']:.4g}" + (f" ± {value['std']:.2g}" if value["std"] is not None else "")


def write_table(found: dict[str, Any], stem: Path) -> None:
    """STEM.json, STEM.csv (means, deviations and values apart) and STEM.md."""
    columns = columns_of(found)
    lines = [["model", *(heading for _, heading in columns)]]
    lines += [[row["title"], *(shown(row[key]) for key, _ in columns)] for row in found["rows"]]
    marks = ["---", *["---:"] * len(columns)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], marks, *lines[1:]])
    write_atomically(stem.with_name(f"{stem.name}.md"), (text + "\n").encode())
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["model", *(f"{key}_{part}" for key, _ in columns for part in ("mean", "std", "values"))])
    for row in found["rows"]:
        cells = [row["title"]]
        for key, _ in columns:
            value = row[key] or {"mean": "", "std": None, "values": []}
            cells += [value["mean"], "" if value["std"] is None else value["std"], " ".join(map(str, value["values"]))]
        writer.writerow(cells)
    write_atomically(stem.with_name(f"{stem.name}.csv"), buffer.getvalue().encode())
    write_json(stem.with_name(f"{stem.name}.json"), found)
