"""One training of a table with its scores, done once: what was cut off goes on, what has ended is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaefast.data import ImageSet
from vaefast.errors import RunFolderError
from vaefast.experiments.dai_wipf.protocol import SAMPLES, Training, data_options, options
from vaefast.experiments.evaluate import evaluate
from vaefast.experiments.run import train
from vaefast.experiments.trials import seed_of
from vaefast.training.run_folder import RunFolder
from vaefast.training.storage import write_json


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
    path, seed = run_path(study, table, data, training, trial), seed_of(study.seed, trial)
    settings = options(training, table, study.preset, data)
    settings |= {"data_name": data, "data_root": study.data_root, "seed": seed, "device": study.device,
                 "precision": study.precision, "data_options": data_options(table, study.preset, plain)}
    asked = json.loads(json.dumps({**settings, "data_root": None, "device": None, "samples": SAMPLES[study.preset]}, default=str))
    cell = path.parent / f"{path.name}.json"
    if cell.is_file() and json.loads(cell.read_text()) != asked:
        raise RunFolderError(f"{path} was made with other settings (see {cell}); choose another --out, or remove it.")
    cell.parent.mkdir(parents=True, exist_ok=True)
    write_json(cell, asked)
    name = "/".join(path.relative_to(study.out).parts)
    if not (path / "model.json").is_file():
        study.say(f"{name}: training")
        train(out=str(path), resume=(path / "config.json").exists(), command=study.command, **settings)
    if scores and not (path / "evaluation.json").is_file():
        evaluate(str(path), data_root=study.data_root, samples=SAMPLES[study.preset], seed=seed, device=study.device,
                 say=study.say, **study.metrics)
    return path


def scores_of(path: Path) -> dict[str, Any]:
    """The cell's evaluation, with the minutes that its training took, up to the end of stage 1 and of stage 2."""
    found: dict[str, Any] = json.loads((path / "evaluation.json").read_text())
    seconds: dict[str, float] = {}
    for record in RunFolder.open(path).read_metrics():
        seconds[record["stage"]] = record["seconds"]
    first = seconds.get("stage1", 0.0)
    found["minutes/stage1"], found["minutes/stage2"] = first / 60, max(seconds.values(), default=0.0) / 60
    return found
