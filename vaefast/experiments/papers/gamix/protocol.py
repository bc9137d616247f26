"""What is trained for each row: the model's arguments and its budget in each preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vaefast.experiments.papers.plan import SMOKE, Row, Training, of_preset

LIMIT = 1_000
"""Images that a smoke run sees."""
LARGE = 64
"""Side from which images count as large."""
INDIVIDUAL = 0.2
"""The released weight of IND in the convention of `vaefast.models.GAMIXVAE`."""
BETA = 4.0


@dataclass(frozen=True)
class Budget:
    """Of one preset.

    Args:
        about: what it is for.
        samples: of each kind to score.
        coded: images of either split whose codes are looked at; None for all.
        latent_dim: k.
        width: of all networks; None: the published one.
        batch, steps: of images below a side of 64, and from it; None: the published ones.
        second_steps: of a second stage.
        norm: of encoder and decoder. Batch norm's own statistics are worth nothing after 20 steps.
    """

    about: str
    samples: int
    coded: int | None
    latent_dim: int
    width: int | None = None
    batch: tuple[int, int] | None = None
    steps: tuple[int, int] | None = None
    second_steps: int | None = None
    norm: str = "batch"


# A map of 4x4 and half the width is all that the heads read: 128 numbers at width 16, so no more latent dimensions than that.
PRESETS = {
    "smoke": Budget(SMOKE, 200, 200, 32, 4, (8, 8), (30, 20), 60, "group"),
    "quick": Budget("networks of an eighth of the published width, 128 latent dimensions (published: 512) and minutes on a CPU "
                    "for each row, in batches of 10, a cosine from 1e-3; its orderings are those of trainings far from their end",
                    2_000, 500, 128, 16, (10, 10), (4_000, 1_200), 3_000),
    "paper": Budget("the released settings: width 128, 512 latent dimensions, 300 epochs in batches of 10, at this data set's "
                    "size", 10_000, None, 512),
}


def _gamix(name: str, title: str, **model: Any) -> Row:
    return Row(name, title, Training(name, "gamix", model))


_L2 = {"reconstruction": "l2", "adversary": None}
_ELBO = {**_L2, "global_weight": 0.0, "individual_weight": 0.0, "kl_weight": 1.0}
ELBO = _gamix("elbo", "standard ELBO", **_ELBO)
FULL = _gamix("patchgan", "+ PatchGAN: GAMIX-VAE")


def _weight(factor: float, title: str) -> Row:
    return _gamix(f"ind-x{factor:g}" if factor else "ind-0", title, individual_weight=factor * INDIVIDUAL)


def _called(row: Row, title: str) -> Row:
    return Row(row.name, title, row.training, row.stage)


_NO_IND, _HUGE_IND = _weight(0.0, "GAMIX-VAE, IND x 0"), _weight(100.0, "GAMIX-VAE, IND x 100")

ABLATION = (
    ELBO,
    _gamix("mixture", "mixture (GLOB for KL)", **_L2, individual_weight=0.0),
    _gamix("variance", "+ variance term (IND)", **_L2),
    _gamix("l1", "+ L1 for L2", adversary=None),
    FULL,
    _NO_IND,
    _HUGE_IND,
)
WEIGHTS = (
    _called(_NO_IND, "IND x 0"),
    _weight(0.1, "IND x 0.1"),
    _called(FULL, "IND x 1, as released"),
    _weight(10.0, "IND x 10"),
    _called(_HUGE_IND, "IND x 100"),
)
DIMENSIONS = (
    _gamix("k-quarter", "a quarter of the latent dimensions", latent_share=4),
    _gamix("k-half", "half of them", latent_share=2),
    _called(FULL, "all of them"),
)
MOMENTS = (
    _called(FULL, "variance of the means, as released"),
    _gamix("exact", "variance of the mixture", var="mixture"),
    _gamix("exact-memory", "the same over 10 batches", var="mixture", memory=9),
)

NORMS = (
    _called(FULL, "batch norm, as described"),
    _gamix("affine", "channels scaled and shifted, which is what the released training comes to", norm="affine"),
    _gamix("affine-colour", "the same, and the image not normalised before it is coded", norm="affine", input_norm=False),
)

_TWO_STAGE = Training("two-stage", "two-stage", {"nets": "gamix"})
_GAMIX_TWO_STAGE = Training("gamix-two-stage", "gamix-two-stage")
BASELINES = (
    _called(ELBO, "VAE: standard ELBO at this weight"),
    _gamix("beta-vae", f"beta-VAE, beta {BETA:g}", **{**_ELBO, "kl_weight": BETA}),
    Row("vae", "VAE, its noise found", _TWO_STAGE),  # the very model whose codes the next row's second stage learns
    Row("two-stage", "two-stage VAE", _TWO_STAGE, 2),
    Row("gamix", "GAMIX-VAE", _GAMIX_TWO_STAGE),
    Row("gamix-two-stage", "two-stage GAMIX-VAE", _GAMIX_TWO_STAGE, 2),
)

DRAWN = (_called(ELBO, "standard ELBO"), _called(FULL, "GAMIX-VAE"))
"""Whose codes the parts `latent` and `interpolate` show."""


def options(training: Training, preset: str, side: int) -> dict[str, Any]:
    """Arguments of `vaefast.experiments.request.Request` for a training on images of that side.

    All rows of a preset have one budget and one pair of networks, also the VAE of Dai & Wipf, whose decoder noise is learned
    (`paper`) or in closed form (`quick`, `smoke`).

    Raises:
        ArgumentError: no such preset.
    """
    budget, large = of_preset(PRESETS, preset), side >= LARGE
    model = {"latent_dim": budget.latent_dim, **training.model}
    model["latent_dim"] //= model.pop("latent_share", 1)
    nets = {"norm": budget.norm, **({} if budget.width is None else {"width": budget.width})}
    model = {**model, "net_options": nets} if training.kind == "two-stage" else {**nets, **model}
    stages: list[dict[str, Any]] = [{"flip": True}, {}]
    small = "short" if training.kind == "two-stage" else "quick"
    request: dict[str, Any] = {"kind": training.kind, "preset_name": "paper" if preset == "paper" else small,
                               "model_overrides": model, "coded": budget.coded}
    if budget.batch is not None and budget.steps is not None:
        stages[0] |= {"batch_size": budget.batch[large], "steps": budget.steps[large], "lr": 1e-3, "schedule": "cosine"}
        stages[1] |= {"steps": budget.second_steps}
    return {**request, "stage_overrides": stages[:1 if training.kind == "gamix" else 2]}


def data_options(preset: str, side: int) -> dict[str, Any]:
    """Options of a data set whose images have that side: those of 28x28 stand in a black square of 32x32, which the networks
    can halve."""
    return {**({"limit": LIMIT} if preset == "smoke" else {}), **({"pad": 32} if side == 28 else {})}
