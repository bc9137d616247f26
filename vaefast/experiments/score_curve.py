"""The score of a model's samples while it trains."""

from __future__ import annotations

from collections.abc import Callable

import torch

from vaefast import api, metrics
from vaefast.data import ImageSet
from vaefast.experiments.draws import sample_images

SCORE = "fd_classifier"
SAMPLES = 2_000
"""Drawn for each score, always of the same noise."""


class ScoreCurve:
    """FD-classifier of samples against the test images, to be called in training's pauses.

    Args:
        train, test: labelled images; the classifier is trained here, or read from its cache.
        device: where the classifier is trained.
        seed: of the samples' noise.
        say: told of anything odd with the cached classifier.

    Raises:
        DataError: there are no labels. ArgumentError: images of a size that the classifier does not take.
    """

    def __init__(self, train: ImageSet, test: ImageSet, *, device: torch.device, seed: int = 1,
                 say: Callable[[str], None] = print) -> None:
        self.classifier = metrics.classifier_for(train, test_set=test, device=device, notice=say)
        self.real = metrics.classifier_statistics(self.classifier, test.images)
        self.seed = seed

    def __call__(self, model: api.ImageModel, stage: str) -> dict[str, float]:
        """{"fd_classifier": ...} of the model as it is, in eval mode."""
        # while the first of two stages trains, the second knows nothing yet
        options = {"stage": 1} if isinstance(model, api.TwoStageVAE) and stage == "stage1" else {}

        def draw(n: int, generator: torch.Generator) -> torch.Tensor:
            return model.sample(n, generator=generator, **options)

        fake = sample_images(model, draw, SAMPLES, seed=self.seed)
        return {SCORE: self.real.distance(metrics.classifier_statistics(self.classifier.to(model.device), fake))}
