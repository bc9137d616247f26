"""Named settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from vaefast.api import sequential
from vaefast.api.base import Model
from vaefast.api.gamix import PAPER as GAMIX_PAPER
from vaefast.api.gamix import SECOND as GAMIX_SECOND
from vaefast.api.unread import giving_way
from vaefast.api.wae import ADVERSARY, against_adversary
from vaefast.errors import ArgumentError
from vaefast.training.schedule import Ramp
from vaefast.training.settings import PlayerSettings, StageSettings, override


@dataclass(frozen=True)
class OfLoss:
    """What a preset has for one loss alone: arguments of the model and settings of its stages."""

    model: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """A model's kind and arguments and its stages' settings, with a line that says what they are for.

    Without `stages`, these are the model's own `defaults`, which depend on its arguments, with `settings` in their places. A
    model of fewer stages has the first of `stages`. One with one of the losses in `of_loss` has what stands there besides, and
    one with a second stage of another kind than the preset's is trained in it as `of_second` says, or as that kind is.
    `of_large` are arguments for images of colour, or of sides above 32.
    """

    about: str
    stages: tuple[StageSettings, ...]
    model: dict[str, Any] = field(default_factory=dict)
    kind: str = "two-stage"
    settings: dict[str, Any] = field(default_factory=dict)
    of_loss: dict[str, OfLoss] = field(default_factory=dict)
    of_second: dict[str, StageSettings] = field(default_factory=dict)
    of_large: dict[str, Any] = field(default_factory=dict)

    def arguments(self, overrides: dict[str, Any], image_shape: tuple[int, ...] | None = None) -> dict[str, Any]:
        """The model's arguments for images of such a shape, with those given in their places; without what nothing reads then."""
        kind = self.model.get("second", "vae")
        own = {name: value for name, value in giving_way(self.model, overrides).items()
               if overrides.get("second", kind) == kind or name != "second_width"}  # of which it is the size
        large = self.of_large if image_shape and (image_shape[0] > 1 or max(image_shape) > 32) else {}
        return {**own, **large, **self.with_loss(overrides.get("loss", self.model.get("loss"))).model, **overrides}

    def with_loss(self, loss: str | None) -> OfLoss:
        """What it has for one loss alone: nothing for most."""
        return OfLoss() if loss is None else self.of_loss.get(loss, OfLoss())

    def settings_of(self, loss: str | None) -> dict[str, Any]:
        """What it changes in the `defaults` of a model with that loss."""
        return {**self.settings, **self.with_loss(loss).settings}

    def stages_of(self, model: Model) -> tuple[StageSettings, ...]:
        """The stages' settings for a model."""
        second, count = model.config().get("second", "vae"), len(model.defaults)  # both stages trained together are one
        if self.stages:
            first, *more = self.stages
            if second != self.model.get("second", "vae"):
                more = [self.of_second[second]] if second in self.of_second else []
            judged = ADVERSARY in model.defaults[0].players
            if judged != (ADVERSARY in first.players):  # the preset's model has another penalty
                first = against_adversary(first) if judged else replace(first, betas=StageSettings.betas, players={})
            return (first, *more, *model.defaults[1 + len(more):])[:count]
        return tuple(override(settings, self.settings_of(model.config().get("loss"))) for settings in model.defaults)


# Dai & Wipf's model in minutes; the tables of the works have it
_SHORT = (StageSettings(epochs=5, batch_size=128, lr=1e-3, schedule="cosine"),
          StageSettings(epochs=140, batch_size=512, lr=1e-3, schedule="cosine", warmup_steps=200))
# steps, and no epochs, so that it takes as long for any number of images
_QUICK = StageSettings(steps=2_345, batch_size=128, lr=2e-3, schedule="cosine")
_SMALL: dict[str, Any] = {"latent_dim": 16, "nets": "residual"}
_LARGE = {"latent_dim": 96}

TWO_STAGE = {
    "paper": Preset(
        "Dai & Wipf's defaults: 400 + 800 epochs, learned gamma, 64 latent dimensions",
        (StageSettings(epochs=400), StageSettings(epochs=800)), {"latent_dim": 64}),
    "short": Preset(
        "Dai & Wipf's networks and second stage, with 16 latent dimensions and gamma in closed form: 5 + 140 epochs",
        _SHORT, {"latent_dim": 16, "gamma": "optimal", "second_width": 512}),
    "quick": Preset(
        "good samples in about 5 minutes at 28x28, 15 to 25 at 64x64 on 2 CPU cores: small residual networks, gamma in closed "
        "form, a mixture of Gaussians for the second stage", (_QUICK,), {**_SMALL, "gamma": "optimal", "second": "mixture"},
        of_second={"vae": _SHORT[1]}, of_large=_LARGE),
    "demo": Preset(
        "small data (the UCI digits) in about a minute on 2 CPU cores: as quick, with 12 latent dimensions",
        (StageSettings(epochs=40, batch_size=64, lr=2e-3, schedule="cosine"),),
        {**_SMALL, "latent_dim": 12, "gamma": "optimal", "second": "mixture"}),
}

