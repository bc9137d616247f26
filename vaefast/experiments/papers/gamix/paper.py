"""The work's parts, and the words of its page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from vaefast.experiments.papers.cells import Task, metrics_of
from vaefast.experiments.papers.gamix import claims, paths, pictures, protocol
from vaefast.experiments.papers.gamix.protocol import PRESETS
from vaefast.experiments.papers.pictures import CAPTION
from vaefast.experiments.papers.plan import Columns, Paper, Part, Record, Row, Study, no_claims
from vaefast.experiments.scoring.registry import columns
from vaefast.training.storage import read_object

_CODES = (
    ("active", "active dimensions"),
    ("used", "dimensions of KL > 0.01"),
    ("kl_dimension", "KL a dimension, nats"),
    ("posterior_variance", "posterior variance"),
    ("global_mean", "global mean, rms"),
    ("global_variance", "global variance"),
)
_IMAGES = (
    ("reconstruction_error", "squared error a pixel"),
    ("sharpness_reconstructions", "sharpness of reconstructions"),
    ("sharpness", "sharpness of samples"),
)
_DISTANCES = columns(*claims.DISTANCES)
_MINUTES = ("minutes", "minutes of training")
ABLATION = (*_CODES, *_IMAGES, *_DISTANCES, _MINUTES)
BASELINES = (*_DISTANCES, *columns("kid", "precision", "recall", "density", "coverage", "diversity"), *_IMAGES, _CODES[0],
_MINUTES)
"""Key of a row's value, and its heading."""


def _notes(study: Study) -> Sequence[str]:
    budget = PRESETS[study.preset]
    return (
        f"Preset {study.preset}: {budget.about}. {budget.samples:,} samples against as many test images (all, where there are "
        "fewer).",
        "All models of the tables have the same networks and budget. The reconstruction cost weighs 5,000 times the mean over "
        "pixels, on the scale [-1, 1]; the KL, or GLOB in its place, weighs 1, IND 0.2 and the PatchGAN 100, each as released. "
        "GLOB takes the variance of the means alone, as released, by which it says nothing of the posteriors' own variances; "
        "the part 'moments' has the exact variance beside it.",
        "A dimension is active where its posterior variance, mean over test images, is below 0.5 (an ignored one has 1), so a "
        "deterministic autoencoder has all of them active: look at the KL and the global variance, too. Sharpness is the "
        "variance of the Laplacian, to be held against that of the real images; noise counts as sharpness, too, and so does what "
        "a discriminator makes up. Reconstructions are of a drawn code.",
        "The work reports no FID. Here it is given where the Inception weights were at hand (in a smoke run, where they were "
        "named); FD-classifier (sets with labels) and FD-exemplar (without) are Fréchet distances in a small network of the data "
        "set's own, which compare within one table alone. Precision to coverage, and KID, are in Inception's features or in that "
        "network's; diversity is the deviation over the samples of that over real images. The row of real images is of training "
        "images. With one trial there is no telling how much of a difference is chance.")


def _codes(path: Path) -> dict[str, float]:
    """Of test images, from the latents page."""
    codes = read_object(path / "latents.json")
    if not codes:
        return {}
    k = codes["latent_dim"]
    return {"active": codes["active_dimensions"], "used": codes["kl_dimensions"], "kl_dimension": codes["kl"] / k,
            "posterior_variance": sum(codes["posterior_variance"]) / k,
            "global_mean": (sum(m * m for m in codes["global_mean"]) / k) ** 0.5,
            "global_variance": sum(codes["global_variance"]) / k}


def _features(folder: Path, record: Record) -> list[str]:
    text = f"Features of KID, precision, recall, density and coverage: {record['features']}."
    return [f'<p class="note">{escape(text)}</p>'] if record.get("features") else []


def _table(heading: str, name: str, rows: tuple[Row, ...], said: claims.Said = no_claims, shown: Columns = ABLATION) -> Part:
    return Part(heading, rows, shown, (
        (name, CAPTION),
        (f"{name}_reconstructions", "Training images, each with its reconstruction to the right"),
        (f"{name}_codes", "Every latent dimension of the first trials, test images: its KL, and its posterior variance"),
    ), said, draw=pictures.draw, more=_features if name == "baselines" else None)


def _scoring(task: Task) -> dict[str, object]:
    return {"which": metrics_of(task), "also": ("kid", "prdc", "sharpness", "diversity"),
            "coded": PRESETS[task.study.preset].coded}


PAPER = Paper(
    title="Rivera, How to train your VAE", notes=_notes, data=("lfw", "cifar10"),
    parts={
        "ablation": _table("One change at a time, from the standard ELBO to GAMIX-VAE; and its variance term (IND) left out and "
                           "at 100 times its weight", "ablation", protocol.ABLATION, claims.of_ablation),
        "weights": _table("The weight of the variance term (IND)", "weights", protocol.WEIGHTS, claims.of_weights),
        "dimensions": _table("Latent dimensions", "dimensions", protocol.DIMENSIONS),
        "moments": _table("How the global variance is taken", "moments", protocol.MOMENTS),
        "norms": _table("What the networks are normalised by", "norms", protocol.NORMS),
        "latent": Part("Two coordinates of a code", columns=paths.COLUMNS["latent"], run=paths.run, figures=(
            ("latent", f"Three test images, 3x3 each: the two coordinates of largest KL at -{paths.SIGMAS:g}, 0 and "
             f"{paths.SIGMAS:g} posterior standard deviations, the first down, the second across"),)),
        "interpolate": Part("Interpolations", columns=paths.COLUMNS["interpolate"], run=paths.run, figures=(
            ("interpolate", f"{paths.STEPS} steps on straight lines between the codes of two test images, a pair a row"),)),
        "baselines": _table("Beside other VAEs, and with a second stage", "baselines", protocol.BASELINES, claims.of_baselines,
                            BASELINES),
    },
    settings=lambda training, task: protocol.options(training, task.study.preset, task.train.image_shape[1]),
    samples=lambda preset: PRESETS[preset].samples, scoring=_scoring,
    data_options=lambda part, preset, plain: protocol.data_options(preset, plain().image_shape[1]),
    extra=_codes, real="real images")
