"""What is trained for each figure, and with which settings, by preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vaefast.experiments.papers.plan import SMOKE, Row, Training, of_preset

LATENT = 10
CHAIN_STEPS = 19
COLOUR_LATENT = 20
COLOUR_CHAIN_STEPS = 10
COLOUR_STAGE: dict[str, Any] = {"optimizer": "adam", "lr": 1e-3, "betas": (0.95, 0.9995), "eps": 1e-8, "ema": 0.9995,
                                "clip_value": None}
"""The authors' PixelCNN++; they also take a 200,000th off the learning rate at every step."""
CHECKS = 300
"""Batches between two estimates of mutual information while training."""
LIMIT = 2_000
"""Images that a smoke run sees."""
MAP_IMAGES = 10_000
"""Of figure 2, whose training set the paper does not say."""
EXTENT = 3.0
MAP_GAMMA = 0.3


@dataclass(frozen=True)
class PixelBudget:
    """Of figure 5: the decoder's options, batches, samples of each kind, chains, images of the estimate of mutual information.

    `condition` of the decoder is how codes reach it (see `vaefast.nets.GatedPixelCNN`). By biases, as published, they cannot say
    where, and a decoder of few layers, which sees few pixels around its own, then draws pieces of digits whatever the code.
    `schedule` is of the learning rate.
    """

    decoder: dict[str, Any]
    steps: int
    batch: int
    samples: int
    chain: int
    images: int
    schedule: str = "constant"


@dataclass(frozen=True)
class Budget:
    """Of one preset.

    Args:
        about: what it is for.
        pixel: figure 5.
        colour: its experiment in colour.
        map_steps, side: figure 2: batches of 64, and points a side of its grid.
        chain: figures 3 and 4: what differs from the preset of `vaefast train sequential` of that name.
        rows: of figure 5, where none are named.
    """

    about: str
    pixel: PixelBudget
    colour: PixelBudget
    map_steps: int
    side: int
    chain: dict[str, Any]
    rows: tuple[str, ...]


def _gated(layers: int, width: int, condition: str = "maps") -> dict[str, Any]:
    return {"layers": layers, "width": width, "condition": condition}


def _plus_plus(filters: int, blocks: int, dropout: float = 0.0) -> dict[str, Any]:
    return {"filters": filters, "blocks": blocks, "dropout": dropout}


PRESETS = {
    "smoke": Budget(SMOKE, PixelBudget(_gated(3, 8), 60, 32, 200, 3, 500), PixelBudget(_plus_plus(8, 1), 20, 16, 100, 2, 500),
                    60, 8, {"steps": (20,), "model_overrides": {"width": 1 / 12, "steps": 3}},
                    ("none", "elbo", "center", "elbo-true")),
    "quick": Budget("a PixelCNN of 6 layers of 24 maps (the authors': 12 of 32) in batches of 32 (100); in colour 1 block of 24 "
                    "maps a scale (5 of 160) without dropout; a Sequential VAE of a sixth of the published widths; minutes on a "
                    "CPU for each row",
                    PixelBudget(_gated(6, 24), 1_500, 32, 2_000, CHAIN_STEPS, 20_000, "cosine"),
                    PixelBudget(_plus_plus(24, 1), 1_500, 24, 500, COLOUR_CHAIN_STEPS, 24_000, "cosine"), 1_500, 20, {},
                    ("none", "elbo")),
    "paper": Budget("the networks, batches and lengths of the authors' code and logs; the length in colour, 100 epochs, is ours",
                    PixelBudget(_gated(12, 32, "bias"), 5_700, 100, 10_000, CHAIN_STEPS, 20_000),
                    PixelBudget(_plus_plus(160, 5, 0.5), 208_333, 24, 10_000, COLOUR_CHAIN_STEPS, 24_000), 10_000, 20, {},
                    ("none", "elbo", "center", "elbo-true")),
}


def _pixel(name: str, title: str, regularizer: str, reduction: str = "mean") -> Row:
    return Row(name, title, Training(f"pixel-{name}", "pixel-vae", {"regularizer": regularizer, "reduction": reduction}))


PIXEL_ROWS = (
    _pixel("none", "no regulariser", "none"),
    _pixel("elbo", "ELBO, KL weighed as published", "elbo"),
    _pixel("center", "center, weighed as published", "center"),
    _pixel("elbo-true", "ELBO", "elbo", "sum"),
)


def _colour(name: str, title: str, regularizer: str) -> Row:
    model = {"nets": "pixelcnn++", "regularizer": regularizer}
    return Row(f"colour-{name}", title, Training(f"colour-{name}", "pixel-vae", model))


COLOUR_ROWS = (_colour("none", "no regulariser", "none"), _colour("elbo", "ELBO", "elbo"))
SEQUENTIAL = Row("sequential", "Sequential VAE", Training("sequential", "sequential"))
INFUSION = Row("infusion", "infusion: true pixels for codes", Training("infusion", "sequential", {"inference": "infusion"}))
MAP = Row("map", "VAE of 2 latent dimensions",
          Training("map", "general-vae", {"family": "gaussian", "gamma": MAP_GAMMA, "latent_dim": 2, "regularizer": "elbo"}))


def options(training: Training, preset: str) -> dict[str, Any]:
    """Arguments of `vaefast.experiments.request.Request`.

    Raises:
        ArgumentError: no such preset.
    """
    budget: Budget = of_preset(PRESETS, preset)
    small = "short" if training.kind == "general-vae" else "quick"
    request: dict[str, Any] = {"kind": training.kind, "preset_name": "paper" if preset == "paper" else small,
                               "model_overrides": training.model}
    if training.kind == "sequential":
        return {**request, **budget.chain, "model_overrides": {**budget.chain.get("model_overrides", {}), **training.model}}
    if training.kind == "general-vae":
        return {**request, "steps": (budget.map_steps,), "stage_overrides": {"batch_size": 64, "lr": 1e-3, "schedule": "cosine"}}
    in_colour = "nets" in training.model
    pixel = budget.colour if in_colour else budget.pixel
    stages: dict[str, Any] = {"batch_size": pixel.batch, "schedule": pixel.schedule}
    if in_colour:
        stages.update(COLOUR_STAGE)
    elif training.model["reduction"] == "mean":
        stages["clip_value"] = 1.0
    return {**request, "steps": (pixel.steps,), "stage_overrides": stages, "trainer": {"log_every": 30, "channels_last": "on"},
            "model_overrides": {**training.model, "latent_dim": COLOUR_LATENT if in_colour else LATENT,
                                "decoder_options": pixel.decoder}}


def data_options(part: str, preset: str) -> dict[str, Any]:
    """Options of the data sets, by part."""
    limit = LIMIT if preset == "smoke" else MAP_IMAGES if part == "fig2" else None
    return {**({"binarize": True} if part == "fig5" else {}), **({"limit": limit} if limit else {})}
