"""Trains a small two-stage VAE; started alone or by torchrun: train_in_processes.py OUT BATCH_SIZE [STEP_TO_DIE_AT]."""

from __future__ import annotations

import math
import os
import sys

import torch

import vaefast
from vaefast.training import Callback, StageSettings, dense
from vaefast.training.distributed import leave, restarted


class Dying(Callback):
    """Kills its process once at a step of the first stage."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, trainer) -> None:
        if trainer.stage.name == "stage1" and trainer.done == self.at and not restarted():
            trainer.run.checkpoints.wait()
            os._exit(9)


def main(out: str, batch_size: int, die_at: int | None) -> None:
    torch.set_num_threads(1)
    dense.SMALLEST = math.inf  # one library for all sizes of a batch: Adam makes much of differences in rounding
    images = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
    torch.manual_seed(0)
    model = vaefast.TwoStageVAE((1, 8, 8), 4, second_width=16)
    # biases before a batch norm have rounding errors for a gradient; with Adam's own eps of 1e-8 it makes whole steps of them
    settings = tuple(StageSettings(epochs=epochs, batch_size=batch_size, lr=1e-3, eps=1e-5) for epochs in (3, 4))
    model.fit(images, settings=settings, out=out, device="cpu", precision="fp32", sync=True, log_every=2,
              progress=die_at is not None, callbacks=[Dying(die_at)] if die_at else [], checkpoint_seconds=0.0)
    leave()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
