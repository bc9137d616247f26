"""One training of a table with its scores, done once: what was cut off goes on, what has ended is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaefast.data import ImageSet
from vaefast.errors import DivergenceError, RunFolderError
from vaefast.experiments.evaluate import chosen_metrics, evaluate, own_metric
from vaefast.experiments.request import Request
from vaefast.experiments.run import train
from vaefast.training.run_folder import RunFolder
from vaefast.training.storage import read_object, write_json

STOPPED = "stopped.json"


@dataclass(frozen=True)
class Study:
    """What every cell shares.

    Args:
        out: folder of the whole reproduction.
        data_root: folder of the data sets' files.
        preset: "smoke", "quick" or "paper".
        trials: seeds of every cell.
        seed: of the first trial.
        device, precision: as for training.
        command: the line that asked for it.
        say: told what is done.
        metrics: options of `evaluate`, such as `which` and `weights`.
        data_options: options of the data sets, in every cell.
    """

    out: Path
    data_root: str | None
    preset: str
    trials: int = 1
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    command: str = ""
    say: Callable[[str], None] = print
    metrics: dict[str, Any] = field(default_factory=dict)
    data_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """A training that one row or more are scores of.

    Args:
        name: of its folder.
        kind: as `vaefast train` calls it.
        model: arguments that differ from the preset's.
        stages: the same of the stages' settings.
    """

    name: str
    kind: str
    model: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A line of a table: samples of which stage of which training, and what to call it."""

    name: str
    title: str
    training: Training
    stage: int = 1


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


def metrics_of(study: Study, train: ImageSet) -> tuple[str, ...] | None:
    """What `evaluate` is told to score. A smoke run is to take minutes, and Inception alone takes longer on a CPU: there it is
    the metric in the data set's own network, unless weights were named; None is `evaluate`'s own choice.

    Raises:
        DataError: there is nothing to score images of that size with, which is told before hours of training.
    """
    which = (own_metric(train) or None) if study.preset == "smoke" and "weights" not in study.metrics else None
    chosen_metrics(which, study.metrics.get("weights"), train, optional=False)
    return which


def done_trials(folder: Path) -> list[Path]:
    """The trials of a cell that were scored, in order."""
    return [path.parent for path in sorted(folder.glob("trial-*/evaluation.json"))]


def over_trials(folder: Path, values: Callable[[Path, dict[str, Any]], dict[str, float]]) -> tuple[list[dict[str, float]], int]:
    """What `values` makes of each scored trial of a cell (its folder, its scores), and how many trials could not go on."""
    found = [values(path, scores_of(path)) for path in done_trials(folder)]
    return found, sum(stopped(path.parent) is not None for path in folder.glob(f"trial-*/{STOPPED}"))


def with_diverged(title: str, trials: int, diverged: int) -> str:
    """A row's title, and how many of its trials could not go on."""
    return f"{title} ({diverged} of {diverged + trials} diverged)" if diverged else title


def stopped(path: Path) -> str | None:
    """Why the training in this folder could not go on; None of one that could."""
    return read_object(path / STOPPED).get("error")


def scores_of(path: Path) -> dict[str, Any]:
    """The cell's evaluation, with the minutes that its training took, up to the end of stage 1 and of stage 2."""
    found: dict[str, Any] = json.loads((path / "evaluation.json").read_text())
    seconds: dict[str, float] = {}
    for record in RunFolder.open(path).read_metrics():
        seconds[record["stage"]] = record["seconds"]
    first = seconds.get("stage1", 0.0)
    found["minutes/stage1"], found["minutes/stage2"] = first / 60, max(seconds.values(), default=0.0) / 60
    return found
