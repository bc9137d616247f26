"""The score of a model's samples while it trains."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from vaefast import api, metrics
from vaefast.data import ImageSet
from vaefast.errors import ArgumentError
from vaefast.experiments.draws import sample_images


class ScoreCurve:
    """FD-classifier of samples against the test images, to be called in training's pauses; of a set without labels FD-exemplar.

    Args:
        train, test: images; the network is trained on the first (or read from its cache) when the first score is due.
        every: epochs between scores; may be a fraction.
        samples: drawn for each score, always of the same noise.
        seed: of that noise.
        say: told of the network's training.

    Attributes:
        name: of the score, "fd_classifier" or "fd_exemplar".

    Raises:
        ArgumentError: every is not above 0.
    """

    def __init__(self, train: ImageSet, test: ImageSet, every: float, *, samples: int = 2_000, seed: int = 1,
                 say: Callable[[str], None] = print) -> None:
        if not 0 < every < math.inf:
            raise ArgumentError(f"score_every is {every!r}; expected a number of epochs above 0.")
        self.name = "fd_exemplar" if train.labels is None else "fd_classifier"
        self.train, self.test, self.every, self.samples, self.seed, self.say = train, test, every, samples, seed, say
        self._against: tuple[metrics.FeatureClassifier, metrics.GaussianStatistics] | None = None

    def __call__(self, model: api.ImageModel, stage: str) -> dict[str, float]:
        """{name: ...} of the model as it is, in eval mode."""
        if self._against is None:
            network = (metrics.exemplar_network_for(self.train, device=model.device, notice=self.say) if self.train.labels is None
                       else metrics.classifier_for(self.train, test_set=self.test, device=model.device, notice=self.say))
            self._against = network, metrics.classifier_statistics(network, self.test.images)
        network, real = self._against
        # while the first of two stages trains, the second knows nothing yet
        options = {"stage": 1} if isinstance(model, api.TwoStageVAE) and stage == "stage1" else {}

        def draw(n: int, generator: torch.Generator) -> torch.Tensor:
            return model.sample(n, generator=generator, **options)

        fake = sample_images(model, draw, self.samples, seed=self.seed)
        return {self.name: real.distance(metrics.classifier_statistics(network, fake))}
