"""Pictures of samples while a model trains."""

from __future__ import annotations

import math
from typing import Any

import torch

from vaefast.errors import ArgumentError
from vaefast.experiments.pictures import image_grid, save_png
from vaefast.models.mode import evaluating
from vaefast.training import Callback, Trainer

SIDE = 8


class SampleGrids(Callback):
    """Writes RUN/samples/STAGE-STEP.png, always of the same noise, every `every` epochs and at each stage's end.

    Args:
        every: epochs; may be a fraction.
        seed: of the noise.
    """

    def __init__(self, every: float, seed: int = 1) -> None:
        if not 0 < every < math.inf:
            raise ArgumentError(f"sample_every is {every!r}; expected a number of epochs above 0.")
        self.every, self.seed, self.next = every, seed, 0.0

    def start(self, trainer: Trainer) -> None:
        self.next = (math.floor(trainer.epoch / self.every) + 1) * self.every

    def log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        if trainer.epoch < self.next and trainer.done < trainer.total:
            return
        self.next = (math.floor(trainer.epoch / self.every) + 1) * self.every
        if trainer.run is None:
            return
        generator = torch.Generator(trainer.device).manual_seed(self.seed)
        # while the first of two stages trains, the second knows nothing yet
        options = {"stage": 1} if len(trainer.stages) > 1 and trainer.stage is trainer.stages[0] else {}
        with torch.no_grad(), evaluating(trainer.model), trainer.averaged():
            samples = trainer.model.sample(SIDE * SIDE, generator=generator, **options)
        path = trainer.run.path / "samples" / f"{trainer.stage.name}-{trainer.done:08d}.png"
        save_png(path, image_grid(samples.cpu(), SIDE, SIDE))
