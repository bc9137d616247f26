"""The same run from several seeds, for a mean and its spread."""

from __future__ import annotations

import hashlib
import statistics
from pathlib import Path
from typing import Any

from vaefast.errors import ArgumentError, RunFolderError
from vaefast.experiments.run import train
from vaefast.training.distributed import world
from vaefast.training.run_folder import RunFolder
from vaefast.training.storage import write_json

_COORDINATES = ("stage", "step", "epoch", "seconds", "lr", "images_per_second", "memory_mb")


def seed_of(seed: int, trial: int) -> int:
    """Seed of trial number `trial` (counted from 1): the first is `seed` itself, the others derived from it."""
    if trial == 1:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}/{trial}".encode()).digest()[:4], "big")


def run_trials(kind: str, trials: int, *, out: str, seed: int = 0, resume: bool = False, **options: Any) -> dict[str, Any]:
    """Train `trials` times into OUT/trial-01, ... and write OUT/trials.json: seeds, last terms, their mean and deviation.

    With `resume`, trials that have ended are kept, one that was cut off goes on, and the rest are run.

    Raises:
        ArgumentError: trials below 1.
        RunFolderError: OUT holds something, and not `resume`.
    """
    if trials < 1:
        raise ArgumentError(f"trials is {trials!r}; expected 1 or more.")
    folder = Path(out)
    if not resume and world().writes and folder.exists() and any(folder.iterdir()):
        raise RunFolderError(f"{folder} is not empty; go on with its trials (--resume), or choose another --out.")
    for trial in range(1, trials + 1):
        path = folder / f"trial-{trial:02d}"
        if resume and (path / "model.json").is_file():
            continue
        train(kind, out=str(path), seed=seed_of(seed, trial), resume=resume and (path / "config.json").exists(), **options)
        if world().writes:
            summarise(folder, seed)
    return summarise(folder, seed)


def summarise(folder: Path, seed: int) -> dict[str, Any]:
    """Mean and sample standard deviation over the ended trials of the last record's terms (and of scores, where evaluated).

    Written to trials.json; the deviation of a single trial is null.
    """
    values: dict[str, list[float]] = {}
    seeds = {}
    for path in sorted(folder.glob("trial-*")):
        if not (path / "model.json").is_file():
            continue
        run = RunFolder.open(path)
        seeds[path.name] = run.config["seed"]
        last = {record["stage"]: record for record in run.read_metrics()}
        for stage, record in last.items():
            for name, value in record.items():
                if name not in _COORDINATES:
                    values.setdefault(f"{stage}/{name}", []).append(value)
    summary = {"trials": len(seeds), "seed": seed, "seeds": seeds, "terms": {
        name: {"mean": statistics.fmean(found), "std": statistics.stdev(found) if len(found) > 1 else None, "values": found}
        for name, found in values.items()}}
    if world().writes:
        write_json(folder / "trials.json", summary)
    return summary
