"""What a model's latents look like over a data set, and so whether they have collapsed: latents.json and latents.png of a run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaefast import api, metrics, ops
from vaefast.experiments.codes import in_batches, spread_over
from vaefast.experiments.figures import COLOURS, GREY, label, panels
from vaefast.files import write_atomically
from vaefast.models.diagnostics import ACTIVE_VARIANCE, KL_FLOOR
from vaefast.models.posterior import DiagonalGaussian, FlowPosterior
from vaefast.training.storage import write_json

IMAGES = 10_000
MUTUAL_IMAGES = 1_000
"""Of those, for the mutual information, which compares each with each other. It is at most log 1,000 = 6.9 nats."""
BINS = 50
LEAST_VARIANCE = 1e-6
"""Where the histogram of variances begins; smaller ones are counted there."""


@torch.no_grad()
def posteriors(model: api.ImageAutoencoder, images: Tensor, limit: int = IMAGES, batch_size: int = 500) -> DiagonalGaussian:
    """q(z|x) of `limit` images spread over the set (before a flow, where there is one), float32 on the CPU, [N, k]."""
    chosen = spread_over(images, limit)
    means, logs = [], []
    for batch in in_batches(chosen, batch_size):
        q = model.encode(batch.to(model.device))
        q = q.base if isinstance(q, FlowPosterior) else q
        means.append(q.mean.float().cpu())
        logs.append(q.log_std.float().cpu())
    return DiagonalGaussian(torch.cat(means), torch.cat(logs), "logstd")


def latent_summary(q: DiagonalGaussian, seed: int = 0) -> dict[str, Any]:
    """Numbers (JSON-ready) that tell how far posteriors [N, k] have collapsed, alone and all together.

    Returns:
        `images`, `latent_dim`; `global_mean` and `global_variance`, [k], of the mixture of all posteriors, and
        `variance_of_means`, [k]; `global_kl` of the Gaussian of these moments and `global_kl_of_means` with the latter variance,
        in nats. Unless the encoder is deterministic also `kl`, its mean an image, in nats, and `kl_per_dimension`, [k];
        `mutual_information` of image and code in nats, over `mutual_information_images`, of whose logarithm it is at
        most; `active_dimensions` (mean variance below 0.5), `kl_dimensions` (KL above 0.01 nats); `posterior_variance`, [k], a
        mean over the images; and `variance_histogram`, counts over images and dimensions between the `edges`.
    """
    mean, raw = q.mean.double(), q.raw.double()
    deterministic = not bool(torch.isfinite(raw).all())
    if deterministic:
        raw = torch.full_like(mean, -torch.inf).clamp_min(torch.finfo(torch.float64).min)
    center, variance = ops.mixture_moments(mean, raw, param="logstd")
    between = ops.mixture_moments(mean, raw, param="logstd", var="means")[1]
    result: dict[str, Any] = {
        "images": len(mean), "latent_dim": mean.shape[1], "deterministic": deterministic, "global_mean": center.tolist(),
        "global_variance": variance.tolist(), "variance_of_means": between.tolist(),
        "global_kl": float(ops.mixture_kl(mean, raw, param="logstd")),
        "global_kl_of_means": float(ops.mixture_kl(mean, raw, param="logstd", var="means"))}
    if deterministic:
        return result
    kl, own = DiagonalGaussian(mean, raw, "logstd").kl().mean(0), (2 * raw).exp()
    chosen = torch.randperm(len(mean), generator=torch.Generator().manual_seed(seed))[:MUTUAL_IMAGES]
    # a variance that has underflowed has no logarithm
    parts = metrics.kl_decomposition(mean[chosen], raw[chosen].clamp_min(-100).exp(), seed=seed) if len(chosen) > 1 else None
    # a last bin beyond 1: posteriors can be wider than the prior
    edges = torch.logspace(torch.tensor(LEAST_VARIANCE).log10().item(), 1, BINS + 1, dtype=torch.float64)
    counts = torch.histogram(own.flatten().clamp(LEAST_VARIANCE, 10.0), edges)[0]
    return result | {
        "kl": float(kl.sum()), "kl_per_dimension": kl.tolist(), "mutual_information": parts and parts.mutual_information,
        "mutual_information_images": len(chosen), "active_dimensions": metrics.active_dimensions(own.mean(0), ACTIVE_VARIANCE),
        "kl_dimensions": int((kl > KL_FLOOR).sum()), "posterior_variance": own.mean(0).tolist(),
        "variance_histogram": {"edges": edges.tolist(), "counts": counts.long().tolist()}}


def write_latents(model: api.ImageAutoencoder, images: Tensor, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Write latents.json and latents.png of `images` [N, C, H, W] into a run folder; returns what the former holds."""
    summary = latent_summary(posteriors(model, images), seed)
    write_json(folder / "latents.json", summary)
    draw_latents(summary, folder / "latents.png")
    return summary


def draw_latents(summary: dict[str, Any], path: Path) -> Path:
    """Draw a `latent_summary`: KL by dimension, how it is spread, posterior variances, and the moments of all posteriors."""
    figure, axes = panels(1 if summary["deterministic"] else 4, width=3.4, height=3.0, dpi=110)
    if not summary["deterministic"]:
        _draw_kl(axes[0], axes[1], summary)
        _draw_variances(axes[2], summary)
    _draw_moments(axes[-1], summary)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return write_atomically(path, buffer.getvalue())


def _draw_kl(by_dimension: Any, histogram: Any, summary: dict[str, Any]) -> None:
    kl = sorted(summary["kl_per_dimension"], reverse=True)
    by_dimension.bar(range(len(kl)), kl, width=1.0, color=COLOURS[0])
    by_dimension.axhline(KL_FLOOR, color=GREY, linewidth=0.8)
    by_dimension.set_yscale("symlog", linthresh=KL_FLOOR)
    label(by_dimension, f"KL, {summary['kl']:.4g} nats in all", "dimension, by its KL", "nats")
    histogram.hist(kl, bins=min(40, max(5, len(kl) // 4)), color=COLOURS[0])
    label(histogram, f"{summary['kl_dimensions']} of {len(kl)} above {KL_FLOOR} nats", "KL of a dimension, nats", "dimensions")


def _draw_variances(axes: Any, summary: dict[str, Any]) -> None:
    found = summary["variance_histogram"]
    axes.stairs(found["counts"], found["edges"], fill=True, color=COLOURS[2])
    axes.set_xscale("log")
    axes.axvline(1.0, color=GREY, linewidth=0.8)
    label(axes, f"{summary['active_dimensions']} active dimensions", "posterior variance", "images x dimensions")


def _draw_moments(axes: Any, summary: dict[str, Any]) -> None:
    mean, variance = summary["global_mean"], summary["global_variance"]
    axes.scatter(mean, variance, s=8, color=COLOURS[1], alpha=0.7, label="with the posteriors' variances")
    axes.scatter(mean, summary["variance_of_means"], s=8, color=COLOURS[4], alpha=0.7, label="of the means alone")
    axes.axhline(1.0, color=GREY, linewidth=0.8)
    axes.axvline(0.0, color=GREY, linewidth=0.8)
    label(axes, "all posteriors together", "mean of a dimension", "variance")
