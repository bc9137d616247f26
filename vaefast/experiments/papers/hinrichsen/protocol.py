"""What is trained for each row and claim: the model's arguments and its budget in each preset."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from vaefast.api.biggan import vae_stage
from vaefast.experiments.papers.hinrichsen.printed import TABLE, TITLES
from vaefast.experiments.papers.plan import SMOKE, Row, Training, of_preset
from vaefast.training.settings import PlayerSettings

SAMPLES = {"smoke": 1_000, "quick": 10_000, "paper": 10_000}
FEW = 512
"""The paper's Inception scores are of so many samples, in 10 splits."""
LIMIT = 2_000
"""Images that a smoke run sees."""

LR_DISCRIMINATOR, LR_GENERATOR, CLIP_VALUE = 2e-4, 5e-5, 0.1
FACES_WEIGHT_DECAY = 1e-5  # of the networks for faces, in the published code
LATENTS = (128, 256, 512)
LATENT = 256
FACTOR = 10.0
OPTIMIZERS = {"rmsprop": "RMSprop", "sgd": "SGD"}
"""Beside Adam. The paper gives no settings of theirs."""
OPTIMIZER_BETAS = (0.9, 0.99)
"""SGD's momentum and RMSprop's decay."""
SGD_FACTOR = 10.0
"""Of Adam's learning rates, of a GAN: the largest power of ten at which preset "quick" does not run away."""
NARROW = 0.62
"""Of the width, at which two blocks a stage have about as many parameters, of both networks together, as one."""
OWN_LATENT, OWN_BATCH, OWN_EPOCHS = 512, 1024, 125
"""Latent dimensions, batch and epochs logged of Hinrichsen's other VAE."""


@dataclass(frozen=True)
class Budget:
    """Of one preset: widths, batches and steps where they are not the paper's.

    Args:
        about: what it is for.
        ch, batch: of all models.
        steps: of GANs and of VAEs.
        score_every: epochs between scores of a GAN as it trains, of CIFAR-10 and of LFW.
        lr, betas: Adam's learning rates of a GAN's discriminator and generator, and decays of both.
        gan: arguments of a GAN, vae: settings of a VAE's stage, where they are not the paper's.
        of_vae: arguments of a VAE; Hinrichsen's code takes errors in [0, 1].
    """

    about: str
    ch: int | None = None
    batch: int | None = None
    steps: tuple[int, int] | None = None
    score_every: tuple[float, float] = (10.0, 10.0)
    lr: tuple[float, float] = (LR_DISCRIMINATOR, LR_GENERATOR)
    betas: tuple[float, float] = (0.9, 0.999)
    gan: dict[str, Any] = field(default_factory=dict)
    vae: dict[str, Any] = field(default_factory=dict)
    of_vae: dict[str, Any] = field(default_factory=lambda: {"image_range": (0.0, 1.0)})


PRESETS = {
    "smoke": Budget(SMOKE, 8, 32, (100, 150), (1.0, 1.0)),
    # with the paper's settings the discriminator wins in short runs
    "quick": Budget("narrow networks for minutes on a CPU. The GANs are trained as Brock et al.'s are on CIFAR-10 (hinge loss, "
                    "2e-4 and beta1 0 for both players) but with one turn each, the VAEs with a cosine from 1e-3, no weight "
                    "decay and errors on [-1, 1], which makes beta a quarter of what it says. Its orderings "
                    "are those of trainings far from their end, and its numbers do not compare with the paper's",
                    16, 64, (2_000, 2_500), (0.5, 2.0), (2e-4, 2e-4), (0.0, 0.999), {"loss": "hinge", "order": "dg"},
                    {"lr": 1e-3, "schedule": "cosine", "clip_value": None, "weight_decay": 0.0}, {}),
    "paper": Budget("the widths, batches and epochs of the paper's table"),
}


def _training(name: str, **model: Any) -> Training:
    family, arch = name.split("-")[:2]
    return Training(name, "biggan" if family == "gan" else "biggan-vae", {"arch": arch, **model})


def _learning_rates(name: str, discriminator: float, generator: float) -> Training:
    """A GAN with multiples of the usual learning rates, which `options` turns into settings."""
    return replace(_training(name), stages={"lr_factors": (discriminator, generator)})


MAIN = tuple(Row(name, title, _training(name)) for name, title in TITLES.items())
_ROW = {row.name: row for row in MAIN}

LATENT_ROWS = tuple(replace(_ROW["vae-deep"], title=f"{k} latent dimensions") if k == LATENT else
                    Row(f"vae-deep-z{k}", f"{k} latent dimensions", _training(f"vae-deep-z{k}", latent_dim=k)) for k in LATENTS)

RATE_ROWS = (
    replace(_ROW["gan-deep"], title="the usual learning rates"),
    Row("gan-deep-fast-d", "discriminator's 10 times as high", _learning_rates("gan-deep-fast-d", FACTOR, 1.0)),
    Row("gan-deep-fast-g", "generator's 10 times as high", _learning_rates("gan-deep-fast-g", 1.0, FACTOR)),
)

