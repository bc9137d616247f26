"""A training of this paper: where its runs lie, and what they are trained and scored with."""

from __future__ import annotations

from pathlib import Path

from vaefast.experiments.papers import cell
from vaefast.experiments.papers.cell import Study, Training
from vaefast.experiments.papers.hinrichsen.paper import DATA
from vaefast.experiments.papers.hinrichsen.protocol import FEW, SAMPLES, data_options, options
from vaefast.experiments.trials import seed_of


def folder(study: Study, data: str, training: Training) -> Path:
    """Where the trials of a training lie."""
    return study.out / data / "runs" / training.name


def run_cell(study: Study, data: str, training: Training, trial: int, which: tuple[str, ...] | None = None) -> Path:
    """Train and score one trial on data set `data`, or what is left of it; returns its run folder.

    Distances are to the training images, in the metrics `which`, as for `evaluate`.

    Raises:
        RunFolderError: the folder holds a run of other settings.
    """
    settings = options(training, study.preset, data)
    settings |= {"data_name": DATA.get(data, data), "seed": seed_of(study.seed, trial),
                 "data_options": {**data_options(study.preset), **study.data_options}}
    return cell.run_cell(study, folder(study, data, training) / f"trial-{trial:02d}", settings, SAMPLES[study.preset],
                         scoring={"which": which, "against": "train", "first": (FEW,)}, may_diverge=True)
