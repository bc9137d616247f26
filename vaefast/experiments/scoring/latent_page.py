"""What a model's latents look like over a data set, and so whether they have collapsed: latents.json and latents.png of a run."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from vaefast import api, metrics, ops
from vaefast.experiments.pictures.figures import COLOURS, GREY, blank, label, plain
from vaefast.experiments.pictures.grids import image_grid
from vaefast.experiments.scoring.codes import spread_over, told_batches
from vaefast.files import write_atomically
from vaefast.models.condition import is_conditional
from vaefast.models.diagnostics import ACTIVE_VARIANCE, KL_FLOOR
from vaefast.models.mode import evaluating
from vaefast.models.posterior import DiagonalGaussian, FlowPosterior
from vaefast.training.storage import write_json

IMAGES = 10_000
MUTUAL_IMAGES = 1_000
"""Of those, for the mutual information, which compares each with each other. It is at most log 1,000 = 6.9 nats."""
BINS = 50
LEAST_VARIANCE = 1e-6
"""Where the histogram of variances begins; smaller ones are counted there."""
MOST = 2_000
"""Dimensions whose covariance is at hand."""
ROWS, COLUMNS, REACH = 5, 11, 3
"""Of the images along principal directions: directions, images of each, and standard deviations to either side."""
DRAWN = 3_000
"""Points of the map."""
CLASSES = 20
"""Most classes that colours tell apart."""


@torch.no_grad()
def posteriors(model: api.ImageAutoencoder, images: Any, limit: int = IMAGES, batch_size: int = 500) -> DiagonalGaussian:
    """q(z|x) of `limit` images spread over the set (before a flow, where there is one), float32 on the CPU, [N, k]."""
    chosen = spread_over(images, limit)
    means, logs = [], []
    for batch, given in told_batches(model, chosen, batch_size):
        q = model.encode(batch, **given)
        base = q.base if isinstance(q, FlowPosterior) else cast(DiagonalGaussian, q)
        means.append(base.mean.float().cpu())
        logs.append(base.log_std.float().cpu())
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
    kl, variances = DiagonalGaussian(mean, raw, "logstd").kl().mean(0), (2 * raw).exp()
    chosen = torch.randperm(len(mean), generator=torch.Generator().manual_seed(seed))[:MUTUAL_IMAGES]
    # a variance that has underflowed has no logarithm
    parts = metrics.kl_decomposition(mean[chosen], raw[chosen].clamp_min(-100).exp(), seed=seed) if len(chosen) > 1 else None
    # a last bin beyond 1: posteriors can be wider than the prior
    edges = torch.logspace(torch.tensor(LEAST_VARIANCE).log10().item(), 1, BINS + 1, dtype=torch.float64)
    counts = torch.histogram(variances.flatten().clamp(LEAST_VARIANCE, 10.0), edges)[0]
    return result | {
        "kl": float(kl.sum()), "kl_per_dimension": kl.tolist(), "mutual_information": parts and parts.mutual_information,
        "mutual_information_images": len(chosen),
        "active_dimensions": metrics.active_dimensions(variances.mean(0), ACTIVE_VARIANCE),
        "kl_dimensions": int((kl > KL_FLOOR).sum()), "posterior_variance": variances.mean(0).tolist(),
        "variance_histogram": {"edges": edges.tolist(), "counts": counts.long().tolist()}}


def write_latents(model: api.ImageAutoencoder, images: Any, folder: Path, seed: int = 0,
                  labels: Tensor | None = None) -> dict[str, Any]:
    """Write latents.json and latents.png of `images` [N, C, H, W] or a set, with `labels` [N] where they have some, into a run
    folder; returns what the former holds."""
    q = posteriors(model, images, IMAGES)
    summary = latent_summary(q, seed)
    space = latent_space(q.mean, 2 * q.raw.double())
    summary["eigenvalues"] = space.eigenvalues.tolist()
    write_json(folder / "latents.json", summary)
    draw_latents(summary, folder / "latents.png", space, None if labels is None else spread_over(labels, IMAGES),
                 traversal(model, space))
    return summary


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """The principal directions of codes.

    Attributes:
        center: their mean, [k].
        directions: unit vectors of the largest variance first, [m, k].
        points: the posterior means along these directions, [N, m].
        eigenvalues: variance of the codes along all of theirs, the posteriors' own included, largest first.
        of_means: the same of the posterior means alone.
    """

    center: Tensor
    directions: Tensor
    points: Tensor
    eigenvalues: Tensor
    of_means: Tensor


def latent_space(mean: Tensor, logvar: Tensor) -> LatentSpace:
    """Principal directions of posterior means [N, k], in float64; `logvar` of the posteriors may be -inf.

    Of more than 2,000 dimensions they are those of 2,000 of the images, and the posteriors' own variance is left out.
    """
    mean = mean.double()
    center = mean.mean(0)
    x = mean - center
    if x.shape[1] <= MOST:
        covariance = x.T @ x / len(x)
        values, vectors = torch.linalg.eigh(covariance)
        directions = vectors.flip(1).T[:ROWS]
        codes = torch.linalg.eigvalsh(covariance + logvar.exp().mean(0).diag()).flip(0)
    else:
        few = spread_over(x, MOST)
        values, vectors = torch.linalg.eigh(few @ few.T / len(few))
        directions = torch.nn.functional.normalize(vectors.flip(1).T[:ROWS] @ few, dim=1)
        codes = values.flip(0)
    return LatentSpace(center, directions, x @ directions.T, codes.clamp_min(0), values.flip(0).clamp_min(0))


@torch.no_grad()
def traversal(model: api.ImageAutoencoder, space: LatentSpace) -> Any:
    """Images on the way along each principal direction through the mean code, from -3 to 3 standard deviations, as a picture;
    None where drawing takes too long (an autoregressive decoder) or no picture can be made. Of a model that is conditioned, the
    rows are of the classes in turn."""
    if not model.draws_images:
        return None
    channels = model.image_shape[0]
    if getattr(model.first, "autoregressive", False) or channels not in (1, 3):
        return None
    steps = torch.linspace(-REACH, REACH, COLUMNS, dtype=torch.float64)
    spread = space.points.square().mean(0).sqrt()
    z = space.center + (spread[:, None] * steps)[..., None] * space.directions[:, None]
    z = z.flatten(0, 1).float().to(model.device)
    flow = getattr(model.first, "flow", None)
    with evaluating(model.first):
        z = z if flow is None else flow(z)[0]
    rows = len(space.directions)
    turns = torch.arange(rows).repeat_interleave(COLUMNS)
    given = {"condition": turns % model.first.classes} if is_conditional(model.first) else {}
    return image_grid(model.decode(z, **given).cpu(), rows, COLUMNS, scale=max(1, 64 // max(model.image_shape[1:])))


def draw_latents(summary: dict[str, Any], path: Path, space: LatentSpace, labels: Tensor | None = None,
                 rows: Any = None) -> Path:
    """Draw the latent space - codes along their two principal directions, by class; variance along all of them; images on the way
    along the first - and how far a `latent_summary` has collapsed: KL by dimension, and posterior variances."""
    with_posteriors = not summary["deterministic"]
    count = 4 if with_posteriors else 2
    width, top, title = 3.5 * count, 3.3, 0.35
    below = 0.0 if rows is None else title + 0.75 * width * rows.shape[0] / rows.shape[1]
    figure = blank(width, top + below, dpi=110, layout=None)
    whole = top + below
    axes = []
    for i in range(count):
        left = (i * 3.5 + 0.62) / width
        axes.append(plain(figure.add_axes((left, (below + 0.55) / whole, 2.7 / width, (top - 0.95) / whole))))
    _draw_map(axes[0], space, labels)
    _draw_spectrum(axes[1], space, with_posteriors)
    if with_posteriors:
        _draw_kl(axes[2], summary)
        _draw_variances(axes[3], summary)
    if rows is not None:
        picture = figure.add_axes((0.125, 0.02, 0.75, (below - title) / whole - 0.02))
        picture.imshow(rows.squeeze(2) if rows.shape[2] == 1 else rows, cmap="gray", vmin=0, vmax=255, aspect="auto")
        picture.set_axis_off()
        picture.set_title(f"along the first {len(space.directions)} principal directions, a row each: -{REACH} to {REACH} "
                          "standard deviations from the mean code", fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return write_atomically(path, buffer.getvalue())


def _draw_map(axes: Any, space: LatentSpace, labels: Tensor | None) -> None:
    points = spread_over(space.points, DRAWN).numpy()
    x, y = points[:, 0], points[:, 1] if points.shape[1] > 1 else 0 * points[:, 0]
    known = None if labels is None else spread_over(labels, DRAWN).numpy()
    classes = [] if known is None else sorted({int(value) for value in known})
    if not 1 < len(classes) <= CLASSES:
        axes.scatter(x, y, s=5, color=COLOURS[0], alpha=0.5, linewidths=0)
    else:
        import matplotlib

        colours = matplotlib.colormaps["tab10" if len(classes) <= 10 else "tab20"]
        for i, one in enumerate(classes):
            axes.scatter(x[known == one], y[known == one], s=5, color=colours(i), alpha=0.6, linewidths=0)
        for i, one in enumerate(classes):  # each class by its own name, where most of it lies
            mask = known == one
            axes.text(float(np.median(x[mask])), float(np.median(y[mask])), str(one), color="white", fontsize=8, ha="center",
                      va="center", fontweight="bold", bbox={"boxstyle": "circle,pad=0.15", "color": colours(i)})
    label(axes, "mean codes" + (", by class" if 1 < len(classes) <= CLASSES else ""), "first principal direction", "second")


def _draw_spectrum(axes: Any, space: LatentSpace, with_posteriors: bool) -> None:
    drawn = [(space.eigenvalues, COLOURS[0], "of codes")] if with_posteriors else []
    for values, colour, called in [*drawn, (space.of_means, COLOURS[1], "of mean codes")]:
        axes.plot(range(1, len(values) + 1), values.clamp_min(LEAST_VARIANCE), color=colour, markersize=3, linewidth=1.4,
                  marker="o" if len(values) < 40 else None, label=called)
    axes.axhline(1.0, color=GREY, linewidth=0.8, linestyle="--")
    axes.set_yscale("log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    label(axes, "variance along each direction (dashed: N(0, I))", "principal direction", "variance", legend="lower left")
    axes.title.set_fontsize(9)


def _draw_kl(axes: Any, summary: dict[str, Any]) -> None:
    kl = sorted(summary["kl_per_dimension"], reverse=True)
    axes.plot(range(1, len(kl) + 1), kl, color=COLOURS[0], marker="o" if len(kl) < 40 else None, markersize=3, linewidth=1.4)
    axes.axhline(KL_FLOOR, color=GREY, linewidth=0.8, linestyle="--")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    label(axes, f"KL: {summary['kl']:.4g} nats, {summary['kl_dimensions']} of {len(kl)} used", "dimension, by its KL", "nats")


def _draw_variances(axes: Any, summary: dict[str, Any]) -> None:
    histogram = summary["variance_histogram"]
    axes.stairs(histogram["counts"], histogram["edges"], fill=True, color=COLOURS[2])
    axes.set_xscale("log")
    axes.axvline(1.0, color=GREY, linewidth=0.8, linestyle="--")
    label(axes, f"{summary['active_dimensions']} of {summary['latent_dim']} dimensions active", "posterior variance",
          "images x dimensions")
