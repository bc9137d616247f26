"""Figure 1b: a latent dimension whose posterior is narrow moves the image, one whose posterior is the prior does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.experiments.pictures.figures import COLOURS, GREY, label, panels
from vaefast.experiments.theory.job import Job, fingerprint
from vaefast.models.mode import evaluating

BUDGETS = {"smoke": (2000, 10, 40), "quick": (10_000, 10, 400), "paper": (10_000, 50, 1000)}
"""Images that eigenvalues are taken over, images that noise is injected at, and draws for each of their dimensions."""
PAPER = ((1.00, 0.0), (0.02, 37.7), (0.01, 357.0))
"""(eigenvalue, image variance) that the paper names for three dimensions; its noise and scale are not stated."""


def fig1b(model: nn.Module, images: Tensor, *, out: str | Path, preset: str = "quick", seed: int = 0,
          device: str | torch.device = "auto", say: Callable[[str], None] = print) -> dict[str, Any]:
    """Eigenvalues of the posterior covariance against the image variance that noise along each causes; out/fig1b.*.

    The covariance is diagonal, so eigenvalue j is s_j^2, here its mean over images. For each of a few images
    z_j ~ N(mu_j, 1) is drawn with the other coordinates at mu; the variance of the decoded images over the draws is
    averaged over pixels, on the 0..255 scale, and over these images.

    Args:
        model: with `encode(images)` -> an object with `mean` and `std` [B, k], and `decode(z)` -> images in [0, 1]
            (`VAE`, `TwoStageVAE`); it is moved to `device` and used in eval mode.
        images: [N, C, H, W], uint8 or float in [0, 1].
        preset: "smoke" injects 40 draws at 10 images, "quick" 400 at 10, "paper" 1,000 at 50.

    Returns:
        "eigenvalues" and "image_variance", [k] each, by rising eigenvalue; "spearman": rank correlation of the two, near
        -1 where the relation is monotone; "active_dimensions": eigenvalues below 0.5.

    Source: Dai & Wipf 2019, figure 1 (right) and section 3.
    """
    job = Job("fig1b", out, preset, seed, device, say, model=fingerprint(model), images=fingerprint(images),
              budget=BUDGETS.get(preset))
    if (known := job.known()) is not None:
        return known
    model.to(job.device)
    many, count, draws = BUDGETS[preset]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    with evaluating(model), torch.no_grad():
        eigenvalues = mean_variances(model, images[order[:many]], job.device)
        moved = image_variances(model, images[order[:count]], draws, seed, job.device)
    rising = eigenvalues.argsort()
    eigenvalues, moved = eigenvalues[rising], moved[rising]
    correlation, active = spearman(eigenvalues, moved), int((eigenvalues < 0.5).sum())
    say(f"fig1b: {active} of {len(eigenvalues)} dimensions are active; rank correlation of eigenvalue and image variance "
        f"{correlation:.2f}")
    record = {"images": min(count, len(images)), "draws": draws, "eigenvalues": eigenvalues.tolist(),
              "image_variance": moved.tolist(), "spearman": correlation, "active_dimensions": active}
    return job.write(record, _draw(record))


def mean_variances(model: Any, images: Tensor, device: torch.device) -> Tensor:
    """Mean of s_j^2 over images, float64 [k] on the CPU."""
    sums = [model.encode(batch.to(device)).std.double().square().sum(0).cpu() for batch in images.split(1000)]
    return torch.stack(sums).sum(0) / len(images)


def image_variances(model: Any, images: Tensor, draws: int, seed: int, device: torch.device) -> Tensor:
    """Variance of a pixel (0..255 scale) under noise of variance 1 along each dimension: mean over pixels and images, [k]."""
    generator = torch.Generator(device).manual_seed(seed)
    means = model.encode(images.to(device)).mean
    total = torch.zeros(means.shape[1], dtype=torch.float64)
    for mean in means:
        for j in range(len(mean)):
            z = mean.expand(draws, -1).clone()
            z[:, j] += torch.randn(draws, generator=generator, device=device, dtype=z.dtype)
            total[j] += (255 * model.decode(z).double()).var(0).mean().cpu()
    return total / len(means)


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation; ties, which do not happen among measured numbers, are broken by place."""
    ranks = torch.stack([x.argsort().argsort().double() for x in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1]) if len(a) > 1 else 0.0


def _draw(record: dict[str, Any]) -> Any:
    figure, (axes,) = panels(1, width=5.2, height=3.8)
    axes.scatter(record["eigenvalues"], record["image_variance"], color=COLOURS[0], s=18, zorder=3,
                 label=f"a dimension each (rank correlation {record['spearman']:.2f})")
    axes.scatter(*zip(*PAPER), color=GREY, marker="x", s=28, label="three of the paper's (its units are not stated)")
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set_ylim(-0.02, 3 * max(*record["image_variance"], PAPER[-1][1]))
    label(axes, "narrow posteriors move the image", "eigenvalue of the posterior covariance, mean of s²",
          "image variance, 0..255 scale, a pixel", legend="lower left")
    return figure
