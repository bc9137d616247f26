"""The figures: samples side by side, interpolations between codes, nearest training images, curves of the learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vaefast import data, metrics
from vaefast.experiments.papers import pictures as shared
from vaefast.experiments.papers.cell import Row, Study
from vaefast.experiments.papers.hinrichsen.cell import folder
from vaefast.experiments.papers.hinrichsen.protocol import MAIN, RATE_ROWS
from vaefast.experiments.pictures.grids import image_grid, save_png, side_by_side
from vaefast.experiments.run import image_model
from vaefast.experiments.scoring.draws import to_uint8
from vaefast.training.device import resolve_device

PAIRS, STEPS = 8, 8
"""Rows of an interpolation, and images in each: six between the two ends."""
NEIGHBOURS = 4


def _models(study: Study, data_name: str, rows: Sequence[Row]) -> list[tuple[Row, Path]]:
    return shared.first_models(rows, lambda training: folder(study, data_name, training))


def samples(study: Study, data_name: str, name: str, rows: Sequence[Row], train: data.ImageSet | None = None) -> None:
    """NAME.png: the first samples of every row's first trial; of `train` as many images in front of them."""
    shared.samples(study.out / data_name / f"{name}.png", _models(study, data_name, rows), train)


@torch.no_grad()
def interpolations(study: Study, data_name: str, unseen: data.ImageSet) -> None:
    """interpolations.png: between the same pairs of draws of N(0, I) in every model of the table; reconstructed.png: between the
    codes of pairs of images that were not trained on, of the models that have an encoder."""
    between: dict[str, Any] = {}
    coded: dict[str, Any] = {}
    originals = torch.cat(shared.spread_pairs(unseen.images, PAIRS))
    for row, path in _models(study, data_name, MAIN):
        model: Any = image_model(path, resolve_device(study.device))
        generator = torch.Generator().manual_seed(study.seed + 1)
        ends = torch.randn(2, PAIRS, model.latent_dim, generator=generator).to(model.device)
        between[row.title] = shared.decoded(model, shared.great_circle(*ends, STEPS))
        if model.encodes:
            codes = model.encode(originals.to(model.device)).mean
            coded[row.title] = shared.decoded(model, shared.great_circle(codes[:PAIRS], codes[PAIRS:], STEPS))
    for name, found in (("interpolations", between), ("reconstructed", coded)):
        if found:
            save_png(study.out / data_name / f"{name}.png", side_by_side(list(found.values()), list(found), cols=2))


@torch.no_grad()
def neighbours(study: Study, data_name: str, train: data.ImageSet, network: metrics.FeatureClassifier) -> None:
    """neighbours.png: samples of every model of the table, each with the training images nearest in the network's features."""
    rows = metrics.classifier_features(network, train.images)
    found: dict[str, Any] = {}
    for row, path in _models(study, data_name, MAIN):
        model = image_model(path, resolve_device(study.device))
        images = to_uint8(model.sample(PAIRS, torch.Generator(model.device).manual_seed(study.seed + 1)))
        near = torch.cdist(metrics.classifier_features(network, images), rows).topk(min(NEIGHBOURS, len(train)), largest=False)
        lines = torch.cat([images[:, None], train.images[near.indices]], 1)
        found[row.title] = shared.in_colour(image_grid(lines.flatten(0, 1), PAIRS, lines.shape[1]))
    if found:
        save_png(study.out / data_name / "neighbours.png", side_by_side(list(found.values()), list(found), cols=2))


def rates(study: Study, data_name: str) -> None:
    """rates_curves.png: distance and diversity over the training, by learning rates, as far as each came."""
    runs = {row.title: folder(study, data_name, row.training) / "trial-01" for row in RATE_ROWS}
    shared.training_curves(study.out / data_name / "rates_curves", runs)
