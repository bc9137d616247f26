"""A search over settings, as the published comparison of GANs has it: many settings once, then the best one from many seeds."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vaefast import api
from vaefast.data import ImageSet
from vaefast.errors import ArgumentError, RunFolderError, TrainingError
from vaefast.experiments.request import Request
from vaefast.experiments.run import after_training, load_data
from vaefast.experiments.scoring.evaluate import SAMPLES, own_network
from vaefast.experiments.sweep.job import SCORES, Job, describe, ended, score_of, state_of
from vaefast.experiments.sweep.pictures import draw_samples
from vaefast.experiments.sweep.space import SPACES, Space, overrides, space_of
from vaefast.experiments.sweep.table import HEADINGS, best_row, setting_rows, write_best, write_settings
from vaefast.experiments.trials import seed_of
from vaefast.metrics.inception_weights import cached_file
from vaefast.training.device import resolve_device
from vaefast.training.settings import FIELDS, StageSettings, has_beta1
from vaefast.training.storage import read_json, write_json

SETTINGS, SEEDS = 100, 50


@dataclass(frozen=True)
class Sweep:
    """What is searched, and how.

    Args:
        training: what every setting has: its model, data, budget and machine. Its folder `out` is the sweep's: setting-000/, ...
            with a run each, best/ with the repeats, tables; and its seed is of what is drawn, and of the trainings.
        space, loss: see `space_of`. In a published space of GANs all that is not drawn is the authors', whatever the preset: its
            length alone is taken.
        metric: that ranks, of `job.SCORES`; None: "fid" where the Inception weights are at hand, else "classifier" (of a set
            without labels "exemplar").
        samples: images that are scored.
        early_stop: stop trainings that fall behind (ASHA).
        settings: how many.
        seeds: repeats of the best.
        weights: of the Inception network, as for `evaluate`.
        address, cpus, gpus, at_once: see `ray_tune.Machines`.
        say: told what is done.
    """

    training: Request
    space: str = "wide"
    loss: str | None = None
    metric: str | None = None
    samples: int = SAMPLES
    early_stop: bool = False
    settings: int = SETTINGS
    seeds: int = SEEDS
    weights: str | None = None
    address: str | None = None
    cpus: float = 1.0
    gpus: float | None = None
    at_once: int | None = None
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        for name, least in (("settings", 1), ("seeds", 0), ("samples", 2)):
            if getattr(self, name) < least:
                raise ArgumentError(f"{name} is {getattr(self, name)!r}; expected {least} or more.")
        if self.metric is not None and self.metric not in SCORES:
            raise ArgumentError(f"metric is {self.metric!r}; expected one of {', '.join(SCORES)}.")


def sweep(asked: Sweep) -> dict[str, Any]:
    """Do what is left of a sweep; the same call goes on with what was cut off, and with more settings or seeds than before.

    Returns:
        The best setting with its mean and deviation over the seeds (over none with `seeds` 0).

    Raises:
        ArgumentError: something that cannot work, before anything is trained. RunFolderError: `out` is of another sweep.
        TrainingError: some jobs failed again and again; the others are kept. The package's other errors, as `train` has them.
    """
    from vaefast.experiments.sweep.ray_tune import MILESTONES, Machines, run_jobs  # ray comes with an extra

    machines = Machines(asked.address, asked.cpus, asked.gpus, asked.at_once)
    metric = asked.metric or ("fid" if asked.weights or cached_file().is_file() else _without_weights(asked))
    train = asked.training
    space = _space(asked)
    settings = [space.setting(train.seed, i) for i in range(asked.settings)]
    _check(asked, settings)
    out, preset, loss = Path(train.out).resolve(), train.preset, space.fixed.get("model/loss")
    # a folder of an earlier version has trainings with what the preset has for the loss
    authors = {"authors": True} if preset.with_loss(loss).model and asked.space in SPACES else {}
    _claim(out, {"kind": train.kind, "space": space.name, "data": train.data_name, "data_options": train.data_options,
                 "preset": train.preset_name, "epochs": train.epochs, "steps": train.steps, "stages": train.stage_overrides,
                 "precision": train.precision, "metric": metric, "samples": asked.samples, "early_stop": asked.early_stop,
                 "seed": train.seed, "condition": train.condition, "augment": train.augment, "fixed": space.fixed, **authors})
    cache = None if asked.address is None else str(out / "classifier")  # one for all machines
    _train_network(asked, metric, cache)
    if train.kind == "gan" and asked.space in SPACES:  # of the authors' settings, for as long as the preset says
        length = None if train.epochs else (preset.settings_of(loss)["steps"],)
        train = replace(train, preset_name="paper", steps=train.steps or length)
    train = replace(train, data_root=str(Path(train.data_root).resolve()) if train.data_root else None)

    def job(path: Path, setting: dict[str, Any], seed: int, milestones: tuple[float, ...] = ()) -> Job:
        model, stages = overrides(setting)
        one = replace(train.with_overrides(model, stages), out=str(path), seed=seed)
        return {"out": str(path), "metric": metric, "milestones": list(milestones), "train": one.as_dict(),
                "evaluate": {"data_root": train.data_root, "samples": asked.samples, "seed": train.seed, "device": train.device,
                             "weights": str(Path(asked.weights).resolve()) if asked.weights else None, "classifier_cache": cache}}

    paths = [out / f"setting-{i:03d}" for i in range(asked.settings)]

    def tables(what: str, path: Path, why: str) -> None:
        _tell(asked, metric, paths, what, path, why, settings)
        if what != "started":
            write_settings(setting_rows(paths, settings, metric), metric, out / "settings")

    jobs = [job(path, setting, train.seed, MILESTONES if asked.early_stop else ()) for path, setting in zip(paths, settings)]
    asked.say(f"{train.out}: {asked.settings} settings of {train.kind} on {train.data_name}, "
              f"{sum(map(ended, paths))} of them done; ranked by {HEADINGS[metric]}")
    _finish(run_jobs(jobs, machines, out, early_stop=asked.early_stop, changed=tables))
    rows = setting_rows(paths, settings, metric)
    write_settings(rows, metric, out / "settings")
    if rows[0]["score"] is None:
        raise TrainingError(f"no setting of {train.out} came to a score: all of them diverged. Take another space.")
    with after_training("samples.png", out):
        draw_samples(out, rows, metric, _data(asked, "train").images)

    best, name = rows[0]["setting"], rows[0]["name"]
    repeats = [out / "best" / name / f"seed-{i:02d}" for i in range(1, asked.seeds + 1)]
    # the search's own seed chose the setting, so that it would flatter it here
    again = [job(path, best, seed_of(train.seed, i + 1)) for i, path in enumerate(repeats, start=1)]

    def best_table() -> dict[str, Any]:
        table = best_row(repeats, name, best, metric)
        write_best(table, metric, out / "best")
        return table

    def best_tables(what: str, path: Path, why: str) -> None:
        _tell(asked, metric, repeats, what, path, why)
        best_table()

    if again:
        asked.say(f"{name} is best ({describe(best)}); {asked.seeds} seeds of it")
        _finish(run_jobs(again, machines, out, changed=best_tables))
    return best_table()


def _space(asked: Sweep) -> Space:
    """The space; a published one without beta1 where the optimizer has none."""
    train = asked.training
    space = space_of(train.kind, asked.space, asked.loss)
    if asked.space not in SPACES or any(map(has_beta1, train.stages_from(_base(train)))):
        return space
    draws = {name: draw for name, draw in space.draws.items() if name != "stage/beta1"}
    return replace(space, name=f"{space.name}/lr", draws=draws)  # by another name: earlier versions drew one all the same


def _base(train: Request) -> tuple[StageSettings, ...]:
    return train.preset.stages or (StageSettings(steps=1),)  # of models that have their own


def _check(asked: Sweep, settings: list[dict[str, Any]]) -> None:
    """Whatever would fail in a worker and can be known here."""
    train, chosen = asked.training, asked.training.preset
    base = _base(train)
    taken = inspect.signature(api.MODELS[chosen.kind]).parameters
    for setting in settings:
        model, stages = overrides(setting)
        if unknown := [name for name in model if name not in taken]:
            raise ArgumentError(f"the space draws model/{unknown[0]}; {train.kind} takes {', '.join(taken)}.")
        if unknown := [name for name in stages if name not in {*FIELDS, "beta1"}]:
            raise ArgumentError(f"the space draws stage/{unknown[0]}; a stage has {', '.join(sorted(FIELDS))}, and beta1.")
        train.with_overrides(model, stages).stages_from(base)
    if asked.early_stop and len(chosen.stages) > 1:
        raise ArgumentError(f"early_stop compares models while they train; {train.kind} has {len(chosen.stages)} stages, and "
                            "draws nothing to compare before the last. Leave it out.")


def _claim(out: Path, config: dict[str, Any]) -> None:
    """The folder is this sweep's, or becomes it."""
    config, file = json.loads(json.dumps(config)), out / "sweep.json"
    if file.is_file():
        was = {"fixed": config["fixed"], **read_json(file, "a sweep's settings")}  # which earlier versions did not note
        if differing := [key for key in config if was.get(key) != config[key]]:
            key = differing[0]
            raise RunFolderError(f"{out} holds a sweep with other settings ({key} was {was.get(key)!r}, now {config[key]!r}); "
                                 "go on with the same, or choose another out.")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunFolderError(f"{out} is not empty and holds no sweep; choose another out.")
    write_json(file, config)


