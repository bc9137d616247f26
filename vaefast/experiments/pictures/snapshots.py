"""Pictures of samples while a model trains."""

from __future__ import annotations

import math

import torch

from vaefast.errors import ArgumentError
from vaefast.experiments.pictures.arrays import draw_arrays
from vaefast.experiments.pictures.grids import image_grid, save_png
from vaefast.models.draws import best_sampler
from vaefast.models.mode import evaluating
from vaefast.training import Callback, Trainer

SIDE = 8


class SampleGrids(Callback):
    """Writes RUN/samples/STAGE-STEP.png, always of the same noise, every `every` epochs and at each stage's end, and shows it to
    the other callbacks.

    Args:
        every: epochs; may be a fraction.
        seed: of the noise (`vaefast.experiments.scoring.draws.sampling_seed` of the run's).
    """

    def __init__(self, every: float, seed: int = 1) -> None:
        if not 0 < every < math.inf:
            raise ArgumentError(f"sample_every is {every!r}; expected a number of epochs above 0.")
        self.every, self.seed = every, seed

    def step(self, trainer: Trainer) -> None:
        if trainer.run is None or not trainer.crosses(self.every):
            return
        generator = torch.Generator(trainer.device).manual_seed(self.seed)
        forked = torch.random.fork_rng([trainer.device] if trainer.device.type == "cuda" else [])
        with forked, torch.no_grad(), evaluating(trainer.model), trainer.averaged():
            samples = best_sampler(trainer.model, trainer.stage.name)(SIDE * SIDE, generator)
        path = trainer.run.path / "samples" / f"{trainer.stage.name}-{trainer.done:08d}.png"
        if getattr(trainer.model, "draws_images", True):
            save_png(path, image_grid(samples.cpu(), SIDE, SIDE))
        else:
            draw_arrays(path, samples)
        trainer.show(path)
