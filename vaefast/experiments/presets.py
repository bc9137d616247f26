"""Named settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vaefast.errors import ArgumentError
from vaefast.training.settings import StageSettings


@dataclass(frozen=True)
class Preset:
    """A model's arguments and its stages' settings, with a line that says what they are for."""

    about: str
    stages: tuple[StageSettings, ...]
    model: dict[str, Any] = field(default_factory=dict)


TWO_STAGE = {
    "paper": Preset(
        "Dai & Wipf's defaults: 400 + 800 epochs, learned gamma, 64 latent dimensions",
        (StageSettings(epochs=400), StageSettings(epochs=800)), {"latent_dim": 64}),
    "quick": Preset(
        "good samples in about 8 minutes on 2 CPU cores",
        (StageSettings(epochs=5, batch_size=128, lr=1e-3, schedule="cosine"),
         StageSettings(epochs=140, batch_size=512, lr=1e-3, schedule="cosine", warmup_steps=200)),
        {"latent_dim": 16, "gamma": "optimal", "second_width": 512}),
    "demo": Preset(
        "small data (the UCI digits) in about 2 minutes on 2 CPU cores",
        (StageSettings(epochs=25, batch_size=64, lr=1e-3, schedule="cosine"),
         StageSettings(epochs=300, batch_size=64, lr=1e-3, schedule="cosine", warmup_steps=200)),
        {"latent_dim": 12, "gamma": "optimal", "second_width": 256}),
}

PRESETS = {"two-stage": TWO_STAGE}


def preset(model: str, name: str) -> Preset:
    """The preset `name` of `model`; `ArgumentError` naming what there is otherwise."""
    if model not in PRESETS:
        raise ArgumentError(f"model is {model!r}; expected one of {', '.join(PRESETS)}.")
    if name not in PRESETS[model]:
        raise ArgumentError(f"preset is {name!r}; {model} has {', '.join(PRESETS[model])}.")
    return PRESETS[model][name]
