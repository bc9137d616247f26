"""All scores of generated images against real ones, with one pass of the network over each."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaefast import data, metrics
from vaefast.errors import ArgumentError
from vaefast.experiments.codes import samplers_of
from vaefast.experiments.draws import image_sampler, sample_images
from vaefast.experiments.run import finished, image_model
from vaefast.metrics.classifier import FEATURES
from vaefast.metrics.features import Extractor, check_paths, extractor_name, open_images
from vaefast.metrics.fid import few_images
from vaefast.metrics.frechet import few_rows
from vaefast.metrics.inception_score import few_for_inception_score
from vaefast.metrics.statistics_file import is_statistics_file
from vaefast.training.device import resolve_device

METRICS = ("fid", "is", "kid", "prdc", "classifier", "exemplar", "sharpness", "diversity")
OWN_NETWORKS = ("classifier", "exemplar")
OF_PIXELS = ("sharpness", "diversity")
"""Metrics of the images themselves, which need no network."""
_WITH_ROWS = {"kid", "prdc"}  # these need the real features themselves, not their statistics alone


class ImageScores:
    """Scores of several sets of generated images against one set of real ones.

    Args:
        real: an ImageSet, uint8 or float images [N, C, H, W], or (for "fid" and "is" alone) `GaussianStatistics`.
        which: of `METRICS`: FID, Inception score, KID, precision/recall/density/coverage (all in Inception features), and the
            Fréchet distance in the features of `classifier`, with the Inception score's formula on that network's own class
            probabilities beside it; the mean `vaefast.metrics.sharpness`; and "diversity", the standard deviation over the
            images, mean over pixels, divided by that of the real ones (near 0 all generated images are the same).
        extractor: an `Inception` made before, or (but for "is") any callable from images to features; None: `Inception` from
            the next three, if a metric asked for needs it.
        weights, device, resize: see `vaefast.metrics.Inception`.
        stretch, rounded: see `vaefast.metrics.fid`.
        classifier: of `vaefast.metrics.classifier_for`; needed for "classifier". Of `vaefast.metrics.exemplar_network_for` for
            "exemplar".
        splits, subsets, neighbours: of the Inception score, of KID, and of precision and the others.
        first: counts such as 512: the Inception score of so many of the images (the first) alone, too, where there are as many.
        notice: called with one sentence on anything to know; a warning by default.

    Raises:
        ArgumentError: an unknown metric, or one that what was given does not do for. DataNotFoundError: no weights.
    """

    def __init__(
        self, real: Any, which: Sequence[str] = ("fid", "is", "kid"), *, extractor: Extractor | None = None,
        weights: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu", resize: str = "pytorch-fid",
        stretch: bool = False, rounded: bool = False, classifier: metrics.FeatureClassifier | None = None, splits: int = 10,
        subsets: int = 100, neighbours: int = 5, first: Sequence[int] = (), notice: Callable[[str], None] = warnings.warn,
    ) -> None:  # fmt: skip
        self.which = checked_metrics(which)
        self._said: set[str] = set()
        rows = _WITH_ROWS & set(self.which)
        self.own = [name for name in OWN_NETWORKS if name in self.which]
        if isinstance(real, metrics.GaussianStatistics) and (rows or self.own or "diversity" in self.which):
            raise ArgumentError("Statistics of the real images do for fid and is alone: the other metrics need the images.")
        if len(self.own) > 1:
            raise ArgumentError("classifier and exemplar are one metric in two networks; ask for one of them.")
        if self.own and classifier is None:
            raise ArgumentError(f"The {self.own[0]} metric needs a network trained on the data set: pass classifier=.")
        self.stretch, self.rounded, self.classifier, self.notice = stretch, rounded, classifier, notice
        self.splits, self.subsets, self.neighbours, self.first = splits, subsets, neighbours, first
        self.extractor = extractor
        if "is" in self.which and extractor is not None and not hasattr(extractor, "logits"):
            raise ArgumentError("The Inception score needs class scores: pass an Inception as extractor, or leave is out.")
        if extractor is None and set(self.which) - {*OWN_NETWORKS, *OF_PIXELS}:
            self.extractor = metrics.Inception(weights, device=device, resize=resize, notice=notice)
        self.rows: Tensor | None = None
        self.statistics: metrics.GaussianStatistics | None = None
        if rows:
            self.rows = metrics.extract_features(self.extractor, real, rounded=rounded)
        if "fid" in self.which:
            self.statistics = (
                metrics.GaussianStatistics(self.rows.shape[1]).update(self.rows) if self.rows is not None
                else metrics.image_statistics(self.extractor, real, rounded=rounded, cache=True, notice=notice)
            )  # fmt: skip
        if classifier is not None and self.own:
            self.classifier_statistics = metrics.classifier_statistics(classifier, getattr(real, "images", real))
        self.spread = _spread(getattr(real, "images", real)) if "diversity" in self.which else 0.0
        known = self.statistics.n if self.statistics is not None else None
        self.real = known if isinstance(real, metrics.GaussianStatistics) else len(getattr(real, "images", real))

    def __call__(self, fake: Tensor) -> dict[str, Any]:
        """Scores of generated images, uint8 or float in [0, 1], [M, C, H, W].

        Returns:
            Numbers by name, with the counts that belong to them: "real" and "fake" always; "features", the extractor; "fid";
            "inception_score", "_std" and "_splits"; "kid", "kid_std" and "kid_subset_size"; "precision", "recall", "density",
            "coverage" and "neighbours"; "sharpness" and "diversity"; "fd_classifier" and "is_classifier" (or "fd_exemplar" and
            "is_exemplar"), with "_std" and "_splits".
        """
        result: dict[str, Any] = {"real": self.real, "fake": len(fake)}
        if self.extractor is not None:
            rows = metrics.extract_features(self.extractor, fake, stretch=self.stretch, rounded=self.rounded)
            result["features"] = extractor_name(self.extractor)
            if self.stretch:
                result["stretch"] = True
        if "fid" in self.which:
            dim = rows.shape[1]
            self._tell(few_images(self.real, "real", dim), few_images(len(fake), "generated", dim))
            result["fid"] = self.statistics.distance(metrics.GaussianStatistics(rows.shape[1]).update(rows))
        if "is" in self.which:
            self._tell(few_for_inception_score(len(fake)))
            result |= self._inception_scores("inception_score", torch.cat([self.extractor.logits(r) for r in rows.split(1000)]))
        if "kid" in self.which:
            size = min(1000, len(self.rows), len(rows))
            kid = metrics.kid(self.rows, rows, subsets=self.subsets, subset_size=size)
            result |= {"kid": kid.mean, "kid_std": kid.std, "kid_subset_size": size}
        if "prdc" in self.which:
            near = metrics.precision_recall_density_coverage(self.rows, rows, k=self.neighbours)
            result |= {name: getattr(near, name) for name in ("precision", "recall", "density", "coverage")}
            result["neighbours"] = self.neighbours
        if "sharpness" in self.which:
            result["sharpness"] = float(metrics.sharpness(fake).mean())
        if "diversity" in self.which:
            result["diversity"] = _spread(fake) / max(self.spread, torch.finfo(torch.float64).tiny)
        for name in self.own:
            features = metrics.classifier_features(self.classifier, fake)
            if not self._said and not (self.real <= FEATURES and self.classifier.info.get("test_images") == self.real):
                few, what = min((self.real, "real images"), (len(fake), "generated images"))
                self._tell(few_rows(few, FEATURES, what))  # once; else told with the classifier's accuracy
            statistics = metrics.GaussianStatistics(features.shape[1]).update(features)
            result[f"fd_{name}"] = self.classifier_statistics.distance(statistics)
            result |= self._inception_scores(f"is_{name}", self.classifier.logits(features))
        return result

    def _inception_scores(self, name: str, logits: Tensor) -> dict[str, Any]:
        """The score of all images under `name`, with its spread and splits, and those of the first few."""
        found = metrics.InceptionScore(min(self.splits, len(logits))).update(logits).compute()
        result = {name: found.mean, f"{name}_std": found.std, f"{name}_splits": found.splits}
        for count in self.first:
            if count <= len(logits):
                few = metrics.InceptionScore(min(self.splits, count)).update(logits[:count]).compute()
                result |= {f"{name}_{count}": few.mean, f"{name}_{count}_std": few.std}
        return result

    def _tell(self, *texts: str | None) -> None:
        for text in texts:
            if text is not None and text not in self._said:
                self._said.add(text)
                self.notice(text)


def _spread(images: Tensor) -> float:
    """Standard deviation over the images, mean over pixels, on the [0, 1] scale."""
    total, squares = 0.0, 0.0
    for part in images.split(1000):
        x = part.double() / (1 if part.is_floating_point() else 255)
        total, squares = total + x.sum(0), squares + x.square().sum(0)
    mean = total / len(images)
    return float((squares / len(images) - mean.square()).clamp_min(0).sqrt().mean())


def image_scores(real: Any, fake: Tensor, which: Sequence[str] = ("fid", "is", "kid"), **options: Any) -> dict[str, Any]:
    """Scores of one set of generated images: `ImageScores(real, which, **options)(fake)`."""
    return ImageScores(real, which, **options)(fake)


def checked_metrics(which: Sequence[str]) -> tuple[str, ...]:
    """`which`, if all of them are known and there is one. Raises ArgumentError otherwise."""
    unknown = [name for name in which if name not in METRICS]
    if unknown or not which:
        raise ArgumentError(f"metrics are {', '.join(which) or 'none'}; expected one or more of {', '.join(METRICS)}.")
    return tuple(dict.fromkeys(which))


def images_of(path: str, *, samples: int = 10_000, seed: int = 0, device: str | torch.device = "cpu",
              networks: str | bool | None = None, **options: Any) -> Any:
    """The images that a path stands for: all of a folder, zip, tar or .npz; `samples` drawn from a run folder or saved model.

    A file of statistics gives `GaussianStatistics`. `options` are `size` and `on_bad` of `open_images`, `networks` as for
    `vaefast.load`.

    Raises:
        DataNotFoundError, DataError: nothing there, or no images. ArgumentError: a model that draws none.
    """
    if is_statistics_file(path):
        return metrics.read_statistics(path)
    if (Path(path) / "config.json").is_file() and (Path(path) / "checkpoints").is_dir():
        finished(path)
    if (Path(path) / "model.json").is_file():
        model = image_model(path, torch.device(device), networks)
        return data.as_image_set(sample_images(model, image_sampler(model, samplers_of(model)[-1]), samples, seed=seed))
    return open_images(path, **options)


def compare_paths(
    real: str, fake: str, which: Sequence[str], *, weights: str | None = None, resize: str = "pytorch-fid",
    stretch: bool = False, samples: int = 10_000, seed: int = 0, device: str = "auto", size: int | tuple[int, int] | None = None,
    on_bad: str = "error", networks: str | bool | None = None, say: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """Score the images at one path against those at another; see `images_of` and `ImageScores`.

    `size` and `on_bad` are of the files: what to resize them to, and whether bad ones are left out ("skip"); `networks` are of
    run folders, as for `vaefast.load`.

    Raises:
        ArgumentError: a metric that needs labels, or generated images given as statistics only.
    """
    if own := [name for name in OWN_NETWORKS if name in checked_metrics(which)]:
        raise ArgumentError(f"The {own[0]} metric needs a data set to train its network on: score a run with vaefast evaluate "
                            "for it.")
    check_paths(real, fake)
    chosen = resolve_device(device)
    extractor = metrics.Inception(weights, device=chosen, resize=resize, notice=say)
    first, second = (images_of(path, samples=samples, seed=seed, device=chosen, size=size, on_bad=on_bad, networks=networks)
                     for path in (real, fake))
    if isinstance(second, metrics.GaussianStatistics):
        if tuple(which) != ("fid",):
            raise ArgumentError(f"{fake} holds statistics of features, which do for fid alone; pass the images.")
        found = metrics.fid(first, second, extractor=extractor, notice=say)
        return {"real": found.real, "fake": found.fake, "features": found.features, "fid": found.value}
    scorer = ImageScores(first, which, extractor=extractor, stretch=stretch, notice=say)
    return scorer(second.images)


def score_lines(result: dict[str, Any]) -> list[str]:
    """A line a number, each with its counts."""
    real, fake = (f"{n:,}" if n is not None else "an unknown number of" for n in (result["real"], result["fake"]))
    both, lines = f"{real} real, {fake} generated", []
    if "fid" in result:
        lines.append(f"FID              {result['fid']:.4f}  ({both})")
    if "inception_score" in result:
        spread, splits = result["inception_score_std"], result["inception_score_splits"]
        lines.append(f"Inception score  {result['inception_score']:.4f} +- {spread:.4f}  ({fake} generated, {splits} splits)")
    if "kid" in result:
        size = f"subsets of {result['kid_subset_size']:,}"
        lines.append(f"KID x 1000       {1e3 * result['kid']:.4f} +- {1e3 * result['kid_std']:.4f}  ({both}, {size})")
    for name in ("precision", "recall", "density", "coverage"):
        if name in result:
            lines.append(f"{name:16} {result[name]:.4f}  ({both}, k = {result['neighbours']})")
    lines += [f"{name:16} {result[name]:.4g}  ({both})" for name in OF_PIXELS if name in result]
    for name in OWN_NETWORKS:
        if f"fd_{name}" in result:
            lines.append(f"{'FD-' + name:16} {result[f'fd_{name}']:.4f}  ({both})")
    if "features" in result:
        stretch = ", generated images stretched" if result.get("stretch") else ""
        lines.append(f"features         {result['features']}{stretch}")
    return lines
