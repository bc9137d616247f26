"""Named settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from vaefast.api.wae import against_adversary
from vaefast.errors import ArgumentError
from vaefast.training.settings import StageSettings


@dataclass(frozen=True)
class Preset:
    """A model's kind and arguments and its stages' settings, with a line that says what they are for."""

    about: str
    stages: tuple[StageSettings, ...]
    model: dict[str, Any] = field(default_factory=dict)
    kind: str = "two-stage"


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

# the one-stage models' budgets are those of the two-stage model's first, so that their scores compare
PAPER, QUICK = TWO_STAGE["paper"].stages[0], TWO_STAGE["quick"].stages[0]

VAE = {
    "paper": Preset("Dai & Wipf's VAE with learned gamma: 400 epochs, 64 latent dimensions", (PAPER,), {"latent_dim": 64}, "vae"),
    "quick": Preset("the two-stage model's quick stage 1 alone", (QUICK,), {"latent_dim": 16, "gamma": "optimal"}, "vae"),
}

VAE_FLOW = {name: replace(p, about=f"{p.about}, with 10 planar flows", model={**p.model, "flow": "planar"})
            for name, p in VAE.items()}

WAE_MMD = {
    "paper": Preset("Dai & Wipf's WAE-MMD: lambda 100, 400 epochs, 64 latent dimensions", (PAPER,),
                    {"latent_dim": 64, "penalty": "mmd"}, "wae"),
    "quick": Preset("as long as the two-stage model's quick stage 1", (QUICK,), {"latent_dim": 16, "penalty": "mmd"}, "wae"),
}

WAE_GAN = {
    "paper": Preset("a WAE-GAN beside Dai & Wipf's WAE-MMD: lambda 100, 400 epochs, 64 latent dimensions",
                    (against_adversary(PAPER),), {"latent_dim": 64, "penalty": "gan"}, "wae"),
    "quick": Preset("as long as the two-stage model's quick stage 1", (against_adversary(QUICK),),
                    {"latent_dim": 16, "penalty": "gan", "adversary_width": 512}, "wae"),
}

_BUDGETS = {"paper": ("400 epochs, 64 latent dimensions", PAPER, 64),
            "quick": ("as long as the two-stage model's quick stage 1", QUICK, 16)}


def _general(about: str, **model: Any) -> dict[str, Preset]:
    """Presets of a member of the objective family."""
    return {name: Preset(f"{about}: {length}", (budget,), {"latent_dim": k, **model}, "general")
            for name, (length, budget, k) in _BUDGETS.items()}


GENERAL = _general("any E_q[log p(x|z)] - R(q), the ELBO if nothing is said (Zhao et al. 2017)")
BETA_VAE = _general("beta-VAE, beta 4 (Higgins et al. 2017)", beta=4.0)
TC_VAE = _general("beta-TC-VAE, beta 6 (Chen et al. 2018)", regularizer="tc", beta=6.0)
INFO_VAE = _general("InfoVAE, alpha 0, lambda 100 (Zhao et al. 2019)", regularizer="info", alpha=0.0, lambda_=100.0)

PRESETS = {"two-stage": TWO_STAGE, "vae": VAE, "vae-flow": VAE_FLOW, "wae-mmd": WAE_MMD, "wae-gan": WAE_GAN,
           "general-vae": GENERAL, "beta-vae": BETA_VAE, "tc-vae": TC_VAE, "info-vae": INFO_VAE}
"""Presets by what `vaefast train` calls the model, and by name."""


def preset(model: str, name: str) -> Preset:
    """The preset `name` of `model`; `ArgumentError` naming what there is otherwise."""
    if model not in PRESETS:
        raise ArgumentError(f"model is {model!r}; expected one of {', '.join(PRESETS)}.")
    if name not in PRESETS[model]:
        raise ArgumentError(f"preset is {name!r}; {model} has {', '.join(PRESETS[model])}.")
    return PRESETS[model][name]
