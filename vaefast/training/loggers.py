"""Records sent on to TensorBoard, Weights & Biases or MLflow, where those are installed, or into a CSV file."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaefast.errors import ArgumentError, first_line
from vaefast.files import write_atomically
from vaefast.training.callbacks import Callback

if TYPE_CHECKING:
    from vaefast.training.trainer import Trainer

_COORDINATES = ("stage", "step", "epoch", "seconds")


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    return {f"{record['stage']}/{name}": value for name, value in record.items()
            if name not in _COORDINATES and isinstance(value, (int, float))}


def _pixels(path: Path) -> Any:
    """A picture's uint8 [height, width, 3]."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


class TensorBoard(Callback):
    """Writes every record's numbers as scalars, and pictures of samples as images.

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

    def picture(self, trainer: Trainer, path: Path) -> None:
        self.writer.add_image(f"{trainer.stage.name}/samples", _pixels(path), trainer.done, dataformats="HWC")

    def end(self, trainer: Trainer) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None  # a fit after this one has one of its own


class WeightsAndBiases(Callback):
    """Sends every record's numbers, and pictures of samples, to a Weights & Biases project.

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

    def picture(self, trainer: Trainer, path: Path) -> None:
        self.run.log({f"{trainer.stage.name}/samples": self._wandb.Image(_pixels(path), caption=f"step {trainer.done}")})

    def end(self, trainer: Trainer) -> None:
        if self.run is not None:
            self.run.finish()
            self.run = None  # a fit after this one is another


class MLflow(Callback):
    """Sends every record's numbers, the settings and pictures of samples to an MLflow experiment, as a run of its own.

    Args:
        experiment: its name; it is made if there is none.
        tracking_uri: where MLflow keeps its runs; None for MLFLOW_TRACKING_URI, or MLflow's own default.

    Raises:
        ArgumentError: mlflow is not installed (pip install vaefast[mlflow]).
    """

    def __init__(self, experiment: str, tracking_uri: str | None = None) -> None:
        try:
            import mlflow
            from mlflow.entities import Metric, Param
        except ImportError:
            raise ArgumentError("mlflow is not installed; pip install 'vaefast[mlflow]'.") from None
        self._mlflow, self._metric, self._param = mlflow, Metric, Param
        self.experiment, self.tracking_uri = experiment, tracking_uri
        self.client: Any = None
        self.run_id = ""

    def start(self, trainer: Trainer) -> None:
        if self.client is not None:
            return
        try:  # a client of its own: the script's active run, if it has one, stays as it is
            self.client = self._mlflow.MlflowClient(self.tracking_uri)
            known = self.client.get_experiment_by_name(self.experiment)
            where = known.experiment_id if known else self.client.create_experiment(self.experiment)
        except self._mlflow.MlflowException as error:
            self.client = None
            raise ArgumentError(f"MLflow cannot open the experiment {self.experiment!r} ({first_line(error)}); name "
                                "where it keeps its runs by tracking_uri, or in MLFLOW_TRACKING_URI.") from error
        self.run_id = self.client.create_run(where, run_name=trainer.run.path.name if trainer.run else None).info.run_id
        params = [self._param(name, value) for name, value in _flat(trainer.run.config if trainer.run else {}).items()]
        for i in range(0, len(params), _PARAMS):
            self.client.log_batch(self.run_id, params=params[i : i + _PARAMS])

    def log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        now = round(1000 * time.time())
        self.client.log_batch(self.run_id, [self._metric(name, float(value), now, record["step"])
                                            for name, value in _numbers(record).items()])

    def picture(self, trainer: Trainer, path: Path) -> None:
        self.client.log_artifact(self.run_id, str(path), "samples")

    def end(self, trainer: Trainer) -> None:
        if self.client is not None:
            self.client.set_terminated(self.run_id, "FAILED" if sys.exc_info()[0] else "FINISHED")
            self.client = None


_PARAMS, _LONGEST = 100, 500
"""Parameters that MLflow takes at a time, and characters that every version of it takes of one."""


def _flat(settings: Any, name: str = "") -> dict[str, str]:
    """Nested settings as texts by dotted names, such as "stages.0.lr"."""
    if isinstance(settings, Mapping):
        parts = [(str(key), value) for key, value in settings.items()]
    elif isinstance(settings, (list, tuple)) and any(isinstance(value, Mapping) for value in settings):
        parts = [(str(i), value) for i, value in enumerate(settings)]
    else:
        return {name: str(settings)[:_LONGEST]}
    return {k: v for key, value in parts for k, v in _flat(value, f"{name}.{key}" if name else key).items()}


class CSV(Callback):
    """Writes every record as a row of a table: stage, step, epoch, seconds, and a column for each other entry.

    A resumed run's file holds the rows before it, too.

    Args:
        file: where; RUN/metrics.csv if None.
    """

    def __init__(self, file: str | Path | None = None) -> None:
        self.given, self.path = file, Path()
        self.rows: list[dict[str, Any]] = []
        self.columns: list[str] = []

    def start(self, trainer: Trainer) -> None:
        if not self.columns:
            file = self.given or (trainer.run.path / "metrics.csv" if trainer.run else None)
            if file is None:
                raise ArgumentError("CSV needs a file, or a run with a folder.")
            self.path = Path(file)
            self.rows, self.columns = list(trainer.history.records), list(_COORDINATES)
            for record in self.rows:
                self._widen(record)
            self._write()

    def log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.rows.append(record)
        if self._widen(record) or not self.path.exists():
            self._write()
        else:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(self._lines([record]))

    def end(self, trainer: Trainer) -> None:
        self.columns = []  # a fit after this one writes a table of its own

    def _widen(self, record: dict[str, Any]) -> bool:
        """Whether the record has entries that no row had before: they become columns."""
        new = [name for name in record if name not in self.columns]
        self.columns += new
        return bool(new)

    def _lines(self, rows: list[dict[str, Any]]) -> str:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerows([row.get(name, "") for name in self.columns] for row in rows)
        return text.getvalue()

    def _write(self) -> None:
        """The whole table anew, as its head has changed."""
        write_atomically(self.path, self._lines([dict(zip(self.columns, self.columns)), *self.rows]).encode())
