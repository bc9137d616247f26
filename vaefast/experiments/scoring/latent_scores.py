"""Scores of a model's codes, of whatever data they are: how far they are from the prior, and what they tell."""

from __future__ import annotations

from typing import Any

import torch

from vaefast import api, metrics
from vaefast.experiments.scoring.codes import Aggregate
from vaefast.experiments.scoring.registry import entry
from vaefast.models.second_stage import SecondStage, has_latents, latents_of

BLOCKS = 5
"""That the standard error of an MMD is estimated from, where there are codes enough."""


@torch.no_grad()
def latent_scores(model: api.ImageAutoencoder, encoded: Aggregate, samples: int, seed: int) -> dict[str, Any]:
    """MMD to N(0, I) of draws from q(z) and q(u), active dimensions, mutual information of images and codes, and the gammas."""
    chosen = torch.randperm(len(encoded.codes), generator=torch.Generator().manual_seed(seed))[:samples]
    z = encoded.codes[chosen.to(model.device)]
    codes = {"stage1": z / getattr(model.first, "prior_std", 1.0)}  # a WAE's prior may have another deviation than 1
    gammas = {"gamma_x": model.first.gamma} if getattr(model.first, "likelihood", None) == "gaussian" else {}
    second: SecondStage | None = getattr(model, "second", None)
    if has_latents(second):
        known = None if encoded.of_second is None else encoded.of_second[chosen]
        codes["stage2"] = latents_of(second, z, torch.Generator(model.device).manual_seed(seed), known)
        gammas |= {"gamma_z": second.gamma} if hasattr(second, "gamma") else {}
    result: dict[str, Any] = {}
    blocks = min(BLOCKS, len(z) // 2)
    for stage, draws in codes.items() if blocks > 1 else ():  # of 2 or 3 codes there is no standard error
        mmd = metrics.latent_mmd(draws, seed=seed, blocks=blocks)
        result |= {entry("mmd", stage): mmd["value"], entry("mmd", f"{stage}_standard_error"): mmd["standard_error"]}
        result[entry("mmd", "reference")] = mmd["reference"]
    result["latent_dim"] = model.latent_dim
    if encoded.variance.any():  # not of a deterministic encoder
        result["active_dimensions"] = metrics.active_dimensions(encoded.variance)
        # a flow that is the same for all images takes nothing from it
        rows = chosen.to(model.device)
        information = metrics.mutual_information(encoded.mean[rows], encoded.std[rows], seed=seed)
        result |= {**information.scores(), "mutual_information_images": information.n}
    return result | {name: float(gamma) for name, gamma in gammas.items()}
