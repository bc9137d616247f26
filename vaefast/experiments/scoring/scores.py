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
from vaefast.experiments.run import finished, image_model
from vaefast.experiments.scoring.draws import image_sampler, sample_images
from vaefast.experiments.scoring.own_features import own_features
from vaefast.experiments.scoring.registry import METRICS, needing
from vaefast.experiments.scoring.views import LOOKS, Looking, View
from vaefast.metrics.features import Extractor, check_paths, extractor_name, open_images
from vaefast.metrics.statistics_file import is_statistics_file
from vaefast.training.device import resolve_device


class ImageScores:
    """Scores of several sets of generated images against one set of real ones.

    Args:
        real: an ImageSet, uint8 or float images [N, C, H, W], or (for "fid" and "is" alone) `GaussianStatistics`.
        which: of `registry.METRICS`: "fid", "is", "kid" and "prdc" in the features of `extractor`, "classifier" and "exemplar" in
            those of `classifier`, "features" in those of `features`, and the others of the images themselves.
        extractor: an `Inception` made before, or (but for "is") any callable from images to features; None: `Inception` from
            the next three, if a metric asked for needs it.
        features: any callable from images, as they are given here, to rows of features: a network of your own.
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
        features: Extractor | None = None, weights: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu",
        resize: str = "pytorch-fid",
        stretch: bool = False, rounded: bool = False, classifier: metrics.FeatureClassifier | None = None, splits: int = 10,
        subsets: int = 100, neighbours: int = 5, first: Sequence[int] = (), notice: Callable[[str], None] = warnings.warn,
    ) -> None:  # fmt: skip
        self.which = checked_metrics(which)
        needs = {word for name in self.which for word in METRICS[name].needs}
        with_network = [name for name in self.which if "network" in METRICS[name].needs]
        if isinstance(real, metrics.GaussianStatistics) and "images" in needs:
            raise ArgumentError("Statistics of the real images do for fid and is alone: the other metrics need the images.")
        if len(with_network) > 1:
            raise ArgumentError(f"{' and '.join(with_network)} are one metric in two networks; ask for one of them.")
        if with_network and classifier is None:
            raise ArgumentError(f"The {with_network[0]} metric needs a network trained on the data set: pass classifier=.")
        if "features" in needs and features is None:
            raise ArgumentError("The features metric needs a network of your own: pass features=, from images to rows [B, D].")
        if "logits" in needs and extractor is not None and not hasattr(extractor, "logits"):
            raise ArgumentError("The Inception score needs class scores: pass an Inception as extractor, or leave is out.")
        if extractor is None and "extractor" in needs:
            extractor = metrics.Inception(weights, device=device, resize=resize, notice=notice)
        self.by = Looking(extractor, classifier, features, stretch, rounded, splits, subsets, neighbours, tuple(first), notice)
        self.real = View(real, self.by, real=True, rows="rows" in needs)
        for need, look in LOOKS.items():  # now, so that bad images are told of before any are generated
            if need in needs:
                getattr(self.real, look)

    def __call__(self, fake: Tensor) -> dict[str, Any]:
        """Scores of generated images, uint8 or float in [0, 1], [M, C, H, W].

        Returns:
            Numbers by name, as `registry.METRICS` says, with the counts that belong to them: "real" and "fake" always;
            "features", the extractor, and "own_features", the user's own, where there are such, with "own_features_weights", a
            digest of them, and "own_features_input", how images come to the network, as far as its attributes `digest` and
            `input` say so.
        """
        seen, by = View(fake, self.by), self.by
        result: dict[str, Any] = {"real": self.real.count, "fake": len(fake)}
        if by.extractor is not None:
            result |= {"features": extractor_name(by.extractor), **({"stretch": True} if by.stretch else {})}
        if by.features is not None:
            result["own_features"] = extractor_name(by.features)
            result |= {f"own_features_{name}": value for name, attribute in (("weights", "digest"), ("input", "input"))
                       if (value := getattr(by.features, attribute, None)) is not None}
        for name in self.which:
            result |= METRICS[name].compute(self.real, seen)
        return result


def image_scores(real: Any, fake: Tensor, which: Sequence[str] = ("fid", "is", "kid"), **options: Any) -> dict[str, Any]:
    """Scores of one set of generated images: `ImageScores(real, which, **options)(fake)`."""
    return ImageScores(real, which, **options)(fake)


def checked_metrics(which: Sequence[str]) -> tuple[str, ...]:
    """`which`, if all of them are known and there is one. Raises ArgumentError otherwise."""
    which = (which,) if isinstance(which, str) else which
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
        return data.as_image_set(sample_images(model, image_sampler(model), samples, seed=seed))
    return open_images(path, **options)


def compare_paths(
    real: str, fake: str, which: Sequence[str], *, weights: str | None = None, resize: str = "pytorch-fid",
    stretch: bool = False, samples: int = 10_000, seed: int = 0, device: str = "auto", size: int | tuple[int, int] | None = None,
    on_bad: str = "error", networks: str | bool | None = None, features: str | Extractor | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """Score the images at one path against those at another; see `images_of` and `ImageScores`.

    `size` and `on_bad` are of the files: what to resize them to, and whether bad ones are left out ("skip"); `networks` are of
    run folders, as for `vaefast.load`; `features`, the name of a network or one itself, adds the metric of that name.

    Raises:
        ArgumentError: a metric that needs labels, or generated images given as statistics only.
    """
    which = (*which, *(["features"] if features is not None and "features" not in which else []))
    if unfit := [name for name in checked_metrics(which) if name not in needing("network")]:
        raise ArgumentError(f"The {unfit[0]} metric needs a data set to train its network on: score a run with vaefast evaluate "
                            "for it.")
    check_paths(real, fake)
    chosen = resolve_device(device)
    own = None if features is None else own_features(features, chosen)
    needed = any("extractor" in METRICS[name].needs for name in which)
    extractor = metrics.Inception(weights, device=chosen, resize=resize, notice=say) if needed else None
    first, second = (images_of(path, samples=samples, seed=seed, device=chosen, size=size, on_bad=on_bad, networks=networks)
                     for path in (real, fake))
    if isinstance(second, metrics.GaussianStatistics):
        if tuple(which) != ("fid",) or extractor is None:
            raise ArgumentError(f"{fake} holds statistics of features, which do for fid alone; pass the images.")
        score = metrics.fid(first, second, extractor=extractor, notice=say)
        return {"real": score.real, "fake": score.fake, "features": score.features, "fid": score.value}
    scorer = ImageScores(first, which, extractor=extractor, features=own, stretch=stretch, notice=say)
    return scorer(second.images)


def score_lines(result: dict[str, Any]) -> list[str]:
    """A line a number, each with its counts."""
    shown = {key: f"{value:,}" if isinstance(value, int) else value for key, value in result.items()}
    shown |= {key: "an unknown number of" for key in ("real", "fake") if result[key] is None}
    lines = []
    for metric in METRICS.values():
        for score in metric.scores:
            numbers = [score.times * result[key] for key in (score.key, f"{score.key}_std") if key in result]
            if numbers:
                name = score.name + (f" x {score.times}" if score.times > 1 else "")
                lines.append(f"{name:16} {' +- '.join(format(n, score.form) for n in numbers)}  "
                             f"({metric.counts.format(**shown)})")
    for entry, label in (("features", "features"), ("own_features", "your features"), ("own_features_weights", "their weights"),
                         ("own_features_input", "their images")):
        if entry in result:
            lines.append(f"{label:16} {result[entry]}" + (", generated images stretched" if result.get("stretch") else ""))
    return lines
