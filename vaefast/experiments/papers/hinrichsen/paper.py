"""The paper's parts, and the words of its page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaefast.experiments.papers.cells import curve, metrics_of
from vaefast.experiments.papers.hinrichsen import claims, pictures, protocol
from vaefast.experiments.papers.hinrichsen.printed import DATA, TABLE
from vaefast.experiments.papers.hinrichsen.protocol import FEW, PRESETS, SAMPLES
from vaefast.experiments.papers.pictures import CAPTION
from vaefast.experiments.papers.plan import Paper, Part, Row, Study
from vaefast.experiments.papers.tables import printed
from vaefast.experiments.scoring.registry import columns

COLUMNS = (
    ("paper_is", "IS in the paper"),
    ("paper_fid", "FID in the paper"),
    *columns("fid", f"inception_score_{FEW}", "inception_score", "fd_classifier", f"is_classifier_{FEW}", "is_classifier",
             "fd_exemplar", f"is_exemplar_{FEW}", "is_exemplar"),
    ("reconstruction_error", "squared error a pixel"),
    ("diversity", "diversity"),
    ("minutes", "minutes of training"),
)
"""Key of a row's value, and its heading. Those of the paper were not measured here."""


def _notes(study: Study) -> Sequence[str]:
    return (
        f"Preset {study.preset}: {PRESETS[study.preset].about}. {SAMPLES[study.preset]:,} samples against all training images.",
        "The paper states neither the samples nor the network of its FID; 10,000 samples against the training images are the "
        f"choice here. Its Inception scores are of {FEW} samples in 10 splits, in torchvision's network; here they are in the "
        "network of 2015, which FID is defined by, so that they compare among themselves and only roughly with the paper's. "
        "Where the Inception weights were not at hand (and in a smoke run, unless they were named) there is neither: "
        "FD-classifier and IS-classifier are the same formulas in a small classifier of the data set's own labels, "
        "FD-exemplar and IS-exemplar in a small network that learned to tell 1,000 of the data set's images apart. No number "
        "of the paper compares with these; orderings do.",
        "LFW is parted by person here; the paper's code trains on 12,943 faces and holds out 200. Its code also restricts "
        "CIFAR-10 to two classes (--data-option classes=1,7 --data-option held_out=520), which the paper does not say. "
        "Diversity is the deviation of generated images over a batch, of that of real ones, at the end of training. Every "
        "claim rests on as many trials as its table says: with one there is no telling how much of a difference is chance.")


def _printed(part: str, row: Row, data: str) -> dict[str, Any]:
    in_table = TABLE.get(data, {}).get(row.name) if part == "table" else None
    return {"paper_is": printed((in_table.inception_score, None) if in_table else None),
            "paper_fid": printed((in_table.fid, None) if in_table else None)}


def _diversity(path: Path) -> dict[str, float]:
    """The generated images' deviation over a batch, of the real ones', as a GAN's run logged it last."""
    logged = curve(path, "diversity")
    return {"diversity": logged[-1][1]} if logged else {}


PAPER = Paper(
    title="Hinrichsen, Variational Autoencoders aren't Very Varied (As Generators)", notes=_notes, data=("cifar10", "lfw"),
    parts={
        "table": Part("The result table", protocol.MAIN, COLUMNS, (
            ("table", CAPTION),
            ("neighbours", "Samples (first column), each with the training images nearest in the features of FD-classifier or "
             "FD-exemplar: whether a model has learned images by heart")), claims.of_table, draw=pictures.neighbours),
        "latents": Part("Latent dimensions of the VAE of BigGAN-deep's parts", protocol.LATENT_ROWS, COLUMNS,
                        (("latents", CAPTION),), claims.of_latents, suits=lambda task: task.data == "lfw",  # as in the paper
                        data=("lfw",)),
        "rates": Part("Learning rates of BigGAN-deep", protocol.RATE_ROWS, COLUMNS, (
            ("rates_curves", "Distance to test images, and diversity of batches of samples, while training"),
            ("rates", CAPTION)), claims.of_rates, draw=pictures.training_curves),
        "activation": Part("ReLU and leaky ReLU", protocol.ACTIVATION_ROWS, COLUMNS, (("activation", CAPTION),),
                           claims.of_activation),
        "optimizers": Part("Adam, RMSprop and SGD", protocol.OPTIMIZER_ROWS, COLUMNS, (
            ("optimizers_curves", "The GANs' distance to test images, and diversity of batches of samples, while training"),
            ("optimizers", CAPTION)), claims.of_optimizers, draw=pictures.training_curves),
        "blocks": Part("More residual blocks of BigGAN", protocol.BLOCK_ROWS, COLUMNS, (("blocks", CAPTION),), claims.of_blocks),
        "own": Part("Hinrichsen's other VAE, of his repository Variational-Autoencoder-VAE-", protocol.OWN_ROWS, COLUMNS,
                    (("own", CAPTION),), suits=lambda task: task.data == "lfw"),  # its networks are for sides of 32 to 64
        "interpolations": Part(run=pictures.interpolations),
    },
    loose=("Interpolations", (
        ("interpolations", "Between two draws of N(0, I), the same in every model, along great circles"),
        ("reconstructed", "Between the codes of two images that were not trained on, of the models that have an encoder"))),
    settings=lambda training, task: protocol.options(training, task.study.preset, task.data),
    samples=lambda preset: SAMPLES[preset],
    scoring=lambda task: {"which": metrics_of(task), "against": "train", "first": (FEW,)},
    data_options=lambda part, preset, plain: protocol.data_options(preset),
    load_as=DATA, printed=_printed, extra=_diversity, real="real images that were not trained on")
