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

from vaefast.experiments.papers.cells import STOPPED, Task, stopped
from vaefast.experiments.papers.claims import DISTANCES, measured
from vaefast.experiments.papers.plan import Columns
from vaefast.experiments.scoring.registry import OF_IMAGES, entry, known
from vaefast.files import write_atomically
from vaefast.training.storage import write_json

ENTRIES = {"gamma": "gamma_x", "reconstructions": entry("fd_classifier", "reconstructions"),
           "exemplar_reconstructions": entry("fd_exemplar", "reconstructions"),
           "sharpness_reconstructions": entry("sharpness", "reconstructions")}
"""What columns are called in an evaluation, where that is not the column's own name."""


def entry_of(key: str, stage: int) -> str:
    """The entry of an evaluation that a column shows: minutes and scores of images are those of a row's stage."""
    score = known(key)[0]
    of_stage = key == "minutes" or score in OF_IMAGES
    return ENTRIES.get(key) or (entry(key, f"stage{stage}") if of_stage else key)


def table(task: Task) -> dict[str, Any]:
    """The rows of a part, over all trials that are finished, were they asked for by this call or an earlier one; and real images
    that were not compared with, where the paper has a row of them.

    Returns:
        table, data, preset, share of its length, trials; "features" of KID, precision and the like; "rows": for each its name,
        title, how many trials "diverged", its "latent_dim" and, for each of the paper's columns, {mean, std, values} or null.
    """
    paper, rows = task.paper, []
    real: dict[str, float] = {}
    features, most = None, 0
    for row in task.part.rows:
        done = task.evaluations(row)
        trials = [_values(scores, paper.keys, row.stage) | paper.extra(path) for path, scores in done]
        where = [task.folder(row.training)] if row.training else []
        diverged = sum(stopped(path.parent) is not None for folder in where for path in folder.glob(f"trial-*/{STOPPED}"))
        title = f"{row.title} ({diverged} of {diverged + len(trials)} diverged)" if diverged else row.title
        most = max(most, len(trials) + diverged)
        first = done[0][1] if done else {}
        features = first.get("features", features)
        rows.append({"name": row.name, "title": title, "diverged": diverged, "latent_dim": first.get("latent_dim"),
                     **{key: spread([t[key] for t in trials if key in t]) for key in paper.keys},
                     **paper.printed(task.name, row, task.data)})
        for key in paper.keys:
            if (value := first.get(entry(key, "test_vs_train"))) is not None:
                real.setdefault(key, float(value))
    for row, values in zip(task.part.rows, rows, strict=True):
        if row.best_of:
            values |= _best([other for other in rows if other["name"] in row.best_of], paper.keys)
    if real and paper.real:  # the same images in every row; networks other than Inception are trained once, too
        rows.append({"name": "real", "title": paper.real, "diverged": 0, "latent_dim": None, **dict.fromkeys(paper.keys),
                     **{key: spread([value]) for key, value in real.items()}})
    return {"table": task.name, "data": task.data, "preset": task.study.preset, "share": task.study.share,
            "trials": most, "features": features, "rows": rows}


def _values(scores: dict[str, Any], keys: Sequence[str], stage: int) -> dict[str, float]:
    """The columns of one trial."""
    names = {key: entry_of(key, stage) for key in keys}
    return {key: float(scores[name]) for key, name in names.items() if scores.get(name) is not None}


def _best(rows: list[dict[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    """The columns measured here of the row with the lowest mean of the first of `DISTANCES` that was measured."""
    key = measured({"rows": rows}, DISTANCES)
    scored = [row for row in rows if row[key]]
    if not scored:
        return {}
    best = min(scored, key=lambda row: row[key]["mean"])
    return {column: best[column] for column in keys if not column.startswith("paper_")} | {"best": best["name"]}


def spread(values: list[float]) -> dict[str, Any] | None:
    """Mean and deviation of what the trials gave; None of nothing."""
    if not values:
        return None
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else None, "values": values}


def printed(value: tuple[float, float | None] | None) -> dict[str, Any] | None:
    """A paper's mean and deviation in the same form."""
    return {"mean": value[0], "std": value[1], "values": []} if value else None


def columns_of(record: dict[str, Any], columns: Columns) -> list[tuple[str, str]]:
    """The columns that some row has a value in."""
    return [(key, heading) for key, heading in columns if any(row.get(key) for row in record["rows"])]


def shown(value: dict[str, Any] | None) -> str:
    """A mean, with its deviation where there is one; "-" for nothing."""
    if value is None:
        return "-"
    return f"{value['mean']:.4g}" + (f" ± {value['std']:.2g}" if value["std"] is not None else "")


def lines_of(record: dict[str, Any], columns: Columns) -> list[list[str]]:
    """The table as words, its headings first."""
    used = columns_of(record, columns)
    return [["model", *(heading for _, heading in used)],
            *([row["title"], *(shown(row[key]) for key, _ in used)] for row in record["rows"])]


def write_table(record: dict[str, Any], stem: Path, columns: Columns) -> None:
    """STEM.json, STEM.csv (means, deviations and values apart) and STEM.md."""
    used, lines = columns_of(record, columns), lines_of(record, columns)
    marks = ["---", *["---:"] * len(used)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], marks, *lines[1:]])
    write_atomically(stem.with_name(f"{stem.name}.md"), (text + "\n").encode())
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["model", *(f"{key}_{part}" for key, _ in used for part in ("mean", "std", "values"))])
    for row in record["rows"]:
        cells = [row["title"]]
        for key, _ in used:
            value = row[key] or {"mean": "", "std": None, "values": []}
            cells += [value["mean"], "" if value["std"] is None else value["std"], " ".join(map(str, value["values"]))]
        writer.writerow(cells)
    write_atomically(stem.with_name(f"{stem.name}.csv"), buffer.getvalue().encode())
    write_json(stem.with_name(f"{stem.name}.json"), record)
