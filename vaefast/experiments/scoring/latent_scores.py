"""Scores of a model's codes, of whatever data they are: how far they are from the prior, and what they tell."""

from __future__ import annotations

from typing import Any

import torch

from vaefast import api, metrics
from vaefast.experiments.scoring.codes import Aggregate
from vaefast.experiments.scoring.registry import entry
from vaefast.models.second_stage import SecondStage, has_latents, latents_of


@torch.no_grad()
def latent_scores(model: api.ImageAutoencoder, encoded: Aggregate, samples: int, seed: int) -> dict[str, Any]:
    """MMD to N(0, I) of draws from q(z) and q(u), active dimensions, mutual information of images and codes, and the gammas."""
    chosen = torch.randperm(len(encoded.codes), generator=torch.Generator().manual_seed(seed))[:samples]
    z = encoded.codes[chosen.to(model.device)]
    codes = {"stage1": z / getattr(model.first, "prior_std", 1.0)}  # a WAE's prior may have another deviation than 1
    gammas = {"gamma_x": model.first.gamma} if getattr(model.first, "likelihood", None) == "gaussian" else {}
    second: SecondStage | None = getattr(model, "second", None)
    if has_latents(second):
        codes["stage2"] = latents_of(second, z, torch.Generator(model.device).manual_seed(seed))
        gammas |= {"gamma_z": second.gamma} if hasattr(second, "gamma") else {}
    result: dict[str, Any] = {}
    for stage, draws in codes.items():
        mmd = metrics.latent_mmd(draws, seed=seed)
        result |= {entry("mmd", stage): mmd["value"], entry("mmd", f"{stage}_standard_error"): mmd["standard_error"]}
        reference = mmd["reference"]
    result |= {entry("mmd", "reference"): reference, "latent_dim": model.latent_dim}
    if encoded.variance.any():  # not of a deterministic encoder
        result["active_dimensions"] = metrics.active_dimensions(encoded.variance)
        # a flow that is the same for all images takes nothing from it
        rows = chosen.to(model.device)
        information = metrics.mutual_information(encoded.mean[rows], encoded.std[rows], seed=seed)
        result |= {**information.scores(), "mutual_information_images": information.n}
    return result | {name: float(gamma) for name, gamma in gammas.items()}
