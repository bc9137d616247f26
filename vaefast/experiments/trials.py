"""The same run from several seeds, for a mean and its spread."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vaefast.api.arguments import defaults_of
from vaefast.api.reading import Reading
from vaefast.api.unread import without_unread
from vaefast.errors import ArgumentError, RunFolderError
from vaefast.experiments.processes import train_in_processes
from vaefast.experiments.request import Request
from vaefast.experiments.run import plan, train
from vaefast.training.device import resolve_device, resolve_precision
from vaefast.training.distributed import world
from vaefast.training.run_folder import RunFolder
from vaefast.training.storage import write_json

_COORDINATES = ("stage", "step", "epoch", "seconds", "lr", "loss_scale", "images_per_second", "memory_mb", "share")


def seed_of(seed: int, trial: int) -> int:
    """Seed of trial number `trial` (counted from 1): the first is `seed` itself, the others derived from it."""
    if trial == 1:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}/{trial}".encode()).digest()[:4], "big")


def run_trials(asked: Request, trials: int, *, at_once: int = 1) -> dict[str, Any]:
    """Train `trials` times into OUT/trial-01, ... and write OUT/trials.json: seeds, last terms, their mean and deviation.

    With `resume`, trials that have ended are kept, and made longer where more is asked for; one that was cut off goes on, and
    the rest are run. `at_once` of them train at the same time, each in a process of its own that has its share of the CPU's
    threads.

    Raises:
        ArgumentError: trials or at_once below 1, or more than one at once in a distributed run.
        RunFolderError: OUT holds something, and not `resume`; or ended trials of other settings.
        TrainingError: a trial's process failed; the others are kept.
    """
    for name, value in (("trials", trials), ("at_once", at_once)):
        if value < 1:
            raise ArgumentError(f"{name} is {value!r}; expected 1 or more.")
    if at_once > 1 and world().size > 1:
        raise ArgumentError(f"at_once is {at_once} in a distributed run, whose processes train one trial together; leave it out.")
    folder = Path(asked.out)
    folder.mkdir(parents=True, exist_ok=True)
    if not asked.resume and world().writes and folder.exists() and any(folder.iterdir()):
        raise RunFolderError(f"{folder} is not empty; go on with its trials (resume=True), or choose another out.")
    paths = [folder / f"trial-{trial:02d}" for trial in range(1, trials + 1)]
    ended = {trial: path for trial, path in enumerate(paths, start=1) if asked.resume and _has_ended(path, asked)}
    if ended:
        _require_same(asked, ended)
    todo = [replace(asked, out=str(path), seed=seed_of(asked.seed, trial),
                    resume=bool(asked.resume) and (path / "config.json").exists())
            for trial, path in enumerate(paths, start=1) if trial not in ended]
    if at_once > 1:
        try:
            train_in_processes(todo, at_once)
        finally:
            summarise(folder, paths, asked.seed)
    else:
        for one in todo:
            train(one)
            if world().writes:
                summarise(folder, paths, asked.seed)
    return summarise(folder, paths, asked.seed)


def _require_same(asked: Request, ended: Mapping[int, Path]) -> None:
    """Refuse ended trials that are of something else, with which the others would be averaged; those that go on are refused by
    their training."""
    planned = plan(asked)
    model, stages = planned.model, [stage.as_dict() for stage in planned.stages]
    _, _, described = model._split(planned.images, asked.validation, Reading(seed=asked.seed))
    entries: dict[str, Any] = {
        "kind": model.kind, "model": model.config(), "stages": stages, "data": described, "preset": asked.preset_name,
        "start_from": asked.start_from, "augment": list(asked.augment) if asked.augment else None, "keep_best": asked.keep_best}
    if asked.precision != "auto":
        entries["precision"] = resolve_precision(asked.precision, resolve_device(asked.device))
    for trial, path in ended.items():
        entries["seed"] = seed_of(asked.seed, trial)
        RunFolder.open(path).require_same(entries, defaults_of(type(model)), without_unread)


def _has_ended(path: Path, asked: Request) -> bool:
    """Whether the trial in a folder has a model, trained for as long as is asked for."""
    if not (path / "model.json").is_file():
        return False
    return all(stage.get(name) == value for i, stage in enumerate(RunFolder.open(path).config["stages"])
               for name, value in asked.budget(i).items())


def summarise(folder: Path, paths: Sequence[Path], seed: int) -> dict[str, Any]:
    """Mean and sample standard deviation over those trials that have ended of the last record's terms (and of scores, where
    evaluated).

    Written to trials.json; the deviation of a single trial is null.
    """
    values: dict[str, list[float]] = {}
    seeds = {}
    for path in paths:
        if not (path / "model.json").is_file():
            continue
        run = RunFolder.open(path)
        seeds[path.name] = run.config["seed"]
        last = {record["stage"]: record for record in run.read_metrics()}
        for stage, record in last.items():
            for name, value in record.items():
                if name not in _COORDINATES and isinstance(value, (int, float)):
                    values.setdefault(f"{stage}/{name}", []).append(value)
    summary = {"trials": len(seeds), "seed": seed, "seeds": seeds, "terms": {
        name: {"mean": statistics.fmean(numbers), "std": statistics.stdev(numbers) if len(numbers) > 1 else None,
               "values": numbers}
        for name, numbers in values.items()}}
    if world().writes:
        write_json(folder / "trials.json", summary)
    return summary
