"""The engine: stages, players, settings, precision, checkpoints, progress. Knows models only as modules with losses."""

from vaefast.training.callbacks import Callback
from vaefast.training.run_folder import RunFolder
from vaefast.training.schedule import Ramp
from vaefast.training.settings import PlayerSettings, StageSettings
from vaefast.training.stage import History, Stage
from vaefast.training.trainer import Trainer
from vaefast.training.validation import HeldOut

__all__ = ["Callback", "HeldOut", "History", "PlayerSettings", "Ramp", "RunFolder", "Stage", "StageSettings", "Trainer"]
