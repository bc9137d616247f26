"""The engine: stages, settings, precision, checkpoints, progress. Knows models only as modules that return losses."""

from vaefast.training.run_folder import RunFolder
from vaefast.training.settings import StageSettings
from vaefast.training.trainer import History, Stage, Trainer

__all__ = ["History", "RunFolder", "Stage", "StageSettings", "Trainer"]
