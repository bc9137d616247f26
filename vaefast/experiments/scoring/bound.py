"""How likely a model finds unseen images: the importance-weighted bound of log p(x), in nats and in bits a pixel value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaefast import api, metrics
from vaefast.experiments.scoring.codes import infers, labels_for, spread_over
from vaefast.metrics.likelihood_bound import bits_per_dimension
from vaefast.models.condition import told
from vaefast.models.mode import evaluating
from vaefast.models.posterior import DiagonalGaussian, PointMass

IMAGES, SAMPLES = 500, 64
"""Test images, spread over the set, and draws of each one's code."""
FEW_IMAGES, FEW_SAMPLES = 100, 8
"""The same of a decoder that looks at the image's pixels in turn, each of whose passes is long."""


@torch.no_grad()
def likelihood_bound(model: api.ImageModel, images: Any, seed: int, most: int = IMAGES * SAMPLES) -> dict[str, float]:
    """The bound of test images [N, C, H, W] or a set, "likelihood_bound" with its standard error over images, their number and
    that of the draws, and "bits_per_dimension". Nothing of a model whose codes or images have no density: a WAE's, a squared
    error, a flow of the encoder's; nor of two stages that were trained together, as their codes have another prior than N(0, I).
    Of at most so many decoded codes as `most`, but for 8 of each of 100 images."""
    likelihood, joint = getattr(model.first, "likelihood", "squared"), getattr(model, "joint", False)
    if joint or not infers(model) or likelihood == "squared" or not hasattr(model.first, "log_likelihood"):
        return {}
    few = getattr(model.first, "autoregressive", False)
    chosen = spread_over(images, FEW_IMAGES if few else min(IMAGES, max(FEW_IMAGES, most // FEW_SAMPLES)))
    draws = FEW_SAMPLES if few else max(FEW_SAMPLES, min(SAMPLES, most // len(chosen)))
    labels = labels_for(model, chosen)
    pixels = (chosen if isinstance(chosen, Tensor) else chosen.images).to(model.device)
    seen, given = 0, told(model.first, None if labels is None else labels[:1])

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal seen, given
        given = told(model.first, None if labels is None else labels[seen : seen + len(x)])
        seen += len(x)
        posterior = model.first.encode(x, **given)
        return posterior.mean, posterior.std

    def log_likelihood(x: Tensor, z: Tensor) -> Tensor:
        return model.first.log_likelihood(x, z, **given)

    with evaluating(model.first):
        first = model.first.encode(pixels[:1], **given)
        if not isinstance(first, DiagonalGaussian) or isinstance(first, PointMass) or getattr(model.first, "prior_std", 1.0) != 1:
            return {}
        bound = metrics.importance_weighted_bound(pixels, encode, log_likelihood, samples=draws, seed=seed)
    return {"likelihood_bound": bound.value, "likelihood_bound_standard_error": bound.standard_error,
            "likelihood_bound_images": bound.n, "likelihood_bound_samples": bound.samples,
            "bits_per_dimension": bits_per_dimension(bound.value, pixels[0].numel(), likelihood)}
