"""Fréchet Inception distance: the Fréchet distance of two sets of images, in features of the 2015 Inception network.

(Heusel et al. 2017.) It falls with the number of images and moves with the resize, with rounding and with the format of the
files, so a number means something only with these beside it: see docs/metrics.md.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import ArgumentError
from .features import Extractor, check_paths, extractor_name, feature_batches, open_images
from .frechet import GaussianStatistics, few_rows
from .inception import Inception
from .statistics_file import cached_statistics, is_statistics_file, read_statistics

FEWEST = 2048  # images under which the covariance of 2048 features has not got full rank


class FrechetInception(NamedTuple):
    """A Fréchet distance and what it is of. `float()` gives the number alone.

    Attributes:
        value: the distance, >= 0.
        real, fake: how many images; None where statistics were given that do not say.
        features: name of the extractor.
    """

    value: float
    real: int | None
    fake: int | None
    features: str

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        real, fake = (f"{n:,}" if n is not None else "an unknown number of" for n in (self.real, self.fake))
        return f"FID {self.value:.4f} ({real} real, {fake} generated images; {self.features})"


class FrechetInceptionDistance:
    """FID of images that come in batches.

    Args:
        extractor: images [B, C, H, W] to features [B, F]; an `Inception`, or any callable.
        stretch, rounded: of generated images (`stretch`) and of all (`rounded`), as in `fid`.

    Attributes:
        real, fake: their `GaussianStatistics`; set one to known statistics to use these. None before the first batch.
    """

    def __init__(self, extractor: Extractor, *, stretch: bool = False, rounded: bool = False) -> None:
        self.extractor, self.stretch, self.rounded = extractor, stretch, rounded
        self.real: GaussianStatistics | None = None
        self.fake: GaussianStatistics | None = None

    def update(self, images: Any, *, real: bool) -> FrechetInceptionDistance:
        """Add images (whatever `fid` takes) to one of the sets; returns self."""
        side = "real" if real else "fake"
        changes = {"stretch": self.stretch and not real, "round_to_uint8": self.rounded}
        setattr(self, side, _statistics(self.extractor, images, getattr(self, side), **changes))
        return self

    def merge(self, other: FrechetInceptionDistance) -> FrechetInceptionDistance:
        """Add what another accumulator of the same extractor has seen; returns self."""
        for side in ("real", "fake"):
            seen, more = getattr(self, side), getattr(other, side)
            if more is not None:
                setattr(self, side, GaussianStatistics(more.dim).merge(more) if seen is None else seen.merge(more))
        return self

    def all_reduce(self, group: Any = None) -> FrechetInceptionDistance:
        """Merge the accumulators of all processes of a `torch.distributed` group, into each of them; returns self.

        Every process must have seen images of both sets.
        """
        for side in ("real", "fake"):
            if (statistics := getattr(self, side)) is None:
                raise ArgumentError(f"This process has seen no {side} images: update() it first, with at least one batch.")
            statistics.all_reduce(group)
        return self

    def compute(self, notice: Callable[[str], None] = warnings.warn) -> FrechetInception:
        """The distance. Raises ArgumentError under two images in a set; `notice` is called under 2,048."""
        if self.real is None or self.fake is None:
            raise ArgumentError("FID needs real and generated images: update() with both first.")
        return _result(self.real, self.fake, extractor_name(self.extractor), notice)


def fid(
    real: Any, fake: Any, *, extractor: Extractor | None = None, weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu", resize: str = "pytorch-fid", stretch: bool = False, rounded: bool = False,
    size: int | tuple[int, int] | None = None, on_bad: str = "error", cache: bool = True,
    notice: Callable[[str], None] = warnings.warn,
) -> FrechetInception:  # fmt: skip
    """Fréchet Inception distance between two sets of images.

    Args:
        real, fake: each a tensor [N, C, H, W] (uint8, or float in [0, 1]; 1 or 3 channels), an ImageSet, the path of a
            folder, zip, tar or .npz of images, an iterable of tensors, `GaussianStatistics`, or the path of statistics:
            pytorch-fid's .npz of `mu` and `sigma`, or a .safetensors by `write_statistics`.
        extractor: an `Inception` made before, or any callable from images to features [B, F]; None: `Inception` from the
            next three.
        weights, device, resize: see `Inception`.
        stretch: stretch each generated image, and them only, to the full range from 0 to 1 first: for comparison with
            the published code of the Two-Stage VAE, which does so. Not an honest FID.
        rounded: round float images to the 256 levels of an image file first.
        size, on_bad: of paths: see `vaefast.metrics.features.open_images`.
        cache: keep statistics of a real ImageSet or path in the cache folder, and find them there again.
        notice: called with one sentence on anything to know, such as a set of fewer than 2,048 images.

    Returns:
        `FrechetInception`: the value and the numbers of images. Features are float32, the distance is float64.

    Raises:
        DataNotFoundError: no Inception weights, or no such path. ArgumentError: images or features of another kind.
        DataError: an unusable path. CheckpointError: damaged weights.
    """
    check_paths(real, fake)
    if extractor is None:
        extractor = Inception(weights, device=device, resize=resize, notice=notice)
    first = image_statistics(extractor, real, rounded=rounded, cache=cache, notice=notice, size=size, on_bad=on_bad)
    second = image_statistics(extractor, fake, stretch=stretch, rounded=rounded, notice=notice, size=size, on_bad=on_bad)
    return _result(first, second, extractor_name(extractor), notice)


def image_statistics(
    extractor: Extractor, images: Any, *, stretch: bool = False, rounded: bool = False, cache: bool = False,
    notice: Callable[[str], None] = warnings.warn, size: int | tuple[int, int] | None = None, on_bad: str = "error",
) -> GaussianStatistics:  # fmt: skip
    """Mean and covariance of the features of images, holding a thousand of them at a time. Arguments of `fid`."""
    if isinstance(images, GaussianStatistics):
        return images
    if is_statistics_file(images):
        return read_statistics(images)
    images = open_images(images, size=size, on_bad=on_bad)

    def compute() -> GaussianStatistics:
        statistics = _statistics(extractor, images, None, stretch=stretch, round_to_uint8=rounded)
        if statistics is None:
            raise ArgumentError("There are no images to take features of.")
        return statistics

    identity, digest = getattr(extractor, "identity", None), getattr(images, "digest", None)
    if not cache or identity is None or digest is None:
        return compute()
    return cached_statistics(f"{identity}|{digest}|{stretch}|{rounded}", compute, notice)


def few_images(count: int | None, what: str, dim: int = 0) -> str | None:
    """What to tell about a set that is small for a Fréchet distance (in `dim` features), or None."""
    if count is None or count >= FEWEST:
        return few_rows(count, dim, f"{what} images")
    return (f"{count:,} {what} images are few for FID, which falls as they become more: take {FEWEST:,} or more (tables have "
            "10,000 or 50,000), compare only numbers of equal counts, or use KID.")


def _statistics(
    extractor: Extractor, images: Any, statistics: GaussianStatistics | None, **changes: bool
) -> GaussianStatistics | None:
    rows: Tensor
    for rows in feature_batches(extractor, images, **changes):
        statistics = (statistics or GaussianStatistics(rows.shape[1])).update(rows)
    return statistics


def _result(
    real: GaussianStatistics, fake: GaussianStatistics, features: str, notice: Callable[[str], None]
) -> FrechetInception:
    value = real.distance(fake)
    for n, what in ((real.n, "real"), (fake.n, "generated")):
        if (text := few_images(n, what, real.dim)) is not None:
            notice(text)
    return FrechetInception(value, real.n, fake.n, features)
