"""The figures: interpolations between codes, nearest training images, curves of trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vaefast import metrics
from vaefast.experiments.papers import pictures as shared
from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.hinrichsen.protocol import MAIN
from vaefast.experiments.pictures.grids import image_grid, in_colour, save_png, side_by_side
from vaefast.experiments.scoring.draws import to_uint8
from vaefast.experiments.scoring.evaluate import own_metric, own_network
from vaefast.training.device import resolve_device

PAIRS, STEPS = 8, 8
"""Rows of an interpolation, and images in each: six between the two ends."""
NEIGHBOURS = 4


@torch.no_grad()
def interpolations(task: Task, models: Sequence[str] | None) -> None:
    """interpolations.png: between the same pairs of draws of N(0, I) in every model of the table; reconstructed.png: between the
    codes of pairs of images that were not trained on, of the models that have an encoder."""
    task.train_rows(MAIN, models)
    between: dict[str, Any] = {}
    coded: dict[str, Any] = {}
    originals = torch.cat(shared.spread_pairs(task.test.images, PAIRS))
    for row, path in task.first_models(MAIN):
        model = task.model(path)
        generator = torch.Generator().manual_seed(task.study.seed + 1)
        start, end = torch.randn(2, PAIRS, model.latent_dim, generator=generator).to(model.device)
        between[row.title] = shared.decoded(model, shared.great_circle(start, end, STEPS))
        if model.encodes:
            codes = model.encode(originals.to(model.device)).mean
            coded[row.title] = shared.decoded(model, shared.great_circle(codes[:PAIRS], codes[PAIRS:], STEPS))
    for name, drawn in (("interpolations", between), ("reconstructed", coded)):
        if drawn:
            save_png(task.out.with_name(f"{name}.png"), side_by_side(list(drawn.values()), list(drawn), cols=2))


@torch.no_grad()
def neighbours(task: Task) -> None:
    """neighbours.png: samples of every model of the table, each with the training images nearest in the features of
    FD-classifier's or FD-exemplar's network, where there is one."""
    train, study = task.train, task.study
    network = own_network(own_metric(train), train, task.test, None, resolve_device(study.device), study.say)
    if network is None:
        return
    rows = metrics.classifier_features(network, train.images)
    drawn: dict[str, Any] = {}
    for row, path in task.first_models():
        model = task.model(path)
        images = to_uint8(model.sample(PAIRS, torch.Generator(model.device).manual_seed(study.seed + 1)))
        near = torch.cdist(metrics.classifier_features(network, images), rows).topk(min(NEIGHBOURS, len(train)), largest=False)
        lines = torch.cat([images[:, None], train.images[near.indices]], 1)
        drawn[row.title] = in_colour(image_grid(lines.flatten(0, 1), PAIRS, lines.shape[1]))
    if drawn:
        save_png(task.out.with_name("neighbours.png"), side_by_side(list(drawn.values()), list(drawn), cols=2))


def training_curves(task: Task) -> None:
    """PART_curves.png: distance and diversity of the part's GANs over the training, as far as each came."""
    runs = {row.title: task.folder(row.training) / "trial-01" for row in task.part.rows
            if row.training and row.training.kind == "biggan"}
    shared.training_curves(task.out.with_name(f"{task.name}_curves"), runs)
