"""The score of a model's samples while it trains."""

from __future__ import annotations

from collections.abc import Callable

import torch

from vaefast import api, metrics
from vaefast.data import ImageSet
from vaefast.experiments.scoring.draws import sample_images
from vaefast.experiments.scoring.registry import RANKING
from vaefast.models.draws import best_sampler

SAMPLES = 2_000
"""Drawn for each score, always of the same noise."""


class ScoreCurve:
    """FD-classifier of samples against the test images, to be called in training's pauses; of a set without labels FD-exemplar.

    Args:
        train, test: images; the network is trained on the first here, or read from its cache.
        device: where it is trained.
        seed: of the samples' noise (`sampling_seed` of the run's).
        say: told of the network's training.

    Attributes:
        name: of the score, "fd_classifier" or "fd_exemplar".

    Raises:
        ArgumentError: images of a size that the network does not take.
    """

    def __init__(self, train: ImageSet, test: ImageSet, *, device: torch.device, seed: int = 1,
                 say: Callable[[str], None] = print) -> None:
        labelled = train.labels is not None
        self.name = RANKING["classifier" if labelled else "exemplar"]
        self.network = (metrics.classifier_for(train, test_set=test, device=device, notice=say) if labelled
                        else metrics.exemplar_network_for(train, device=device, notice=say))
        self.real = metrics.classifier_statistics(self.network, test.images)
        self.seed = seed

    def __call__(self, model: api.ImageModel, stage: str) -> dict[str, float]:
        """{name: ...} of the model as it is, in eval mode; in the first of two stages, of samples by the prior."""
        fake = sample_images(model, best_sampler(model, stage), SAMPLES, seed=self.seed)
        return {self.name: self.real.distance(metrics.classifier_statistics(self.network.to(model.device), fake))}
