"""The parts `latent` and `interpolate`: what two coordinates of a code draw, and the way from one image's code to another's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vaefast import data, metrics
from vaefast.experiments.papers import pictures as shared
from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.gamix.protocol import DRAWN
from vaefast.experiments.papers.tables import spread, write_table
from vaefast.experiments.pictures.grids import save_png, side_by_side
from vaefast.experiments.scoring.latent_page import latent_summary, posteriors

SIGMAS = 20.0
"""How far a coordinate goes to either side, in the image's own posterior standard deviations."""
IMAGES = 3
"""Images whose codes are varied."""
CHOSEN_FROM = 500
"""Test images whose KL says which coordinates are varied."""
STEPS, PAIRS = 6, 8
"""Images of an interpolation, both ends among them, and interpolations."""

COLUMNS = {
    "latent": (("sigma_first", "posterior deviation, first coordinate"), ("sigma_second", "the second's"),
               ("change_first", "change of the image by the first"), ("change_second", "by the second")),
    "interpolate": (("sharpness_ends", "sharpness at the ends"), ("sharpness_midway", "sharpness midway"),
                    ("detour", "length of the way, of the straight one's")),
}
"""Key of a row's value, and its heading, by part."""
Drawn = tuple[dict[str, Any], dict[str, float]]
"""Pictures by what they show, and the row's values."""


def run(task: Task, models: Sequence[str] | None) -> None:
    """The part's picture and table, of the first trials of `DRAWN`, which are trained where need be."""
    task.train_rows(DRAWN, models, trials=1)
    part = task.name
    rows: list[dict[str, Any]] = []
    grids: dict[str, Any] = {}
    for row, path in task.first_models(DRAWN):
        drawn, values = _DRAW[part](task.model(path), task.test)
        grids |= {", ".join(filter(None, (row.title, what))): picture for what, picture in drawn.items()}
        rows.append({"name": row.name, "title": row.title, **{key: spread([value]) for key, value in values.items()}})
    if grids:
        columns = IMAGES if part == "latent" else 1
        save_png(task.out.with_name(f"{part}.png"), side_by_side(list(grids.values()), list(grids), cols=columns))
    write_table({"table": part, "data": task.data, "preset": task.study.preset, "trials": 1, "rows": rows}, task.out,
                COLUMNS[part])


@torch.no_grad()
def variations(model: Any, test: data.ImageSet) -> Drawn:
    """A 3x3 grid of each of three test images: the two coordinates of largest KL at -20, 0 and 20 of the image's own
    posterior standard deviations, the first down and the second across; the mean code is in the middle.

    The change of an image is the root mean square over pixels, on the [0, 1] scale, between the two ends of a coordinate, with
    the other left alone.
    """
    kl = torch.tensor(latent_summary(posteriors(model, test.images, CHOSEN_FROM))["kl_per_dimension"])
    first, second = (kl.topk(2).indices if len(kl) > 1 else torch.zeros(2, dtype=torch.long)).tolist()
    q = model.encode(data.to_float(_spread(test.images, IMAGES)).to(model.device))
    moves = torch.tensor([-SIGMAS, 0.0, SIGMAS], device=model.device)
    codes = q.mean[:, None, None].repeat(1, 3, 3, 1)
    codes[..., first] += moves[None, :, None] * q.std[:, None, None, first]
    codes[..., second] += moves[None, None, :] * q.std[:, None, None, second]
    pictures = model.decode(codes.flatten(0, 2)).unflatten(0, codes.shape[:3])
    return {f"image {i + 1}": shared.decoded(model, grid) for i, grid in enumerate(codes)}, {
        "sigma_first": float(q.std[:, first].mean()), "sigma_second": float(q.std[:, second].mean()),
        "change_first": _rms(pictures[:, 2, 1] - pictures[:, 0, 1]), "change_second": _rms(pictures[:, 1, 2] - pictures[:, 1, 0])}


@torch.no_grad()
def interpolations(model: Any, test: data.ImageSet) -> Drawn:
    """Six steps on a straight line between the mean codes of two test images, a pair a row.

    Sharpness is the mean variance of the Laplacian, at the two ends and over the two steps in the middle. The way is the sum of
    the root mean square changes from step to step; where images fade into each other it is the straight one's, 1.
    """
    a, b = (model.encode(data.to_float(x).to(model.device)).mean for x in shared.spread_pairs(test.images, PAIRS))
    codes = shared.straight_line(a, b, STEPS)
    pictures = model.decode(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
    middle = slice(STEPS // 2 - 1, STEPS // 2 + 1)
    way = sum(_lengths(pictures[:, i + 1] - pictures[:, i]) for i in range(STEPS - 1))
    straight = _lengths(pictures[:, -1] - pictures[:, 0]).clamp_min(1e-12)
    return {"": shared.decoded(model, codes)}, {
        "sharpness_ends": float(metrics.sharpness(pictures[:, [0, -1]].flatten(0, 1)).mean()),
        "sharpness_midway": float(metrics.sharpness(pictures[:, middle].flatten(0, 1)).mean()),
        "detour": float((way / straight).mean())}


_DRAW: dict[str, Callable[[Any, data.ImageSet], Drawn]] = {"latent": variations, "interpolate": interpolations}


def _spread(images: Tensor, count: int) -> Tensor:
    return images[torch.linspace(0, len(images) - 1, count).long()]


def _lengths(x: Tensor) -> Tensor:
    return x.flatten(1).square().mean(1).sqrt()


def _rms(x: Tensor) -> float:
    return float(_lengths(x).mean())
