"""A set of images as the metrics look at it: each look is taken once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from vaefast import metrics
from vaefast.metrics.features import Extractor

T = TypeVar("T")
LOOKS = {"rows": "rows", "statistics": "statistics", "network": "own_statistics", "features": "user_rows"}
"""What a metric says it needs of the real images -> the view's name for it."""


def _there(network: T | None) -> T:
    """A network that some metric needs: `ImageScores` has seen to it."""
    assert network is not None
    return network


@dataclass(eq=False)
class Looking:
    """What all sets that are compared are looked at with, and how their metrics are taken.

    Args:
        extractor: an `Inception`, or another callable from images to features.
        network: trained on the data set itself.
        features: the user's own callable from images to features.
        stretch, rounded: see `vaefast.metrics.fid`; the former of generated images alone.
        splits, subsets, neighbours: of the Inception score, of KID, and of precision and the others.
        first: counts of images whose Inception score is taken alone, too.
        notice: called with one sentence on anything to know, once.
    """

    extractor: Extractor | None
    network: metrics.FeatureClassifier | None
    features: Extractor | None
    stretch: bool
    rounded: bool
    splits: int
    subsets: int
    neighbours: int
    first: tuple[int, ...]
    notice: Callable[[str], None]
    said: set[str] = field(default_factory=set)

    def tell(self, *texts: str | None) -> None:
        """Notice each text that has not been told yet."""
        for text in texts:
            if text is not None and text not in self.said:
                self.said.add(text)
                self.notice(text)


class View:
    """One set of images.

    Args:
        images: an ImageSet, or uint8 or float images [N, C, H, W]; of real ones also their `GaussianStatistics`.
        by: what it is looked at with.
        real: whether they are the real ones, which are not stretched, and whose statistics are cached.
        rows: whether their features are needed, and not the statistics of these alone.
    """

    def __init__(self, images: Any, by: Looking, *, real: bool = False, rows: bool = True) -> None:
        self.images, self.by, self.real, self.keeps_rows = images, by, real, rows

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def pixels(self) -> Tensor:
        """The images themselves, [N, C, H, W]."""
        return getattr(self.images, "images", self.images)

    @property
    def count(self) -> int | None:
        """How many there are; None where statistics do not say."""
        return self.images.n if isinstance(self.images, metrics.GaussianStatistics) else len(self)

    @cached_property
    def rows(self) -> Tensor:
        """Their features, [N, D]."""
        return metrics.extract_features(_there(self.by.extractor), self.images, stretch=self.by.stretch and not self.real,
                                        rounded=self.by.rounded)

    @cached_property
    def statistics(self) -> metrics.GaussianStatistics:
        """Mean and covariance of the features."""
        if self.real and not self.keeps_rows:
            return metrics.image_statistics(_there(self.by.extractor), self.images, rounded=self.by.rounded, cache=True,
                                            notice=self.by.notice)
        return metrics.GaussianStatistics(self.rows.shape[1]).update(self.rows)

    @cached_property
    def logits(self) -> Tensor:
        """Inception's scores of its classes."""
        return torch.cat([self.by.extractor.logits(part) for part in self.rows.split(1000)])  # type: ignore[union-attr]

    @cached_property
    def own_rows(self) -> Tensor:
        """Features of the network that was trained on the data set."""
        return metrics.classifier_features(_there(self.by.network), self.pixels)

    @cached_property
    def own_statistics(self) -> metrics.GaussianStatistics:
        """Mean and covariance of these."""
        if self.real:
            return metrics.classifier_statistics(_there(self.by.network), self.pixels)
        return metrics.GaussianStatistics(self.own_rows.shape[1]).update(self.own_rows)

    @cached_property
    def user_rows(self) -> Tensor:
        """Features of the user's own network, float64."""
        return metrics.extract_features(_there(self.by.features), self.images, rounded=self.by.rounded).double()

    @cached_property
    def deviation(self) -> float:
        """Standard deviation over the images, mean over pixels, on the [0, 1] scale."""
        total, squares = torch.zeros(()), torch.zeros(())
        for part in self.pixels.split(1000):
            x = part.double() / (1 if part.is_floating_point() else 255)
            total, squares = total + x.sum(0), squares + x.square().sum(0)
        mean = total / len(self)
        return float((squares / len(self) - mean.square()).clamp_min(0).sqrt().mean())
