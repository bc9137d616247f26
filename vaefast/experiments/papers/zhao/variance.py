"""Figure 2: a VAE of two latent dimensions draws the mean of the images that share a code, and is blurred where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaefast import data, metrics
from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.tables import spread, write_table
from vaefast.experiments.papers.zhao.protocol import EXTENT, MAP, PRESETS
from vaefast.experiments.pictures import figures
from vaefast.experiments.pictures.grids import image_grid
from vaefast.experiments.scoring.codes import aggregate

CODES = 1_000
"""Training images whose codes are looked at."""
FEW = 5.0
"""Points of the grid at which a picture is the mean of fewer images are left out of the blur's rank correlation."""
COLUMNS = (
    ("error", "squared error of training images"),
    ("variance", "V at their codes"),
    ("bias", "squared distance of g to the mean"),
    ("images", "images that share a code"),
    ("blur", "rank correlation of blur with V"),
    ("minutes", "minutes of training"),
)


def run(task: Task, models: Sequence[str] | None) -> None:
    """Train the VAE; fig2.json, .csv, .md and the picture."""
    if models is not None and MAP.name not in models:
        return
    train, study = task.train, task.study
    task.train_rows([MAP], models, score=lambda model, path, seed: score(model, train, seed))
    done = [scores for _, scores in task.evaluations(MAP)]
    for scores in done:
        scores["minutes"] = scores["minutes/stage1"]
    row = {"name": MAP.name, "title": MAP.title, **{key: spread([scores[key] for scores in done]) for key, _ in COLUMNS}}
    write_table({"table": task.name, "data": task.data, "preset": study.preset, "trials": len(done), "rows": [row]}, task.out,
                COLUMNS)
    for _, path in task.first_models():
        draw(task.model(path), train, task.out, PRESETS[study.preset].side, study.seed)


@torch.no_grad()
def score(model: Any, train: data.ImageSet, seed: int) -> dict[str, Any]:
    """The decoder's picture g(z) against the mean m(z) and the total variance V(z) of q(x|z), over the training images.

    Returns:
        Sums over pixels on the [0, 1] scale: `error`, E|x - g(z)|^2 of all images and one code z of each; at 1,000 of these codes
        the mean of V(z), `variance`, and of |g(z) - m(z)|^2, `bias`: the expected error is the sum of the two. `images`: of how
        many images m is an average there (median). `blur`: Spearman's rank correlation, over the grid, of V and blur: 1 less the
        sharpness of g as a share of the mean sharpness of the images with that code.
    """
    encoded = aggregate(model, train.images, seed)
    x = data.to_float(train.images)
    error = torch.cat([(data.to_float(images) - model.decode(codes).cpu()).square().flatten(1).sum(1)
                       for images, codes in zip(train.images.split(1000), encoded.codes.split(1000), strict=True)]).mean().item()
    chosen = torch.linspace(0, len(train) - 1, min(CODES, len(train))).long()
    codes = encoded.codes[chosen.to(encoded.codes.device)]
    at = metrics.pixel_variance(encoded.mean, encoded.std, train.images, codes)
    bias = (model.decode(codes).cpu() - at.mean).square().flatten(1).sum(1)
    grid = metrics.square_grid(EXTENT)
    here = metrics.pixel_variance(encoded.mean, encoded.std, train.images, grid)
    theirs = metrics.pixel_variance(encoded.mean, encoded.std, metrics.sharpness(x)[:, None], grid).mean[:, 0]
    blur = 1 - metrics.sharpness(model.decode(grid.to(codes)).cpu()).double() / theirs
    many = here.images >= FEW
    return {"error": error, "variance": at.variance.mean().item(), "bias": bias.mean().item(),
            "images": at.images.median().item(), "blur": rank_correlation(here.variance[many], blur[many]),
            "points": int(many.sum()), "codes": len(codes), "training_images": len(train), "seed": seed}


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's, of two vectors without ties; 0 of fewer than three."""
    if len(a) < 3:
        return 0.0
    ranks = torch.stack([a.argsort().argsort(), b.argsort().argsort()]).double()
    return torch.corrcoef(ranks)[0, 1].item()


@torch.no_grad()
def draw(model: Any, train: data.ImageSet, stem: Path, side: int, seed: int) -> list[Path]:
    """V(z), g(z) and m(z) over the square."""
    encoded = aggregate(model, train.images, seed)
    grid = metrics.square_grid(EXTENT, side)
    at = metrics.pixel_variance(encoded.mean, encoded.std, train.images, grid)
    figure = figures.blank(13.5, 4.4)
    axes = [figure.add_subplot(1, 3, i + 1) for i in range(3)]
    shown = axes[0].imshow(at.variance.reshape(side, side).numpy(), extent=(-EXTENT, EXTENT, -EXTENT, EXTENT), cmap="viridis")
    figure.colorbar(shown, ax=axes[0], shrink=0.85)
    figures.label(axes[0], "V(z): variance of the images with code z, summed over pixels", "z1", "z2")
    pictures = {"g(z): what the decoder draws": model.decode(grid.to(encoded.codes)).cpu(),
                "m(z): mean of the images with code z": at.mean.float()}
    for panel, (title, images) in zip(axes[1:], pictures.items(), strict=True):
        tiles = image_grid(images.clamp(0, 1), side, side, pad=0, scale=1)
        panel.imshow(tiles.squeeze(), extent=(-EXTENT, EXTENT, -EXTENT, EXTENT), cmap="gray" if tiles.shape[2] == 1 else None)
        figures.label(panel, title, "z1", "z2")
    return figures.save_figure(figure, stem)
