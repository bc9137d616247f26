"""All scores by name: what each is called, how it is read, what it needs and how it is taken. The only place that says so.

evaluation.json, the report, tables, curves, the sweep, the command line's help and the papers' tables derive from it. A new
metric of images is its function and one entry of `METRICS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaefast import metrics
from vaefast.experiments.scoring.views import Looking, View
from vaefast.metrics.classifier import FEATURES
from vaefast.metrics.fid import few_images
from vaefast.metrics.frechet import few_rows
from vaefast.metrics.inception_score import few_for_inception_score

COUNTS = "{real} real, {fake} generated"


@dataclass(frozen=True)
class Score:
    """One number of an evaluation.

    Args:
        key: its name in evaluation.json, before the slash and the subject.
        name: what people call it.
        reading: how to read it, in a sentence or two.
        line: its row in a table of scores, where that is not its name and its subject.
        form: how `vaefast fid` writes it.
        times: what it multiplies it with there.
    """

    key: str
    name: str
    reading: str
    line: str = ""
    form: str = ".4f"
    times: int = 1

    @property
    def heading(self) -> str:
        """The name as a line begins with it."""
        return self.name[:1].upper() + self.name[1:]


@dataclass(frozen=True)
class Metric:
    """Scores of a set of generated images that are taken together.

    Args:
        scores: what it gives.
        compute: (real images, generated ones) -> numbers by key, with "KEY_std" for a spread, and entries of `how`.
        needs: "extractor": features of an extractor; "logits": of Inception, which has classes; "network": one trained on the
            data set; "features": the user's own network; "images": the real images themselves, not their statistics; "rows" and
            "statistics": all of their features, and mean and covariance of these.
        distance: whether its first score is lower for better images, so that models can be ranked by it.
        how: entries that say how it was taken -> a sentence of them, {} for the value.
        counts: what `vaefast fid` says behind the number.
    """

    scores: tuple[Score, ...]
    compute: Callable[[View, View], dict[str, Any]]
    needs: frozenset[str] = frozenset()
    distance: bool = False
    how: Mapping[str, str] = field(default_factory=dict)
    counts: str = COUNTS


def _fid(real: View, fake: View) -> dict[str, Any]:
    dim = fake.rows.shape[1]
    real.by.tell(few_images(real.count, "real", dim), few_images(len(fake), "generated", dim))
    return {"fid": real.statistics.distance(fake.statistics)}


def _inception_scores(key: str, by: Looking, logits: Tensor) -> dict[str, Any]:
    """The score of all images under `key`, with its spread and splits, and those of the first few."""
    score = metrics.InceptionScore(min(by.splits, len(logits))).update(logits).compute()
    result = {key: score.mean, f"{key}_std": score.std, f"{key}_splits": score.splits}
    for count in by.first:
        if count <= len(logits):
            few = metrics.InceptionScore(min(by.splits, count)).update(logits[:count]).compute()
            result |= {f"{key}_{count}": few.mean, f"{key}_{count}_std": few.std}
    return result


def _is(real: View, fake: View) -> dict[str, Any]:
    real.by.tell(few_for_inception_score(len(fake)))
    return _inception_scores("inception_score", real.by, fake.logits)


def _kid(real: View, fake: View) -> dict[str, Any]:
    size = min(1000, len(real.rows), len(fake.rows))
    score = metrics.kid(real.rows, fake.rows, subsets=real.by.subsets, subset_size=size)
    return {"kid": score.mean, "kid_std": score.std, "kid_subset_size": size}


def _prdc(real: View, fake: View) -> dict[str, Any]:
    near = metrics.precision_recall_density_coverage(real.rows, fake.rows, k=real.by.neighbours)
    return {score.key: getattr(near, score.key) for score in METRICS["prdc"].scores} | {"neighbours": real.by.neighbours}


def _own(name: str) -> Callable[[View, View], dict[str, Any]]:
    """Fréchet distance and Inception score's formula in the network trained on the data set."""
    def compute(real: View, fake: View) -> dict[str, Any]:
        by, network = real.by, real.by.network
        assert network is not None
        if not by.said and not (len(real) <= FEATURES and network.info.get("test_images") == len(real)):
            few, what = min((len(real), "real images"), (len(fake), "generated images"))
            by.tell(few_rows(few, FEATURES, what))  # once; else told with the classifier's accuracy
        return {f"fd_{name}": real.own_statistics.distance(fake.own_statistics),
                **_inception_scores(f"is_{name}", by, network.logits(fake.own_rows))}

    return compute


def _sharpness(real: View, fake: View) -> dict[str, Any]:
    return {"sharpness": float(metrics.sharpness(fake.pixels).mean())}