# the one-stage models' budgets are those of the two-stage model's first, so that their scores compare
_FIRST = {name: chosen.stages[0] for name, chosen in TWO_STAGE.items() if name != "demo"}
_SIZE: dict[str, dict[str, Any]] = {"paper": {"latent_dim": 64}, "short": {"latent_dim": 16}, "quick": _SMALL}
_LENGTH = {"paper": "400 epochs, 64 latent dimensions", "short": "as long as the two-stage model's short stage 1",
           "quick": "as long as the two-stage model's quick stage 1, with its networks"}


def _one_stage(about: str, kind: str, **model: Any) -> dict[str, Preset]:
    """Presets of a model that is a first stage alone."""
    return {name: Preset(f"{about}: {_LENGTH[name]}", (first,), {**_SIZE[name], **model}, kind,
                         of_large=_LARGE if name == "quick" else {}) for name, first in _FIRST.items()}


def _vae(about: str, **model: Any) -> dict[str, Preset]:
    """Presets of a VAE: gamma is learned in "paper", and in closed form in the others."""
    return {name: chosen if name == "paper" else replace(chosen, model={**chosen.model, "gamma": "optimal"})
            for name, chosen in _one_stage(about, "vae", **model).items()}


VAE = _vae("Dai & Wipf's VAE")
VAE_FLOW = _vae("Dai & Wipf's VAE with 10 planar flows", flow="planar")
WAE_MMD = _one_stage("Dai & Wipf's WAE-MMD, lambda 100", "wae", penalty="mmd")
WAE_GAN = {name: replace(chosen, stages=tuple(map(against_adversary, chosen.stages)),
                         model={**chosen.model, **({} if name == "paper" else {"adversary_width": 512})})
           for name, chosen in _one_stage("a WAE-GAN beside Dai & Wipf's WAE-MMD, lambda 100", "wae", penalty="gan").items()}

_DCGAN = OfLoss(settings={"steps": 3_750, "lr": 2e-4, "betas": (0.5, 0.999)})
# with the authors' settings all fakes are black for as long as this; k_t has an effect within it only with so large a lambda, and
# stays above 0, which keeps fakes varied, only where the autoencoder is much slower than the generator, and slower with time
_BEGAN = OfLoss({"batch_norm": True, "disc_iters": 1, "began_lambda": 0.3, "began_gamma": 1.0, "began_clip": True},
                {"steps": 3_750, "lr": 5e-5, "schedule": "cosine",
                 "players": {"generator": PlayerSettings(lr=1e-3, betas=(0.5, 0.999), schedule="cosine")}})
GAN = {
    "paper": Preset("Lucic et al.'s GANs on MNIST: 15,625 discriminator steps, each loss with its authors' settings",
                    (), {}, "gan", {"steps": 15_625}),
    # with Adam at 5e-5 and beta1 0, ns draws nothing for 4,000 steps, and mm nothing in 15,625
    "quick": Preset("as paper, but 7,500 discriminator steps; mm and ns 3,750, with DCGAN's Adam (2e-4, beta1 0.5); began 3,750, "
                    "with batch norm, a G step for each of D's, lr 1e-3 for G and 5e-5 for D, which fall to 0, gamma 1, "
                    "lambda 0.3 and k_t in [0, 1]: 10 to 35 minutes at 28x28 on one CPU core",
                    (), {}, "gan", {"steps": 7_500}, {"mm": _DCGAN, "ns": _DCGAN, "began": _BEGAN}),
}

BIGGAN = {
    "paper": Preset("Hinrichsen's CIFAR-10 runs: deep, ch 128, 345 epochs in batches of 256; normal, ch 96, 314 epochs in "
                    "batches of 512", (), {}, "biggan"),
    # Hinrichsen's settings need longer: in a few thousand steps his discriminator is sure of everything
    "quick": Preset("a small BigGAN with Brock et al.'s CIFAR-10 settings: 9 minutes of one CPU thread at 28x28",
                    (StageSettings(steps=2_000, batch_size=64, lr=2e-4, betas=(0.0, 0.999), schedule="constant"),),
                    {"arch": "normal", "ch": 8, "latent_dim": 64, "rule": "original", "init": "normal", "loss": "hinge",
                     "order": "dg", "disc_iters": 2}, "biggan"),
}

