"""Rows of scores over trials, beside those of the data themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaefast.experiments.papers.cell import Row, Study, done_trials, over_trials, scores_of, with_diverged
from vaefast.experiments.papers.gamix.cell import folder
from vaefast.experiments.papers.tables import spread
from vaefast.experiments.scoring.registry import columns, entry
from vaefast.training.storage import read_object

DISTANCES = columns("fid", "fd_classifier", "fd_exemplar")
_CODES = (
    ("active", "active dimensions"),
    ("used", "dimensions of KL > 0.01"),
    ("kl_dimension", "KL a dimension, nats"),
    ("posterior_variance", "posterior variance"),
    ("global_mean", "global mean, rms"),
    ("global_variance", "global variance"),
)
_IMAGES = (
    ("reconstruction_error", "squared error a pixel"),
    ("sharpness_reconstructions", "sharpness of reconstructions"),
    ("sharpness", "sharpness of samples"),
)
_COVER = columns("kid", "precision", "recall", "density", "coverage", "diversity")
COLUMNS = {
    **dict.fromkeys(("ablation", "weights", "dimensions", "moments"),
                    (*_CODES, *_IMAGES, *DISTANCES, ("minutes", "minutes of training"))),
    "baselines": (*DISTANCES, *_COVER, *_IMAGES, _CODES[0], ("minutes", "minutes of training")),
}
"""Key of a row's value, and its heading, by part."""
KEYS = tuple(dict.fromkeys(key for columns in COLUMNS.values() for key, _ in columns))
_OF_SAMPLES = (*(key for key, _ in DISTANCES), *(key for key, _ in _COVER), "sharpness")
"""Scores of any set of images."""


def table(study: Study, part: str, data_name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The rows of a part on one data set, over all trials that are finished; and real images that were not compared with.

    Returns:
        table, data, preset, trials, latent_dim, "features" (of KID, precision and the others), "rows": for each its name, title,
        how many trials "diverged", its own "latent_dim" and, for each key, {mean, std, values} or null.
    """
    found: list[dict[str, Any]] = []
    real: dict[str, float] = {}
    features, most = None, 0
    for row in rows:
        where = folder(study, data_name, row.training)
        trials, diverged = over_trials(where, lambda path, scores, stage=row.stage: _values(path, scores, stage))
        most = max(most, len(trials) + diverged)
        dims = None
        for scores in map(scores_of, done_trials(where)[:1]):
            features, dims = scores.get("features"), scores["latent_dim"]
            floor = {key: scores.get(entry(key, "test_vs_train")) for key in _OF_SAMPLES}
            real = real or {key: float(value) for key, value in floor.items() if value is not None}
        found.append({"name": row.name, "title": with_diverged(row.title, len(trials), diverged), "diverged": diverged,
                      "latent_dim": dims, **{key: spread([t[key] for t in trials if key in t]) for key in KEYS}})
    if real:  # the same images in every row
        found.append({"name": "real", "title": "real images", "diverged": 0, "latent_dim": None, **dict.fromkeys(KEYS),
                      **{key: spread([value]) for key, value in real.items()}})
    return {"table": part, "data": data_name, "preset": study.preset, "trials": most, "features": features, "rows": found}


def _values(path: Path, scores: dict[str, Any], stage: int) -> dict[str, float]:
    """The columns of one trial, of images of its stage; codes are those of test images."""
    keys = {key: entry(key, f"stage{stage}") for key in _OF_SAMPLES}
    keys |= {"reconstruction_error": "reconstruction_error", "sharpness_reconstructions": entry("sharpness", "reconstructions"),
             "minutes": f"minutes/stage{stage}"}
    found = {column: float(scores[key]) for column, key in keys.items() if scores.get(key) is not None}
    codes = read_object(path / "latents.json")
    if codes:
        k = codes["latent_dim"]
        found |= {"active": codes["active_dimensions"], "used": codes["kl_dimensions"], "kl_dimension": codes["kl"] / k,
                  "posterior_variance": sum(codes["posterior_variance"]) / k,
                  "global_mean": (sum(m * m for m in codes["global_mean"]) / k) ** 0.5,
                  "global_variance": sum(codes["global_variance"]) / k}
    return found