def _diversity(real: View, fake: View) -> dict[str, Any]:
    return {"diversity": fake.deviation / max(real.deviation, torch.finfo(torch.float64).tiny)}


def _sliced(real: View, fake: View) -> dict[str, Any]:
    return {"sliced_wasserstein": metrics.sliced_wasserstein(real.pixels, fake.pixels) / real.pixels[0].numel() ** 0.5}


def _features(real: View, fake: View) -> dict[str, Any]:
    by, dim = real.by, fake.user_rows.shape[1]
    by.tell(few_rows(min(len(real), len(fake)), dim, "images"))
    size = min(1000, len(real), len(fake))
    kid = metrics.kid(real.user_rows, fake.user_rows, subsets=by.subsets, subset_size=size)
    return {"fd_features": metrics.frechet_distance(real.user_rows, fake.user_rows, notice=lambda _: None),
            "sliced_features": metrics.sliced_wasserstein(real.user_rows, fake.user_rows),
            "kid_features": kid.mean, "kid_features_std": kid.std, "kid_features_subset_size": size}


def _needs(*words: str) -> frozenset[str]:
    return frozenset(words)


_SPLITS = "is a mean over {} splits of the samples."
METRICS = {
    "classifier": Metric((
        Score("fd_classifier", "FD-classifier",
              "Fréchet distance to real images, in the features of a small classifier trained on this data set's labels. Lower "
              "is better, 0 is a perfect match; it is not the FID and compares only within one data set and one classifier "
              "version."),
        Score("is_classifier", "IS-classifier",
              "The Inception score's formula on the class probabilities of the same classifier: how sure of each sample, and how "
              "varied over all of them. Higher is better, the number of classes is the most; it is not the Inception score.")),
        _own("classifier"), _needs("network", "images"), True, {"is_classifier_splits": f"IS-classifier {_SPLITS}"}),
    "exemplar": Metric((
        Score("fd_exemplar", "FD-exemplar",
              "Fréchet distance to real images, in the features of a small network that learned, without labels, to tell images "
              "of this data set apart. Lower is better; it is not the FID and compares only within one data set."),
        Score("is_exemplar", "IS-exemplar",
              "The Inception score's formula on that network's probabilities of its 1,000 exemplars. Higher is better; it is not "
              "the Inception score.")),
        _own("exemplar"), _needs("network", "images"), True, {"is_exemplar_splits": f"IS-exemplar {_SPLITS}"}),
    "fid": Metric((
        Score("fid", "FID", "Fréchet Inception distance to real images. Lower is better; it depends on the number of samples."),),
        _fid, _needs("extractor", "statistics"), True),
    "kid": Metric((
        Score("kid", "KID", "Kernel Inception distance to real images. Lower is better; a perfect match scatters around 0.",
              times=1000),),
        _kid, _needs("extractor", "rows", "images"), True, {"kid_subset_size": "KID is a mean over subsets of {} images."},
        COUNTS + ", subsets of {kid_subset_size}"),
    "is": Metric((
        Score("inception_score", "Inception score",
              "How sure of each sample, and how varied over all of them, an Inception network is. Higher is better."),),
        _is, _needs("extractor", "logits"), False, {"inception_score_splits": f"The Inception score {_SPLITS}"},
        "{fake} generated, {inception_score_splits} splits"),
    "prdc": Metric((
        Score("precision", "precision", "Share of the samples within reach of real images. Higher is better; fidelity."),
        Score("recall", "recall", "Share of the real images within reach of samples. Higher is better; variety."),
        Score("density", "density", "How many real images' neighbourhoods a sample lies in; real images have about 1. Fidelity."),
        Score("coverage", "coverage", "Share of the real images with a sample among their neighbours. Higher is better; "
                                      "variety.")),
        _prdc, _needs("extractor", "rows", "images"), False,
        {"neighbours": "Precision, recall, density and coverage go by the {} nearest neighbours."},
        COUNTS + ", k = {neighbours}"),
    "sharpness": Metric((
        Score("sharpness", "sharpness", "Mean variance of the Laplacian. The closer to that of real images the better; noise "
              "counts as sharpness, too.", form=".4g"),), _sharpness),
    "diversity": Metric((
        Score("diversity", "diversity", "Standard deviation over the images, mean over pixels, of that of real ones. Near 0 all "
              "images are the same.", form=".4g"),), _diversity, _needs("images")),
    "sliced": Metric((
        Score("sliced_wasserstein", "sliced Wasserstein", "How far pixels have to be carried from real images, on the [0, 1] "
              "scale of a pixel, by random projections. Lower is better; compare with the floor.", form=".4g"),),
        _sliced, _needs("images"), True),
    "features": Metric((
        Score("fd_features", "FD in your features", "Fréchet distance to real images in the features of your own network. Lower "
              "is better; it compares only within that network."),
        Score("sliced_features", "sliced Wasserstein in your features", "How far the features of your own network have to be "
              "carried from those of real images, by random projections. Lower is better.", form=".4g"),
        Score("kid_features", "KID in your features", "Kernel distance to real images in the features of your own network. Lower "
              "is better; a perfect match scatters around 0, whatever the number of samples.", times=1000)),
        _features, _needs("features", "images"), True,
        {"kid_features_subset_size": "KID in your features is a mean over subsets of {} images, drawn with seed 0."}),
}
"""By what `evaluate --metrics` calls them."""

