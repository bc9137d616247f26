"""A part of a paper on one data set, and its trainings with their scores, each done once: what was cut off goes on, what has
ended is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vaefast.data import ImageSet
from vaefast.errors import DivergenceError, RunFolderError
from vaefast.experiments.papers.plan import Paper, Part, Row, Study, Training
from vaefast.experiments.request import Request
from vaefast.experiments.run import image_model, load_data, train
from vaefast.experiments.scoring.evaluate import chosen_metrics, evaluate, own_metric
from vaefast.experiments.trials import seed_of
from vaefast.training.device import resolve_device
from vaefast.training.run_folder import RunFolder
from vaefast.training.storage import read_object, write_json

STOPPED = "stopped.json"
Scoring = Callable[[Any, Path, int], dict[str, Any]]
"""(model, run folder, seed) -> entries of evaluation.json; may draw pictures into the folder."""


@dataclass(frozen=True, eq=False)
class Task:
    """Part `name` of a paper, on the data set that the user calls `data`; tasks that share `sets` load a data set once."""

    paper: Paper
    study: Study
    name: str
    data: str
    sets: dict[str, ImageSet] = field(default_factory=dict)

    @property
    def part(self) -> Part:
        """What there is to do."""
        return self.paper.parts[self.name]

    @property
    def loaded(self) -> str:
        """The data set's name among the loaders."""
        return self.paper.load_as.get(self.data, self.data)

    @cached_property
    def data_options(self) -> dict[str, Any]:
        """Options that the data set is loaded with."""
        of_study = self.study.data_options
        return {**self.paper.data_options(self.name, self.study.preset, lambda: self._images("train", of_study)), **of_study}

    @property
    def train(self) -> ImageSet:
        """Its training images."""
        return self._images("train", self.data_options)

    @property
    def test(self) -> ImageSet:
        """Its test images."""
        return self._images("test", self.data_options)

    def _images(self, split: str, options: dict[str, Any]) -> ImageSet:
        key = json.dumps([self.loaded, split, options])
        if key not in self.sets:
            self.sets[key] = load_data(self.loaded, self.study.data_root, split, **options)
        return self.sets[key]

    @property
    def out(self) -> Path:
        """Where the part's record goes: its name without an ending."""
        return self.study.out / self.data / self.name

    def folder(self, training: Training) -> Path:
        """Where the trials of a training lie."""
        return self.study.out / self.paper.folder.format(data=self.data, part=training.part or self.name, training=training.name)

    def first_models(self, rows: Sequence[Row] | None = None) -> list[tuple[Row, Path]]:
        """The rows (the part's own) whose first trial ended, with its run folder."""
        paths = [(row, self.folder(row.training) / "trial-01") for row in rows or self.part.rows if row.training]
        return [(row, path) for row, path in paths if (path / "model.json").is_file()]

    def evaluations(self, row: Row) -> list[tuple[Path, dict[str, Any]]]:
        """Run folder and scores of a row's trials that are finished, with the minutes of training."""
        return [(path, scores_of(path)) for path in done_trials(self.folder(row.training))] if row.training else []

    def model(self, path: Path) -> Any:
        """The model of a run, on the study's device."""
        return image_model(path, resolve_device(self.study.device))

    def train_rows(self, rows: Sequence[Row], models: Sequence[str] | None, trials: int | None = None,
                   score: Scoring | None = None) -> None:
        """Train and score those of the rows that are asked for, or what is left of them."""
        for row in rows:
            if row.training and (models is None or row.name in models):
                for trial in range(1, (trials or self.study.trials) + 1):
                    self.cell(row.training, trial, score=score)

    def cell(self, training: Training, trial: int = 1, *, scores: bool = True, score: Scoring | None = None) -> Path:
        """Train (and score) one trial, or what is left of it; returns its run folder.

        Args:
            scores: whether to score at all.
            score: what does, where it is not `evaluate`.

        Raises:
            RunFolderError: the folder holds a run of other settings.
        """
        settings = {**self.paper.settings(training, self), "data_name": self.loaded, "seed": seed_of(self.study.seed, trial),
                    "data_options": self.data_options}
        by_paper = scores and score is None and self.paper.scoring is not None
        scoring = self.paper.scoring(self) if self.paper.scoring is not None else {}
        samples = 0 if self.paper.scoring is None else self.paper.samples(self.study.preset)
        path = run_cell(self.study, self.folder(training) / f"trial-{trial:02d}", settings, samples, scores=by_paper,
                        scoring=scoring, may_diverge=self.paper.may_diverge)
        if score is not None and not stopped(path) and not (path / "evaluation.json").is_file():
            self.study.say(f"{path.relative_to(self.study.out)}: scoring")
            write_json(path / "evaluation.json", score(self.model(path), path, settings["seed"]))
        return path


