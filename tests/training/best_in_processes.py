"""Trains a line in several processes, whose scores differ, and goes back to the best weights: best_in_processes.py OUT.

Started by torchrun; each process writes the weights that it ends with to OUT.RANK.
"""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vaefast.training import RunFolder, Stage, StageSettings, Trainer
from vaefast.training.distributed import join, leave
from vaefast.training.sources import ImageSource

CPU = torch.device("cpu")
SCORES = ([3.0, 1.0, 2.0, 4.0], [4.0, 3.0, 2.0, 1.0])


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = x.flatten(1)
        return {"loss": (self.layer(x) - x.sum(1, keepdim=True)).square().mean()}


def main(out: str) -> None:
    join(CPU)
    rank = dist.get_rank()
    if rank == 0:
        RunFolder.create(out, {})
    dist.barrier()
    torch.manual_seed(0)
    model, scores = Line(), iter(SCORES[rank])
    images = torch.rand(32, 1, 2, 2, generator=torch.Generator().manual_seed(9))
    stage = Stage("only", model, lambda: ImageSource(images, CPU), StageSettings(epochs=4, batch_size=4, lr=0.05),
                  evaluate=lambda: {"fd": next(scores)}, evaluate_every=1.0, best="fd", keep_best=True)
    Trainer(model, [stage], device="cpu", run=RunFolder.open(out), log_every=4).fit()
    torch.save(model.state_dict(), f"{out}.{rank}")
    leave()


if __name__ == "__main__":
    main(sys.argv[1])