ACTIVATION_ROWS = (
    *(replace(_ROW[name], title=f"{_ROW[name].title}, ReLU") for name in ("gan-deep", "vae-deep")),
    *(Row(f"{name}-leaky", f"{_ROW[name].title}, leaky ReLU", _training(f"{name}-leaky", activation="leaky_relu"))
      for name in ("gan-deep", "vae-deep")),
)

OPTIMIZER_ROWS = (
    *(replace(_ROW[name], title=f"{_ROW[name].title}, Adam") for name in ("gan-deep", "vae-deep")),
    *(Row(f"{name}-{optimizer}", f"{_ROW[name].title}, {title}",
          replace(_training(f"{name}-{optimizer}"), stages={"optimizer": optimizer}))
      for name in ("gan-deep", "vae-deep") for optimizer, title in OPTIMIZERS.items()),
)

BLOCK_ROWS = (_ROW["gan-normal"], _ROW["vae-normal"], *(
    Row(f"{family}-normal-{name}", f"{_ROW[f'{family}-normal'].title}, 2 blocks a stage{words}",
        replace(_training(f"{family}-normal-{name}", blocks=2), stages={"ch_share": share}))
    for family in ("gan", "vae")
    for name, share, words in (("blocks", 1.0, ""), ("narrow", NARROW, ", about as many parameters"))))

OWN_ROWS = (_ROW["vae-deep"], Row("vae-own", "Hinrichsen's other VAE", Training("vae-own", "vae", {
    "nets": "hinrichsen", "latent_dim": OWN_LATENT, "likelihood": "squared", "beta": 0.1})))


def options(training: Training, preset: str, data: str) -> dict[str, Any]:
    """Arguments of `vaefast.experiments.request.Request` for a training on data set `data` ("cifar10", "lfw" or another).

    The paper gives Adam's learning rates and the table's widths, batches and epochs; the order of the players, clipping and the
    VAE's loss are those of the published code (see `vaefast.BigGAN`). A set that the paper has not is trained as CIFAR-10.

    Raises:
        ArgumentError: no such preset.
    """
    budget, gan = of_preset(PRESETS, preset), training.kind == "biggan"
    if training.kind == "vae":
        return _own(training, budget)
    row = "-".join(training.name.split("-")[:2])
    printed = TABLE.get(data, TABLE["cifar10"])[row]
    request: dict[str, Any] = {"kind": training.kind, "preset_name": "paper"}
    if budget.steps is not None:
        request["steps"] = (budget.steps[not gan],)
    else:
        request["epochs"] = (float(printed.epochs),)
    ch = round((budget.ch or printed.ch) * training.stages.get("ch_share", 1.0))
    model: dict[str, Any] = {"latent_dim": LATENT, "ch": ch, **training.model}
    stage: dict[str, Any] = {"batch_size": budget.batch or printed.batch}
    name = training.stages.get("optimizer")
    optimizer = {"optimizer": name, "betas": OPTIMIZER_BETAS} if name else {}
    if gan:
        model |= budget.gan
        factor = SGD_FACTOR if name == "sgd" else 1.0
        factors = training.stages.get("lr_factors", (factor, factor))
        stage |= _gan_stage(budget, factors, FACES_WEIGHT_DECAY if data == "lfw" else 0.0, optimizer)
        request["score_every"] = budget.score_every[data == "lfw"]
    else:
        model |= budget.of_vae
        stage |= budget.vae | optimizer
    return {**request, "model_overrides": model, "stage_overrides": stage}


def _own(training: Training, budget: Budget) -> dict[str, Any]:
    """Hinrichsen's other VAE as its code trains it; in short presets as long as the others."""
    stage = vae_stage(batch_size=budget.batch or OWN_BATCH, epochs=OWN_EPOCHS).as_dict() | budget.vae
    of_plateau = ("plateau_patience", "plateau_factor") if stage["schedule"] == "plateau" else ()
    same = {name: stage[name] for name in ("batch_size", "lr", "schedule", *of_plateau, "clip_value", "weight_decay")}
    length = {"epochs": (float(OWN_EPOCHS),)} if budget.steps is None else {"steps": (budget.steps[1],)}
    return {"kind": "vae", "preset_name": "paper", **length, "model_overrides": dict(training.model),
            "stage_overrides": same}


def _gan_stage(budget: Budget, factors: tuple[float, float], weight_decay: float,
               optimizer: dict[str, Any]) -> dict[str, Any]:
    common: dict[str, Any] = {"schedule": "constant", "betas": budget.betas, "clip_value": CLIP_VALUE,
                              "weight_decay": weight_decay, **optimizer}
    discriminator, generator = (lr * factor for lr, factor in zip(budget.lr, factors, strict=True))
    return {"lr": discriminator, **common, "players": {"generator": PlayerSettings(lr=generator, **common)}}


def data_options(preset: str) -> dict[str, Any]:
    """Options of the data set."""
    return {"limit": LIMIT} if preset == "smoke" else {}
