"""A training of this paper: where its runs lie, what they are trained with, and the entries that its scores are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vaefast import api, data
from vaefast.experiments.papers import cell
from vaefast.experiments.papers.cell import Study
from vaefast.experiments.papers.zhao.protocol import CHECKS, Row, data_options, options
from vaefast.experiments.run import image_model, load_data
from vaefast.experiments.trials import seed_of
from vaefast.training.device import resolve_device
from vaefast.training.storage import read_object, write_json

Scoring = Callable[[Any, Path, int], dict[str, Any]]
"""(model, run folder, seed) -> entries of evaluation.json; may draw pictures into the folder."""


def load(study: Study, part: str, name: str, split: str) -> data.ImageSet:
    """A data set as `part` sees it."""
    return load_data(name, study.data_root, split, **{**data_options(part, study.preset), **study.data_options})


def folder(study: Study, data_name: str, row: Row) -> Path:
    """Where the trials of a row lie."""
    return study.out / data_name / "runs" / row.training.name


def run_cell(study: Study, part: str, data_name: str, row: Row, trial: int, count: int, score: Scoring) -> Path:
    """Train one trial and have it scored, or what is left of it; returns its run folder.

    Args:
        count: training images, by which batches are turned into epochs.
        score: what evaluation.json is to hold.

    Raises:
        RunFolderError: the folder holds a run of other settings.
    """
    settings = options(row.training, study.preset)
    settings |= {"data_name": data_name, "seed": seed_of(study.seed, trial),
                 "data_options": {**data_options(part, study.preset), **study.data_options}}
    if row.training.kind == "pixel-vae":
        settings["mi_every"] = CHECKS * settings["stage_overrides"]["batch_size"] / count
    path = cell.run_cell(study, folder(study, data_name, row) / f"trial-{trial:02d}", settings, 0, scores=False)
    if not (path / "evaluation.json").is_file():
        study.say(f"{'/'.join(path.relative_to(study.out).parts)}: scoring")
        write_json(path / "evaluation.json", score(trained(study, path), path, settings["seed"]))
    return path


def trained(study: Study, path: Path) -> api.ImageModel:
    """The model in a run folder."""
    return image_model(path, resolve_device(study.device))


def evaluations(study: Study, data_name: str, row: Row) -> list[tuple[Path, dict[str, Any]]]:
    """The trials of a row that were scored, with their scores and the minutes that their training took."""
    return [(path, cell.scores_of(path)) for path in cell.done_trials(folder(study, data_name, row))]


def first_model(study: Study, data_name: str, row: Row) -> Path | None:
    """The run folder of a row's first trial, if it has ended."""
    path = folder(study, data_name, row) / "trial-01"
    return path if read_object(path / "model.json") else None