BIGGAN_VAE = {
    "paper": Preset("Hinrichsen's CIFAR-10 runs: deep, ch 128, 185 epochs in batches of 256; normal, ch 96, 110 epochs in "
                    "batches of 512, errors on [0, 1]", (), {"image_range": (0.0, 1.0)}, "biggan-vae"),
    "quick": Preset("ch 16: about 4 minutes of one CPU thread at 28x28", (), {"ch": 16, "latent_dim": 64}, "biggan-vae",
                    {"steps": 1_500, "batch_size": 64, "lr": 1e-3, "schedule": "cosine", "clip_value": None,
                     "weight_decay": 0.0}),
}

SEQUENTIAL = {
    "paper": Preset("Zhao et al.'s network and settings for CelebA: 8 steps, 160 million parameters, batches of 100",
                    (sequential.PAPER,), kind="sequential"),
    "quick": Preset(
        "8 steps of a sixth of the paper's widths, for LFW 64x64 or CIFAR-10 in about 12 minutes on one CPU core",
        (StageSettings(steps=1400, batch_size=16, lr=1e-3, schedule="cosine",
                       ramps={"kl_weight": Ramp(0.0, 1.0, 250, shape="exponential")}),),
        {"width": 1 / 6}, "sequential"),
}

# clipping at 1 of a loss that is a mean over 784 pixels, as published: here the loss is their sum
ZHAO: dict[str, Any] = {"lr": 1e-3, "schedule": "constant", "optimizer": "rmsprop-tf", "betas": (0.0, 0.9), "eps": 1e-10,
                        "clip_value": 784.0}

GENERAL = _one_stage("any E_q[log p(x|z)] - R(q), the ELBO if nothing is said (Zhao et al. 2017)", "general")
BETA_VAE = _one_stage("beta-VAE, beta 4 (Higgins et al. 2017)", "general", beta=4.0)
TC_VAE = _one_stage("beta-TC-VAE, beta 6 (Chen et al. 2018)", "general", regularizer="tc", beta=6.0)
INFO_VAE = _one_stage("InfoVAE, alpha 0, lambda 100 (Zhao et al. 2019)", "general", regularizer="info", alpha=0.0, lambda_=100.0)

PIXEL_VAE = {
    "paper": Preset("Zhao et al.'s PixelCNN VAE: 12 layers of 32 maps, 10 latent dimensions, 5,700 batches of 100",
                    (StageSettings(steps=5_700, batch_size=100, **ZHAO),), {"latent_dim": 10, "nets": "pixelcnn"}, "general"),
    "quick": Preset("6 layers of 24 maps: about 8 minutes on 2 CPU cores at 28x28",
                    (StageSettings(steps=1_500, batch_size=32, **ZHAO),),
                    {"latent_dim": 10, "nets": "pixelcnn", "decoder_options": {"layers": 6, "width": 24, "condition": "maps"}},
                    "general"),
}

GAMIX = {
    "paper": Preset("Rivera's release: 300 epochs in batches of 10, 512 latent dimensions, width 128", (GAMIX_PAPER,),
                    {"latent_dim": 512}, "gamix"),
    "quick": Preset(
        "images of 32x32 or 64x64 in minutes on 2 CPU cores: width 32, 64 latent dimensions, 800 batches of 32",
        (StageSettings(steps=800, batch_size=32, lr=1e-3, schedule="cosine", betas=(0.5, 0.999), eps=1e-7),),
        {"latent_dim": 64, "width": 32}, "gamix"),
}

GAMIX_TWO_STAGE = {name: replace(p, about=f"{p.about}, and a second stage on the codes", stages=(*p.stages, second),
                                 model={**p.model, "second_stage": True, **options})
                   for (name, p), (second, options) in zip(GAMIX.items(), [
                       (GAMIX_SECOND, {}), (_SHORT[1], {"second_width": 512})])}

PRESETS = {"two-stage": TWO_STAGE, "vae": VAE, "vae-flow": VAE_FLOW, "wae-mmd": WAE_MMD, "wae-gan": WAE_GAN,
           "general-vae": GENERAL, "beta-vae": BETA_VAE, "tc-vae": TC_VAE, "info-vae": INFO_VAE, "pixel-vae": PIXEL_VAE,
           "gan": GAN, "biggan": BIGGAN, "biggan-vae": BIGGAN_VAE, "sequential": SEQUENTIAL, "gamix": GAMIX,
           "gamix-two-stage": GAMIX_TWO_STAGE}
"""Presets by what `vaefast train` calls the model, and by name."""


def preset(model: str, name: str) -> Preset:
    """The preset `name` of `model`; `ArgumentError` naming what there is otherwise."""
    if model not in PRESETS:
        raise ArgumentError(f"model is {model!r}; expected one of {', '.join(PRESETS)}.")
    if name not in PRESETS[model]:
        raise ArgumentError(f"preset is {name!r}; {model} has {', '.join(PRESETS[model])}.")
    return PRESETS[model][name]
