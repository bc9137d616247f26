"""What a sweep found, as Markdown, CSV and JSON: every setting with its score, and the best one over many seeds."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaefast.experiments.scoring.registry import name_of
from vaefast.experiments.sweep.job import SCORES, milestones_of, score_of, shown, state_of
from vaefast.files import write_atomically
from vaefast.training.run_folder import RunFolder
from vaefast.training.storage import write_json

HEADINGS = {metric: name_of(key) for metric, key in SCORES.items()}


def setting_rows(paths: Sequence[Path], settings: Sequence[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """A row for each setting, best score first, then those that have none."""
    rows = []
    for path, setting in zip(paths, settings):
        state = state_of(path)
        on_the_way = milestones_of(path, metric)
        rows.append({"name": path.name, "setting": setting, "state": state, "minutes": _minutes(path),
                     "score": score_of(path, metric) if state == "done" else None,
                     "last_on_the_way": {"share": on_the_way[-1][0], "score": on_the_way[-1][1]} if on_the_way else None})
    return sorted(rows, key=lambda row: (row["score"] is None, row["score"] or 0.0, row["name"]))


def best_row(paths: Sequence[Path], name: str, setting: dict[str, Any], metric: str) -> dict[str, Any]:
    """Mean and sample deviation of a setting's score over its repeats in `paths`; those that diverged are counted apart."""
    states = [state_of(path) for path in paths]
    values = [v for path in paths if (v := score_of(path, metric)) is not None]
    return {"name": name, "setting": setting, "metric": SCORES[metric], "seeds": len(values),
            "diverged": states.count("diverged"), "mean": statistics.fmean(values) if values else None,
            "std": statistics.stdev(values) if len(values) > 1 else None, "min": min(values, default=None),
            "max": max(values, default=None), "values": values}


def write_settings(rows: Sequence[dict[str, Any]], metric: str, stem: Path) -> None:
    """The settings' table as STEM.md, STEM.csv and STEM.json."""
    names = list(dict.fromkeys(name for row in rows for name in row["setting"]))
    head = ["setting", HEADINGS[metric], "state", "minutes", *(n.partition("/")[2].rstrip("_") for n in names)]
    body = [[row["name"], row["score"], row["state"], row["minutes"], *(row["setting"].get(n) for n in names)] for row in rows]
    _write(head, body, stem, {"metric": SCORES[metric], "rows": list(rows)})


def write_best(row: dict[str, Any], metric: str, stem: Path) -> None:
    """The best setting's table as STEM.md, STEM.csv and STEM.json."""
    names = list(row["setting"])
    head = ["setting", f"{HEADINGS[metric]} mean", "std", "min", "max", "seeds", "diverged",
            *(n.partition("/")[2].rstrip("_") for n in names)]
    body = [[row[key] for key in ("name", "mean", "std", "min", "max", "seeds", "diverged")] + list(row["setting"].values())]
    _write(head, body, stem, row)


def _write(head: list[str], body: list[list[Any]], stem: Path, record: dict[str, Any]) -> None:
    cells = [["-" if v is None else f"{v:.4g}" if isinstance(v, float) else shown(v) for v in line] for line in body]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *cells]
    write_atomically(stem.with_suffix(".md"), "".join("| " + " | ".join(line) + " |\n" for line in lines).encode())
    buffer = io.StringIO()
    csv.writer(buffer).writerows([head, *body])
    write_atomically(stem.with_suffix(".csv"), buffer.getvalue().encode())
    write_json(stem.with_suffix(".json"), record)


def _minutes(path: Path) -> float | None:
    """Of training, so far."""
    if state_of(path) == "waiting":
        return None
    records = RunFolder.open(path).read_metrics()
    return max((r["seconds"] for r in records), default=0.0) / 60
