"""One training of a sweep with its score. Its folder says how far it is, and that alone: whoever asks next goes on from there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vaefast.api import ImageModel
from vaefast.errors import DivergenceError, RunFolderError
from vaefast.experiments.request import Request
from vaefast.experiments.run import run_data, train
from vaefast.experiments.scoring.codes import spread_over
from vaefast.experiments.scoring.draws import sample_images
from vaefast.experiments.scoring.evaluate import evaluate, own_network
from vaefast.experiments.scoring.registry import RANKING, best_of
from vaefast.experiments.scoring.scores import ImageScores
from vaefast.files import remove_leftovers
from vaefast.models.draws import best_sampler
from vaefast.models.mode import evaluating
from vaefast.training import Callback, Trainer
from vaefast.training.run_folder import RunFolder
from vaefast.training.storage import read_object, write_json

SCORES = RANKING
"""What a sweep can rank by: the metric, as `evaluate` calls it, and its entry in evaluation.json. Lower is better."""
LOCK_SECONDS = 60.0

Job = dict[str, Any]
"""JSON-ready: "out" (the folder), "train" (a `Request`, but that `out` and `resume` are the job's), "evaluate" (its arguments),
"metric", "milestones" (shares of the training after which a score is wanted)."""
Told = Callable[[float, float], None]
"""Told the share of the training that is done, and the score after it."""


def state_of(path: Path) -> str:
    """"done" (trained and scored), "diverged", "stopped" (early), "begun" or "waiting"."""
    marks = {"evaluation.json": "done", "diverged.json": "diverged", "stopped.json": "stopped", "config.json": "begun"}
    return next((state for file, state in marks.items() if (path / file).is_file()), "waiting")


def ended(path: Path) -> bool:
    """Whether there is nothing left to do in a job's folder."""
    return state_of(path) in ("done", "diverged", "stopped")


def stop(path: Path, share: float, score: float) -> None:
    """Mark a job as stopped early, after a share of its training."""
    write_json(path / "stopped.json", {"share": share, "score": score})


def score_of(path: Path, metric: str) -> float | None:
    """The score of a job that is done."""
    return best_of(read_object(path / "evaluation.json"), SCORES[metric])


def milestones_of(path: Path, metric: str) -> list[tuple[float, float]]:
    """The scores that a job had on its way: share of the training, score."""
    if state_of(path) == "waiting":
        return []
    return [(r["share"], r[SCORES[metric]]) for r in RunFolder.open(path).read_metrics() if "share" in r]


def run_job(job: Job, told: Told = lambda share, score: None) -> None:
    """Do what is left of a job: train (on from its newest checkpoint), then score; nothing if it has ended.

    A training that diverges has ended, too: diverged.json holds what was said.
    """
    path = Path(job["out"])
    if ended(path):
        return
    path.mkdir(parents=True, exist_ok=True)
    resume = (path / "config.json").exists()
    if resume:
        _wait_until_free(path)
    else:
        remove_leftovers(path)
    try:
        if not (path / "model.json").is_file():
            callbacks = [Milestones(job["milestones"], job["metric"], job["evaluate"], told)] if job["milestones"] else []
            train(Request(**{**job["train"], "out": str(path), "resume": resume}), progress=False, callbacks=callbacks)
    except DivergenceError as error:
        write_json(path / "diverged.json", {"error": str(error)})
        return
    evaluate(str(path), which=[job["metric"]], say=_silent, **job["evaluate"])


def _wait_until_free(path: Path) -> None:
    """A worker that was given up can live on for moments after its successor has started."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            with RunFolder.open(path).locked():
                return
        except RunFolderError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def _silent(text: str) -> None:
    pass


class Milestones(Callback):
    """Scores the model at shares of its training, into its log (`share`, and the score by its name) and to whom it is `told`.

    Args:
        shares: rising, above 0 and below 1.
        metric: of `SCORES`.
        options: as `evaluate` takes them: data_root, samples, seed, weights, classifier_cache.
        told: see `Told`; after a resumption it is told the earlier ones again.
    """

    def __init__(self, shares: Sequence[float], metric: str, options: dict[str, Any], told: Told) -> None:
        self.shares, self.metric, self.options, self.told = shares, metric, options, told
        self.passed = 0
        self.score: ImageScores | None = None

    def start(self, trainer: Trainer) -> None:
        earlier = [r for r in trainer.history.of(trainer.stage.name) if "share" in r]
        self.passed = len(earlier)
        for record in earlier:
            self.told(record["share"], record[SCORES[self.metric]])

    def log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        reached = sum(trainer.done >= share * trainer.total for share in self.shares)
        if reached > self.passed and trainer.done < trainer.total:
            self.passed = reached
            record["share"] = self.shares[reached - 1]
            record[SCORES[self.metric]] = self._score(trainer)
            self.told(record["share"], record[SCORES[self.metric]])

    def _score(self, trainer: Trainer) -> float:
        samples, seed = self.options["samples"], self.options["seed"]
        assert trainer.run is not None and isinstance(trainer.model, ImageModel)
        if self.score is None:
            split = run_data(trainer.run, self.options["data_root"])
            test = split("test")
            network = own_network([self.metric], split("train"), test, self.options["classifier_cache"], trainer.device, _silent)
            self.score = ImageScores(spread_over(test, samples), [self.metric], weights=self.options["weights"],
                                     device=trainer.device, classifier=network, notice=_silent)
        with evaluating(trainer.model), trainer.averaged():
            draw = best_sampler(trainer.model, trainer.stage.name)
            images = sample_images(trainer.model, draw, samples, seed=seed + 1)  # the evaluation's own noise
        return float(self.score(images)[SCORES[self.metric]])


def describe(setting: dict[str, Any]) -> str:
    """A setting on one line, such as "lr 0.00031  beta1 0.5"."""
    words = [f"{name.partition('/')[2].rstrip('_')} {shown(value)}" for name, value in setting.items()]
    return "  ".join(words) or "the preset's own"


def shown(value: Any) -> str:
    """A value of a setting, for people."""
    return f"{value:.3g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
