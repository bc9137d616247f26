"""What a training script can hang into a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaefast.training.trainer import Trainer


class Callback:
    """Override what you need. Every method is given the trainer, whose attributes say where it is:

    `model`, `stage` (the `Stage` at work), `done` and `total` (its iterations), `epoch`, `history`, `run`, `device`;
    `trainer.averaged()` puts the moving average of the weights in place, `trainer.stop()` ends the run, and
    `trainer.crosses(every)` says whether the iteration just done ended one of the stage's periods of so many epochs.
    In a distributed run callbacks are called in the process that writes, and in it alone.

    Random numbers drawn in a callback do not change the run's own, except in `step` and `due`, which are called too often for
    that. An error in a callback ends the training, after a checkpoint; one that says that the disk is full is told of alone.
    """

    def due(self, trainer: Trainer) -> bool:
        """Whether a record is wanted after the iteration just done, besides those of `log_every`.

        Asked in every process, after every iteration; a function of `trainer.done` and its like, the same in each of them.
        """
        return False

    def start(self, trainer: Trainer) -> None:
        """Training begins, or goes on."""

    def step(self, trainer: Trainer) -> None:
        """An iteration is done (on a GPU: launched)."""

    def log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """A record was logged; entries added to it reach metrics.jsonl."""

    def evaluate(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """The stage's `evaluate` has put its scores into the record, which `log` sees next."""

    def checkpoint(self, trainer: Trainer, path: Path) -> None:
        """A checkpoint is being written to `path` (.safetensors and .json)."""

    def picture(self, trainer: Trainer, path: Path) -> None:
        """A picture of samples was written to `path` (see `Trainer.show`)."""

    def diverged(self, trainer: Trainer, message: str) -> None:
        """A loss or weight became NaN or infinite; `message` says which, and training ends with it as a `DivergenceError`."""

    def end(self, trainer: Trainer) -> None:
        """Training has ended, for whatever reason."""
