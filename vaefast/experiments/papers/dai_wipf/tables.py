"""Rows of scores over trials, beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vaefast.experiments.papers.cell import Study, done_trials, scores_of
from vaefast.experiments.papers.dai_wipf.cell import run_path
from vaefast.experiments.papers.dai_wipf.paper import TITLES, Mean
from vaefast.experiments.papers.dai_wipf.protocol import Row
from vaefast.experiments.papers.tables import printed, shown, spread
from vaefast.experiments.scoring.registry import columns, entry, name_of

__all__ = ["COLUMNS", "shown", "table"]

COLUMNS = (
    ("paper_fid", "FID in the paper"),
    *columns("fid", "fd_classifier"),
    ("reconstructions", f"{name_of('fd_classifier')} of reconstructions"),
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
        done = done_trials(run_path(study, name, data, row.training, 1).parent) if row.training else ()
        trials = [_values(scores_of(path), row.stage) for path in done]
        most = max(most, len(trials))
        found.append({"name": row.name, "title": TITLES[row.name], "paper_fid": printed(paper.get(row.name, {}).get(data)),
                      **{key: spread([t[key] for t in trials if key in t]) for key, _ in COLUMNS[1:]}})
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
    keys = {"fid": entry("fid", f"stage{stage}"), "fd_classifier": entry("fd_classifier", f"stage{stage}"),
            "reconstructions": entry("fd_classifier", "reconstructions"), "reconstruction_error": "reconstruction_error",
            "gamma": "gamma_x", "active_dimensions": "active_dimensions", "minutes": f"minutes/stage{stage}"}
    return {column: float(scores[key]) for column, key in keys.items() if scores.get(key) is not None}
