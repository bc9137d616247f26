"""Records sent on to TensorBoard or Weights & Biases, where those are installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaefast.errors import ArgumentError
from vaefast.training.callbacks import Callback

if TYPE_CHECKING:
    from vaefast.training.trainer import Trainer

_COORDINATES = ("stage", "step", "epoch", "seconds")


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    return {f"{record['stage']}/{name}": value for name, value in record.items()
            if name not in _COORDINATES and isinstance(value, (int, float))}


class TensorBoard(Callback):
    """Writes every record's numbers as scalars.

    Args:
        folder: of the event files; RUN/tensorboard if None.

    Raises:
        ArgumentError: tensorboard is not installed (pip install vaefast[tensorboard]).
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ArgumentError("tensorboard is not installed; pip install 'vaefast[tensorboard]'.") from None
        self._make, self.folder = SummaryWriter, folder
        self.writer: Any = None

    def start(self, trainer: Trainer) -> None:
        if self.writer is None:
            folder = self.folder or (trainer.run.path / "tensorboard" if trainer.run else None)
            if folder is None:
                raise ArgumentError("TensorBoard needs a folder, or a run with one.")
            self.writer = self._make(str(folder))

    def log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        for name, value in _numbers(record).items():
            self.writer.add_scalar(name, value, record["step"])

    def end(self, trainer: Trainer) -> None:
        if self.writer is not None:
            self.writer.close()


class WeightsAndBiases(Callback):
    """Sends every record's numbers to a Weights & Biases project.

    Args:
        project: its name.
        options: of `wandb.init`, such as mode="offline".

    Raises:
        ArgumentError: wandb is not installed (pip install vaefast[wandb]).
    """

    def __init__(self, project: str, **options: Any) -> None:
        try:
            import wandb
        except ImportError:
            raise ArgumentError("wandb is not installed; pip install 'vaefast[wandb]'.") from None
        self._wandb, self.project, self.options = wandb, project, options
        self.run: Any = None

    def start(self, trainer: Trainer) -> None:
        if self.run is None:
            config = trainer.run.config if trainer.run else {}
            name = trainer.run.path.name if trainer.run else None
            self.run = self._wandb.init(project=self.project, name=name, config=config, **self.options)

    def log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        # steps restart with each stage, and wandb wants one axis that only grows
        self.run.log(_numbers(record) | {f"{record['stage']}/step": record["step"]})

    def end(self, trainer: Trainer) -> None:
        if self.run is not None:
            self.run.finish()
