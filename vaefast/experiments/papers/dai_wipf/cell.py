"""A training of a table of this paper: where its runs lie, and what they are trained with."""

from __future__ import annotations

from pathlib import Path

from vaefast.data import ImageSet
from vaefast.experiments.papers import cell
from vaefast.experiments.papers.cell import Study
from vaefast.experiments.papers.dai_wipf.protocol import SAMPLES, Training, data_options, options
from vaefast.experiments.trials import seed_of


def run_path(study: Study, table: str, data: str, training: Training, trial: int) -> Path:
    """Folder of a trial's run."""
    return study.out / data / table / training.name / f"trial-{trial:02d}"


def run_cell(study: Study, table: str, data: str, plain: ImageSet, training: Training, trial: int, *,
             scores: bool = True) -> Path:
    """Train (and score) one trial on data set `data`, or what is left of it; returns its run folder.

    `plain` are the training images as the data set's loader gives them without options.

    Raises:
        RunFolderError: the folder holds a run of other settings.
    """
    settings = options(training, table, study.preset, data)
    settings |= {"data_name": data, "seed": seed_of(study.seed, trial), "data_options": data_options(table, study.preset, plain)}
    return cell.run_cell(study, run_path(study, table, data, training, trial), settings, SAMPLES[study.preset], scores=scores)