def _data(asked: Sweep, split: str) -> ImageSet:
    train = asked.training
    return load_data(train.data_name, train.data_root, split, **train.data_options)


def _without_weights(asked: Sweep) -> str:
    """The metric where there are no Inception weights."""
    labels = _data(asked, "train").labels
    return "exemplar" if labels is None else "classifier"


def _train_network(asked: Sweep, metric: str, cache: str | None) -> None:
    """The network that all score with, before all train it at once; data that are not there are noticed here, too."""
    device = torch.device("cpu") if asked.address else resolve_device(asked.training.device)
    own_network([metric], _data(asked, "train"), _data(asked, "test"), cache, device, asked.say)


def _tell(asked: Sweep, metric: str, paths: list[Path], what: str, path: Path, why: str,
          settings: list[dict[str, Any]] | None = None) -> None:
    """Say how a job is, and how far all of them are."""
    name = path.relative_to(Path(asked.training.out).resolve())
    if what == "started":
        asked.say(f"{name}: begins" + (f" ({describe(settings[paths.index(path)])})" if settings else ""))
    elif what != "ended":
        asked.say(f"{name}: " + ("failed, and goes on from what it saved" if what == "failed" else what) + f" ({why})")
    else:
        scores = {p: s for p in paths if (s := score_of(p, metric)) is not None}
        said = f"{HEADINGS[metric]} {scores[path]:.4g}" if path in scores else state_of(path)
        asked.say(f"{name}: {said}; {sum(map(ended, paths))} of {len(paths)} done"
                  + (f", best {min(scores.values()):.4g} ({min(scores, key=scores.__getitem__).name})" if scores else ""))


def _finish(failed: dict[str, str]) -> None:
    if failed:
        name, said = next(iter(failed.items()))
        raise TrainingError(f"{', '.join(sorted(failed))} failed again and again ({name}: {said}); the others are kept, and the "
                            "same command tries again.")
