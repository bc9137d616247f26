"""Train, sample and score variational autoencoders and small GANs at the speed of the hardware."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Threads that spin while they wait for each other make a step many times slower where another process has one of their cores.
# OpenMP reads this once, when torch loads it; a value of the user's stays.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if TYPE_CHECKING:
    from vaefast import data, metrics, models, nets, ops
    from vaefast.api import (
        GAMIXVAE,
        GAN,
        VAE,
        WAE,
        BigGAN,
        BigGANVAE,
        GeneralVAE,
        SecondStage,
        SequentialVAE,
        TableVAE,
        TwoStageVAE,
        from_pretrained,
        load,
    )
    from vaefast.experiments.publish import push_to_hub
    from vaefast.experiments.scoring.evaluate import evaluate_model as evaluate
    from vaefast.exporting import export
    from vaefast.training import History, StageSettings, Trainer

_FROM = {"evaluate": "vaefast.experiments.scoring.evaluate", "export": "vaefast.exporting",
         "push_to_hub": "vaefast.experiments.publish",
         **dict.fromkeys(("GAMIXVAE", "GAN", "VAE", "WAE", "BigGAN", "BigGANVAE", "GeneralVAE", "SecondStage", "SequentialVAE",
                          "TableVAE", "TwoStageVAE", "from_pretrained", "load"), "vaefast.api"),
         **dict.fromkeys(("History", "StageSettings", "Trainer"), "vaefast.training")}
_CALLED = {"evaluate": "evaluate_model"}
"""Names that differ where they are defined."""
_ROOMS = ("data", "experiments", "metrics", "models", "nets", "ops", "training")
__all__ = ["GAMIXVAE", "GAN", "VAE", "WAE", "BigGAN", "BigGANVAE", "GeneralVAE", "History", "SecondStage", "SequentialVAE",
           "StageSettings", "TableVAE", "Trainer", "TwoStageVAE", "__version__", "data", "evaluate", "export",
           "from_pretrained", "load", "metrics", "models", "nets", "ops", "push_to_hub"]


def __getattr__(name: str) -> Any:
    # torch is imported when something is used, so that `vaefast --version` and setup tools stay quick
    import importlib

    if name in _FROM:
        value = getattr(importlib.import_module(_FROM[name]), _CALLED.get(name, name))
    elif name in _ROOMS:
        value = importlib.import_module(f"vaefast.{name}")
    else:
        raise AttributeError(f"module 'vaefast' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
