"""A training of this work: its data, where its runs lie, and what they are trained and scored with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaefast.data import ImageSet
from vaefast.experiments.papers import cell
from vaefast.experiments.papers.cell import Study, Training
from vaefast.experiments.papers.gamix.protocol import budget_of, data_options, options
from vaefast.experiments.run import load_data
from vaefast.experiments.trials import seed_of

ALSO = ("kid", "prdc", "sharpness", "diversity")


@dataclass(frozen=True, eq=False)
class Images:
    """A data set as the trainings see it, with the options that it was loaded with."""

    name: str
    options: dict[str, Any]
    train: ImageSet
    test: ImageSet

    @property
    def side(self) -> int:
        """Rows of an image."""
        return self.train.image_shape[1]


def load(study: Study, name: str) -> Images:
    """The data set."""
    side = load_data(name, study.data_root, "test", **study.data_options).image_shape[1]
    chosen = {**data_options(study.preset, side), **study.data_options}
    train, test = (load_data(name, study.data_root, split, **chosen) for split in ("train", "test"))
    return Images(name, chosen, train, test)


def folder(study: Study, data_name: str, training: Training) -> Path:
    """Where the trials of a training lie."""
    return study.out / data_name / "runs" / training.name


def run_cell(study: Study, images: Images, training: Training, trial: int) -> Path:
    """Train and score one trial, or what is left of it; returns its run folder. Distances are to the test images.

    Raises:
        RunFolderError: the folder holds a run of other settings.
    """
    budget = budget_of(study.preset)
    settings = options(training, study.preset, images.side)
    settings |= {"data_name": images.name, "seed": seed_of(study.seed, trial), "data_options": images.options}
    return cell.run_cell(study, folder(study, images.name, training) / f"trial-{trial:02d}", settings, budget.samples,
                         scoring={"which": cell.metrics_of(study, images.train), "also": ALSO, "coded": budget.coded},
                         may_diverge=True)
