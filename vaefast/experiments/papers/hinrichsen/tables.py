"""Rows of scores over trials, beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaefast.experiments.papers.cell import Row, Study, done_trials, over_trials, scores_of, with_diverged
from vaefast.experiments.papers.hinrichsen.cell import folder
from vaefast.experiments.papers.hinrichsen.paper import TABLE
from vaefast.experiments.papers.hinrichsen.protocol import FEW
from vaefast.experiments.papers.logged import curve
from vaefast.experiments.papers.tables import printed, spread
from vaefast.experiments.scoring.registry import columns, entry

SCORES = columns("fid", f"inception_score_{FEW}", "inception_score", "fd_classifier", f"is_classifier_{FEW}",
                 "is_classifier", "fd_exemplar", f"is_exemplar_{FEW}", "is_exemplar")
COLUMNS = (
    ("paper_is", "IS in the paper"),
    ("paper_fid", "FID in the paper"),
    *SCORES,
    ("reconstruction_error", "squared error a pixel"),
    ("diversity", "diversity"),
    ("minutes", "minutes of training"),
)
"""Key of a row's value, and its heading. Those of the paper were not measured here."""


def table(study: Study, name: str, data: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The rows of part `name` on one data set, over all trials that are finished; and real images that were not trained on.

    Returns:
        table, data, preset, trials, "rows": for each its name, title, how many trials "diverged" and, for each column, {mean,
        std, values} or null.
    """
    found: list[dict[str, Any]] = []
    real: dict[str, list[float]] = {}
    most = 0
    for row in rows:
        where = folder(study, data, row.training)
        trials, diverged = over_trials(where, _values)
        most = max(most, len(trials) + diverged)
        paper = TABLE.get(data, {}).get(row.name) if name == "table" else None
        found.append({"name": row.name, "title": with_diverged(row.title, len(trials), diverged), "diverged": diverged,
                      "paper_is": printed((paper.inception_score, None) if paper else None),
                      "paper_fid": printed((paper.fid, None) if paper else None),
                      **{key: spread([t[key] for t in trials if key in t]) for key, _ in COLUMNS[2:]}})
        for scores in map(scores_of, done_trials(where)[:1]):
            for key, _ in SCORES:
                if entry(key, "test_vs_train") in scores:
                    real.setdefault(key, []).append(float(scores[entry(key, "test_vs_train")]))
    if real:  # the same images in every row; networks other than the Inception are trained once, too
        found.append({"name": "real", "title": "real images that were not trained on", "diverged": 0,
                      **{key: None for key, _ in COLUMNS}, **{key: spread(values[:1]) for key, values in real.items()}})
    return {"table": name, "data": data, "preset": study.preset, "trials": most, "rows": found}


def _values(path: Path, scores: dict[str, Any]) -> dict[str, float]:
    """The columns of one trial."""
    keys = {key: entry(key, "stage1") for key, _ in SCORES}
    keys |= {"reconstruction_error": "reconstruction_error", "minutes": "minutes/stage1"}
    found = {column: float(scores[key]) for column, key in keys.items() if scores.get(key) is not None}
    if last := diversity_curve(path):
        found["diversity"] = last[-1][1]
    return found


def diversity_curve(path: Path) -> list[tuple[float, float]]:
    """(epoch, diversity) of a GAN's run as it was logged: the generated images' deviation over a batch, of the real ones'."""
    return curve(path, "diversity")
