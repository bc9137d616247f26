"""The mutual information of images and codes while a model trains."""

from __future__ import annotations

import math
from typing import Any, cast

import torch

from vaefast import api, metrics
from vaefast.errors import ArgumentError
from vaefast.experiments.scoring.codes import aggregate, rows_at
from vaefast.training import Callback, Trainer

IMAGES = 10_000


class InformationLog(Callback):
    """Adds `mutual_information`, its ceiling log N and its standard error to a record every `every` epochs, and at the end.

    The first one comes after a tenth of `every`, while codes tell little yet. In a run of two stages it is that of the first, and
    logged while that trains.

    Args:
        every: epochs; may be a fraction.
        images: the training images [N', C, H, W], or their set.
        n: N, how many of them are taken; all, where there are fewer.
        seed: of the choice and of the draws.
    """

    def __init__(self, every: float, images: Any, n: int = IMAGES, seed: int = 0) -> None:
        if not 0 < every < math.inf:
            raise ArgumentError(f"mi_every is {every!r}; expected a number of epochs above 0.")
        self.every, self.seed = every, seed
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n]
        self.images = rows_at(images, chosen.sort().values)

    def start(self, trainer: Trainer) -> None:
        if not bool(aggregate(cast(api.ImageAutoencoder, trainer.model), rows_at(self.images, torch.arange(2))).std.all()):
            raise ArgumentError("mi_every was given for a deterministic encoder, whose codes tell everything; leave it out.")

    def due(self, trainer: Trainer) -> bool:
        first = trainer.epoch < self.every / 5 and trainer.crosses(self.every / 10)
        return trainer.stage is trainer.stages[0] and (first or trainer.crosses(self.every))

    def log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        if not self.due(trainer):
            return
        with trainer.averaged():
            encoded = aggregate(cast(api.ImageAutoencoder, trainer.model), self.images, self.seed)
        record |= metrics.mutual_information(encoded.mean, encoded.std, seed=self.seed).scores()