OTHERS = (
    Score("mmd", "MMD²", "How far the latents are from the N(0, I) they are drawn from (seven-scale kernel, unbiased). Lower is "
          "better; a perfect match scatters around 0 and can be slightly negative.", "MMD^2 of {}'s codes to N(0, I)"),
    Score("reconstruction_error", "reconstruction error", "Mean squared error per pixel on the [0, 1] scale. Lower is better.",
          "squared error a pixel of reconstructions, [0, 1] scale"),
    Score("limit_ratio", "distance over reconstructions'", "The distance of samples over that of reconstructions of test "
          "images. 1 would be samples as near as these; what is above is the second stage's part and that of training images "
          "being others than test images.",
          "the first distance, of samples over that of reconstructions"),
    Score("codes_ratio", "distance over a perfect second stage's", "The distance of samples over that of reconstructions of "
          "training images. 1 is about the best that new codes can do with this decoder, as they are fitted to the codes of "
          "those; what is above is the second stage's part, and a little below is chance, of few images above all.",
          "the same over that of reconstructions of training images"),
    Score("class_accuracy", "samples of the class asked for", "Share of samples that the classifier reads as the class that was "
          "asked for, as many of each. Higher is better; the classifier's own accuracy on real images is about the most.",
          "samples read as the class asked for"),
    Score("likelihood_bound", "bound of the log-likelihood", "Importance-weighted lower bound of log p(x) of test images, in "
          "nats an image (of the density on [0, 1], where the likelihood is one). Higher is better; it rises with the draws of "
          "each code.",
          "log-likelihood of test images, nats (at least)"),
    Score("bits_per_dimension", "bits a dimension", "The same in bits a pixel value of 256 levels. Lower is better.",
          "the same, bits a pixel value (at most)"),
    Score("step_error", "reconstruction error by step", "Mean squared error per pixel of test images after each step of the "
                                                        "chain.",
          "squared error a pixel of reconstructions, step by step"),
    Score("step_sharpness", "sharpness by step", "Variance of the Laplacian of samples after each step of the chain. The closer "
          "to the data's own the better; noise counts as sharpness, too.",
          "sharpness of samples (variance of the Laplacian), step by step"),
    Score("active_dimensions", "active dimensions", "Latent dimensions that carry information about the image, over training "
                                                    "images.",
          "active latent dimensions"),
    Score("mutual_information", "mutual information", "What a code tells about its image, in nats; an estimate from N images is "
          "at most log N.", "mutual information of image and code, nats"),
    Score("mig", "MIG", "Mutual information gap: how much more the best code dimension tells of a factor than the next one, in "
          "shares of its entropy. Higher is better, from 0 to 1; one dimension a factor is 1."),
    Score("sap", "SAP", "The same gap in what a line through one dimension tells of a factor. Higher is better, from 0 to 1."),
    Score("dci_disentanglement", "DCI disentanglement", "How far each dimension is important for one factor alone, by a sparse "
          "regression. Higher is better, from 0 to 1."),
    Score("dci_completeness", "DCI completeness", "How far each factor has one important dimension alone. Higher is better, "
          "from 0 to 1."),
    Score("dci_informativeness", "DCI informativeness", "How well a line through all dimensions tells the factors of held-out "
          "images. Higher is better, from 0 to 1."),
    Score("gamma_x", "gamma of stage 1", "Standard deviation of the decoder's noise, on the [0, 1] scale of pixels.",
          "gamma of stage 1 (standard deviation, [0, 1] scale)"),
    Score("value_error", "reconstruction error", "Mean squared error of a value, in the data's own units. Lower is better.",
          "squared error a value of reconstructions, the data's own units"),
    Score("unexplained", "unexplained variance", "The mean squared error of reconstructions over the variance of test examples. "
          "0 is perfect, 1 no better than their mean.", "share of the variance that reconstructions leave out"),
    Score("gamma_values", "gamma of stage 1", "Standard deviation of the decoder's noise, in standardised units.",
          "gamma of stage 1 (standard deviation, standardised units)"),
    Score("gamma_z", "gamma of stage 2", "Standard deviation of the second stage's noise on the codes.",
          "gamma of stage 2 (standard deviation of codes)"),
)
"""Scores of codes and models, which `evaluate` takes where there are such."""