def run_cell(study: Study, path: Path, settings: dict[str, Any], samples: int, *, scores: bool = True,
             scoring: dict[str, Any] | None = None, may_diverge: bool = False) -> Path:
    """Train (and score) one trial into run folder `path`, or what is left of it; returns `path`.

    Args:
        settings: of `vaefast.experiments.request.Request`, but for the folder, the machine and what the study knows.
        samples: of each kind to score.
        scores: whether to score at all.
        scoring: further options of `evaluate`.
        may_diverge: whether a training that meets NaN or infinity is an answer, too: it is written down (`stopped`), and not
            tried again.

    Raises:
        RunFolderError: the folder holds a run of other settings.
        DivergenceError: training met NaN or infinity, and not `may_diverge`.
    """
    if study.share != 1:
        settings = {**settings, "share": study.share}
    settings = {**settings, "data_root": study.data_root, "device": study.device, "precision": study.precision}
    said = {**settings, "data_root": None, "device": None, "samples": samples, **(scoring or {})}
    asked = json.loads(json.dumps(said, default=str))
    cell = path.parent / f"{path.name}.json"
    if cell.is_file() and json.loads(cell.read_text()) != asked:
        raise RunFolderError(f"{path} was made with other settings (see {cell}); choose another out, or remove it.")
    cell.parent.mkdir(parents=True, exist_ok=True)
    write_json(cell, asked)
    name = "/".join(path.relative_to(study.out).parts)
    if stopped(path):
        return path
    if not (path / "model.json").is_file():
        study.say(f"{name}: training")
        try:
            train(Request(out=str(path), resume=(path / "config.json").exists(), command=study.command, **settings))
        except DivergenceError as error:
            if not may_diverge:
                raise
            study.say(f"{name}: {error}")
            write_json(path / STOPPED, {"error": str(error)})
            return path
    if scores and not (path / "evaluation.json").is_file():
        evaluate(str(path), data_root=study.data_root, samples=samples, seed=settings["seed"], device=study.device,
                 say=study.say, **(scoring or {}), **study.metrics)
    return path


def metrics_of(task: Task) -> tuple[str, ...] | None:
    """What `evaluate` is told to score. A smoke run is to take minutes, and Inception alone takes longer on a CPU: there it is
    the metric in the data set's own network, unless weights were named; None is `evaluate`'s own choice.

    Raises:
        DataError: there is nothing to score images of that size with, which is told before hours of training.
    """
    weights = task.study.metrics.get("weights")
    which = (own_metric(task.train) or None) if task.study.preset == "smoke" and weights is None else None
    chosen_metrics(which, weights, task.train, optional=False)
    return which


def done_trials(folder: Path) -> list[Path]:
    """The trials of a cell that were scored, in order."""
    return [path.parent for path in sorted(folder.glob("trial-*/evaluation.json"))]


def stopped(path: Path) -> str | None:
    """Why the training in this folder could not go on; None of one that could."""
    return read_object(path / STOPPED).get("error")


def scores_of(path: Path) -> dict[str, Any]:
    """The cell's evaluation, with the minutes that its training took, up to the end of stage 1 and of stage 2."""
    scores: dict[str, Any] = json.loads((path / "evaluation.json").read_text())
    seconds: dict[str, float] = {}
    for record in RunFolder.open(path).read_metrics():
        seconds[record["stage"]] = record["seconds"]
    first = seconds.get("stage1", 0.0)
    scores["minutes/stage1"], scores["minutes/stage2"] = first / 60, max(seconds.values(), default=0.0) / 60
    return scores


def curve(path: Path, name: str, against: str = "epoch") -> list[tuple[float, float]]:
    """(epoch or step, value) of all records of a run that have a number called `name`, whatever player it is of."""
    points = []
    for record in RunFolder.open(path).read_metrics():
        values = [value for key, value in record.items() if key.split("/")[-1] == name]
        if values:
            points.append((float(record[against]), float(values[0])))
    return points
