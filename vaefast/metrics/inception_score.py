"""Inception score: exp of the mean KL divergence of p(class | image) to p(class) (Salimans et al. 2016, section 4).

Over the 1008 outputs of the 2015 Inception network, without their bias, as its first code computes it. It knows nothing of
real images, is low for small samples, and says little about digits or faces: for comparison with tables only.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import ArgumentError
from .features import check_paths, feature_batches, open_images
from .inception import Inception
from .inception_network import CLASSES

USUAL, FEWEST = 50_000, 2048
_DRAWN = 4096  # about so many rows of squares at a time


class InceptionScoreValue(NamedTuple):
    """Mean and standard deviation (divided by the number of splits) over the splits, images, splits. `float()`: the mean."""

    mean: float
    std: float
    n: int
    splits: int

    def __float__(self) -> float:
        return self.mean

    def __str__(self) -> str:
        return f"IS {self.mean:.4f} +- {self.std:.4f} ({self.n:,} generated images in {self.splits} splits)"


class InceptionScore:
    """Inception score of class scores that come in batches; keeps sums alone.

    Image i's split is drawn at random (always the same) from i alone, so it does not matter how images are cut into batches and
    nothing needs to be known of how many will come. Of every S consecutive images each of S splits gets one, and so it does of
    the first, second, ... images of S such runs: no order of the images, sorted by class or with the classes in turn, does harm.
    The paper's splits are consecutive images, drawn independently; of such these differ by chance alone.

    Args:
        splits: number of parts that are scored on their own, >= 1.

    Attributes:
        n: images seen.
    """

    def __init__(self, splits: int = 10) -> None:
        if isinstance(splits, bool) or not isinstance(splits, int) or splits < 1:
            raise ArgumentError(f"splits is {splits!r}; expected an int >= 1.")
        self.splits, self.n = splits, 0
        self._count = torch.zeros(splits, dtype=torch.float64)
        self._negative_entropy = torch.zeros(splits, dtype=torch.float64)
        self._probability: Tensor | None = None  # [splits, classes], summed

    @torch.no_grad()
    def update(self, logits: Tensor) -> InceptionScore:
        """Add images by their class scores [B, classes], any float dtype; returns self.

        Raises:
            ArgumentError: another shape or number of classes, NaN or infinity.
        """
        if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.is_floating_point():
            given = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ArgumentError(f"Class scores must be floats [images, classes], got {given}.")
        log_p = logits.detach().to("cpu", torch.float64).log_softmax(1)
        if not torch.isfinite(log_p).all():
            raise ArgumentError("The class scores hold NaN or infinity: look at the images they were computed from.")
        if self._probability is None:
            self._probability = torch.zeros(self.splits, logits.shape[1], dtype=torch.float64)
        elif self._probability.shape[1] != logits.shape[1]:
            raise ArgumentError(f"There were {self._probability.shape[1]} classes so far, now there are {logits.shape[1]}.")
        p = log_p.exp()
        split = self._split_of(torch.arange(self.n, self.n + len(p)))
        self._count.index_add_(0, split, torch.ones(len(p), dtype=torch.float64))
        self._negative_entropy.index_add_(0, split, (p * log_p).sum(1))
        self._probability.index_add_(0, split, p)
        self.n += len(p)
        return self

    def _split_of(self, image: Tensor) -> Tensor:
        """The split of each image, by Latin squares: image (k S + a) S + b has row a and column b of the k-th random square.

        Split i mod S would be one class alone where S classes come in turn, and runs of images one class where they are sorted.
        """
        s = self.splits
        square, row, column = image // (s * s), image // s % s, image % s
        together = max(1, _DRAWN // s)  # squares that are drawn from one seed
        split = torch.empty_like(image)
        for drawn in (square // together).unique().tolist():
            of_seed = square // together == drawn
            generator = torch.Generator().manual_seed(drawn)
            rows, columns, names = torch.rand(3, together, s, dtype=torch.float64, generator=generator).argsort(2)
            k = square[of_seed] % together
            split[of_seed] = names[k, (rows[k, row[of_seed]] + columns[k, column[of_seed]]) % s]
        return split

    def merge(self, other: InceptionScore) -> InceptionScore:
        """Add the images that `other` has seen, split by split; returns self."""
        if other.splits != self.splits:
            raise ArgumentError(f"Cannot merge {other.splits} splits into {self.splits}.")
        if other._probability is not None:
            if self._probability is None:
                self._probability = torch.zeros_like(other._probability)
            self._probability = self._probability + other._probability
            self._count = self._count + other._count
            self._negative_entropy = self._negative_entropy + other._negative_entropy
            self.n += other.n
        return self

    def all_reduce(self, group: Any = None, device: str | torch.device = "cpu") -> InceptionScore:
        """Merge those of all processes of a `torch.distributed` group, into each; returns self.

        `device` is one that the group's backend serves. Every process must have seen an image.
        """
        if self._probability is None:
            raise ArgumentError("This process has seen no images: update() it first, with at least one.")
        sums = torch.cat([self._count[:, None], self._negative_entropy[:, None], self._probability], 1).to(device)
        torch.distributed.all_reduce(sums, group=group)
        sums = sums.cpu()
        self._count, self._negative_entropy, self._probability = sums[:, 0], sums[:, 1], sums[:, 2:]
        self.n = int(self._count.sum())
        return self

    def compute(self) -> InceptionScoreValue:
        """The score. Raises ArgumentError where a split has no image."""
        if self._probability is None or not bool((self._count > 0).all()):
            raise ArgumentError(f"An Inception score of {self.splits} splits needs as many images or more, got {self.n}.")
        mean_p = self._probability / self._count[:, None]
        divergence = self._negative_entropy / self._count - torch.special.xlogy(mean_p, mean_p).sum(1)
        scores = divergence.exp()
        return InceptionScoreValue(float(scores.mean()), float(scores.std(correction=0)), self.n, self.splits)


def inception_score(
    images: Any, *, splits: int = 10, extractor: Inception | None = None, weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu", resize: str = "pytorch-fid", rounded: bool = False,
    size: int | tuple[int, int] | None = None, on_bad: str = "error", notice: Callable[[str], None] = warnings.warn,
) -> InceptionScoreValue:  # fmt: skip
    """Inception score of images. Tables have it of 50,000 images in 10 splits; of few images it is much lower.

    Args:
        images: a tensor [N, C, H, W] (uint8, or float in [0, 1]; 1 or 3 channels), an ImageSet, the path of a folder, archive
            or .npz, or an iterable of tensors.
        splits: see `InceptionScore`.
        extractor: an `Inception` made before; None: from `weights`, `device` and `resize`.
        rounded: round floats to the 256 levels of an image file first.
        size, on_bad: of a path: see `vaefast.metrics.features.open_images`.
        notice: called with one sentence under 2,048 images; a warning by default.

    Raises:
        DataNotFoundError: no Inception weights, or no such path. ArgumentError, DataError, CheckpointError: as `fid` does.
    """
    check_paths(images)
    extractor = extractor or Inception(weights, device=device, resize=resize, notice=notice)
    score = InceptionScore(splits)
    for rows in feature_batches(extractor, open_images(images, size=size, on_bad=on_bad), round_to_uint8=rounded):
        score.update(extractor.logits(rows))
    if (text := few_for_inception_score(score.n)) is not None:
        notice(text)
    return score.compute()


def few_for_inception_score(n: int) -> str | None:
    """What to tell about a small sample, or None."""
    if n >= FEWEST:
        return None
    return f"{n:,} images are few for an Inception score, which is too low for them: tables have {USUAL:,} ({CLASSES} classes)."