OF_ARRAYS = (
    Score("sliced_values", "sliced Wasserstein of the values", "How far values have to be carried from real examples, by random "
          "projections, in the data's own units: a root mean square over dimensions. Lower is better; compare with the floor."),
)
"""Scores of samples that are no images."""
OF_IMAGES = (*(metric.scores[0] for metric in METRICS.values() if metric.distance),
             *(score for metric in METRICS.values() for score in metric.scores[metric.distance:]))
SCORES = {score.key: score for score in (*OF_IMAGES, *OF_ARRAYS, *OTHERS)}
"""Every score by its key, in the order in which they are shown: distances of images first."""

SUBJECTS = {
    "stage1": "stage 1 samples (codes from N(0, I))",
    "stage2": "stage 2 samples",
    "guided": "stage 2 samples, guided to their classes",
    "mixture": "samples with codes from a Gaussian mixture",
    "reconstructions": "reconstructions of test images",
    "training_reconstructions": "reconstructions of training images (a perfect second stage)",
    "reconstructions_both_stages": "the same with their codes passed through stage 2",
    "test_vs_train": "real {others} images (the floor)",
    "samples": "samples",
    "ancestral": "ancestral samples",
    "chain": "samples of the chain",
    "data": "the data's own",
    "reference": "two independent samples of N(0, I) (the floor)",
}
"""What a score is of: the name after the slash, and in words. {others}: real images of the split that is not compared with."""
ONLY_SAMPLES = "samples"
"""What samples are called that are the only ones."""
OF_CODES = {"stage1": "stage 1: codes z against N(0, I)", "stage2": "stage 2: codes u against N(0, I)"}
"""The same of "mmd"."""
BEST_FIRST = ("guided", "stage2", "stage1", "samples")
"""Subjects whose score is the model's."""

HOW = {
    **{entry: sentence for metric in METRICS.values() for entry, sentence in metric.how.items()},
    "features": "The features are {}.",
    "own_features": "Your features are {}.",
    "own_features_weights": "Their weights have the digest {}.",
    "own_features_input": "Images come to their network {}.",
    "guidance": "Guided samples, and those asked of a class, have a guidance of {}; those of stage 2 none (1).",
    "perceptual": "Stage 1 was trained with features of the {} network, which flatters distances in these features.",
    "likelihood_bound_images": "The bound of the log-likelihood is a mean over {} test images.",
    "likelihood_bound_samples": "It takes {} draws of each one's code.",
    "seed": "The seed of the samples is {}.",
}
"""Entries of an evaluation that say how scores were taken -> a sentence of it."""
ONCE = ("real", "fake", "stretch", *(entry for entry in HOW if entry != "seed"))
"""Entries that are the same for all sets of images that are scored together."""
RANKING = {name: metric.scores[0].key for name, metric in METRICS.items() if metric.distance and "features" not in metric.needs}
"""What models can be ranked by, lower being better: the metric, and the key of its score."""

OWN = tuple(name for name, metric in METRICS.items() if "network" in metric.needs)
"""Metrics in a network that is trained on the data set."""


def entry(key: str, subject: str) -> str:
    """The name of a score of `subject` in evaluation.json."""
    return f"{key}/{subject}"


def parsed(name: str) -> tuple[str, str]:
    """Key and subject of an entry; "" for the subject of a model's own scores."""
    key, _, subject = name.partition("/")
    return key, subject


def best_of(scores: Mapping[str, Any], key: str) -> float | None:
    """A score of the model's best samples; None where it was not taken."""
    return next((float(scores[name]) for name in (entry(key, subject) for subject in BEST_FIRST) if name in scores), None)


def known(key: str) -> tuple[Score | None, str, bool]:
    """The score that a key is of; of how many samples alone, and whether it is a deviation: is_classifier_512_std."""
    match = re.fullmatch(r"(.+?)(?:_(\d+))?(_std)?", key)
    assert match is not None
    name, count, std = match.groups()
    return (SCORES[name], count or "", std is not None) if name in SCORES else (None, "", False)


def name_of(key: str) -> str:
    """What people call a score, also that of a few samples: "inception_score_512"."""
    score, count, _ = known(key)
    return key if score is None else score.name + (f", {count} samples" if count else "")


def columns(*keys: str) -> tuple[tuple[str, str], ...]:
    """Keys and headings of a table's columns."""
    return tuple((key, name_of(key)) for key in keys)


def needing(*without: str) -> tuple[str, ...]:
    """The metrics that need none of `without`."""
    return tuple(name for name, metric in METRICS.items() if not metric.needs & set(without))
