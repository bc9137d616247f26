"""A trained two-stage run, as benchmarks of second stages take it: its model, its data, and the score of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import vaefast
from vaefast.data import ImageSet
from vaefast.experiments.run import run_data
from vaefast.experiments.scoring.codes import spread_over
from vaefast.experiments.scoring.evaluate import own_metric, own_network
from vaefast.experiments.scoring.registry import METRICS
from vaefast.experiments.scoring.scores import ImageScores
from vaefast.training import RunFolder


@dataclass(frozen=True)
class ScoredRun:
    """The run's model on the CPU, its training images, the real images that `score` compares with, and the name of its first."""

    model: Any
    train: ImageSet
    real: Tensor
    score: ImageScores
    key: str


def scored_run(path: str, data_root: str | None, samples: int) -> ScoredRun:
    """The run at `path`, scored against so many of its test images."""
    split = run_data(RunFolder.open(path), data_root)
    train, test = split("train"), split("test")
    which = own_metric(train)
    network = own_network(which, train, test, None, torch.device("cpu"), print)
    real = spread_over(test.images, samples)
    return ScoredRun(vaefast.load(path, device="cpu"), train, real, ImageScores(real, which, classifier=network),
                     METRICS[which[0]].scores[0].key)
