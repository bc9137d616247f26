"""The paper's parts, and the words of its page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaefast.experiments import theory
from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.plan import Paper, Part, Record, Row, Study, Training
from vaefast.experiments.papers.tables import lines_of
from vaefast.experiments.papers.zhao import chains, claims, colour, pixels, protocol, variance
from vaefast.experiments.papers.zhao.protocol import PRESETS
from vaefast.experiments.pictures import html
from vaefast.training.storage import read_object

SMALL = 32
"""Pixels a side: of larger images a PixelCNN++ takes hours."""
_CONDITIONS = {"bias": "as biases that are the same at all pixels", "maps": "as feature maps, which the authors' decoder has not"}


def _notes(study: Study) -> Sequence[str]:
    budget = PRESETS[study.preset]
    pixel, in_colour = budget.pixel, budget.colour
    gated, plus_plus = pixel.decoder, in_colour.decoder
    return (
        f"Preset {study.preset}: {budget.about}.",
        f"Figure 5: images binarised at 0.5, a decoder of {gated['layers']} layers of {gated['width']} maps, which codes reach "
        f"{_CONDITIONS[gated['condition']]}, {pixel.steps:,} batches of {pixel.batch}. Mutual information is estimated from "
        f"{pixel.images:,} training images (all, where there are fewer) and cannot exceed log of their number: a value there "
        "means at least that. The loss is the mean of the last tenth of the training. As in the authors' code it is a mean over "
        "pixels and over latent dimensions, by which the KL weighs 78.4 times what an ELBO of 784 pixels and 10 latent "
        f"dimensions gives it; the row 'ELBO' has the weight that it should have. FD-classifier is a Fréchet distance, of "
        f"{pixel.samples:,} samples to the binarised test images, in the features of "
        f"a classifier of the binarised training images; chains take {pixel.chain} transitions.",
        f"Figure 5's experiment in colour: PixelCNN++ decoders of {plus_plus['blocks']} gated blocks a scale of "
        f"{plus_plus['filters']} maps, dropout {plus_plus['dropout']:g}, {in_colour.steps:,} batches of {in_colour.batch}, from "
        "weights that 80 images set; a true ELBO, as in the authors' code of CIFAR-10, of which there are no logs. Mutual "
        f"information is of {in_colour.images:,} training images, FD-classifier of {in_colour.samples:,} samples; chains take "
        f"{in_colour.chain} transitions.",
        "Figure 2: V(z) is the variance of q(x|z) over the training images, summed over pixels of [0, 1]; the VAE's p(x|z) is "
        "Gaussian with a fixed deviation of 0.3. Neither its network nor its training set is in the paper.",
        "Figures 3 and 4 show what the paper has pictures but no numbers of. Sharpness is the variance of the Laplacian: noise "
        "counts as sharpness, too. Infusion reveals true pixels to its steps, also when it reconstructs; its errors there are no "
        "measure of codes.")


def _settings(training: Training, task: Task) -> dict[str, Any]:
    settings = protocol.options(training, task.study.preset)
    if training.kind == "pixel-vae":
        settings["mi_every"] = protocol.CHECKS * settings["stage_overrides"]["batch_size"] / len(task.train)
    return settings


def _grey(task: Task) -> bool:
    return task.train.image_shape[0] == 1


def _small_in_colour(task: Task) -> bool:
    return not _grey(task) and max(task.train.image_shape[1:]) <= SMALL


def _log(folder: Path, record: Record) -> list[str]:
    """The authors' logs, beside ours."""
    log = read_object(folder / "fig5_log.json")
    if not log:
        return []
    lines = lines_of(log, pixels.LOG_COLUMNS)
    return ["<p>The authors' logs, and the first trial after as many batches:</p>", html.table(lines[0], lines[1:])]


def _propositions(task: Task, models: Sequence[str] | None) -> None:
    study = task.study
    theory.propositions(out=study.out, preset=study.preset, seed=study.seed, device=study.device, say=study.say)


def _steps(name: str, heading: str, rows: tuple[Row, ...], **more: Any) -> Part:
    return Part(heading, rows, chains.columns(rows), (
        (name, "Squared error of reconstructed test images, and sharpness of samples, after each step"),
        (f"{name}_samples", "Samples of the first trial, not picked, one a row: the image after each step, from left to right; "
         "and real images"),
        (f"{name}_reconstructions", "Reconstructions of training images, one a row: after each step, and the image itself"),
    ), run=chains.run, suits=lambda task: not (_grey(task) or _small_in_colour(task)), data=("lfw",), **more)


PAPER = Paper(
    title="Zhao, Song & Ermon, Towards Deeper Understanding of Variational Autoencoding Models", notes=_notes,
    data=("mnist", "lfw", "cifar10"),
    parts={
        "fig2": Part("Figure 2, a VAE of two latent dimensions is blurred where the images that share a code differ",
                     (protocol.MAP,), variance.COLUMNS, (
                         ("fig2", "Over the square of codes: variance V(z) of the training images with code z, the decoder's "
                          "pictures g(z), and the mean m(z) that minimises the error"),),
                     claims.of_map, run=variance.run, suits=_grey, data=("mnist",)),
        "fig3": _steps("fig3", "Figure 3, the Sequential VAE beside infusion", (protocol.SEQUENTIAL, protocol.INFUSION)),
        "fig4": _steps("fig4", "Figure 4, the Sequential VAE step by step", (protocol.SEQUENTIAL,), claims=claims.of_chain),
        "fig5": Part("Figure 5, PixelCNN decoders with and without a regulariser", protocol.PIXEL_ROWS, pixels.COLUMNS, (
            ("fig5", "Mutual information of images and codes, and loss, while training; crosses: the authors' logs, of batches "
             "of 100 and a larger network"),
            ("fig5_samples", "Samples of the first trial, not picked. Ancestral: codes of N(0, I). Chain: from uniform noise, z "
             "drawn from q(z|x) and x from p(x|z) in turn"),
            ("fig5_chains", "Chains, one a row: the noise, and the image after each transition")),
                     claims.of_pixels, run=pixels.run, more=_log, suits=_grey, data=("mnist",)),
        "fig5-colour": Part("Figure 5's experiment in colour, PixelCNN++ decoders", protocol.COLOUR_ROWS, colour.COLUMNS, (
            ("fig5-colour", "Mutual information of images and codes, and loss, while training"),
            ("fig5-colour_samples", "Samples of the first trial, not picked. Ancestral: codes of N(0, I). Chain: from uniform "
             "noise, z drawn from q(z|x) and x from p(x|z) in turn; and real images"),
            ("fig5-colour_chains", "Chains, one a row: the noise, and the image after each transition")),
                            claims.of_colour, run=colour.run, suits=_small_in_colour, data=("cifar10",)),
        "propositions": Part("The propositions, on random discrete models", run=_propositions, once=True,
                             claims=claims.of_propositions),
    },
    settings=_settings, samples=lambda preset: 0,
    data_options=lambda part, preset, plain: protocol.data_options(part, preset), about_data=False, may_diverge=False)
