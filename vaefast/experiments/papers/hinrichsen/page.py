"""One page of all that a reproduction has so far, read from its folder."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from vaefast.api.base import versions
from vaefast.experiments.papers import page
from vaefast.experiments.papers.cell import Study
from vaefast.experiments.papers.hinrichsen import claims
from vaefast.experiments.papers.hinrichsen.protocol import FEW, PRESETS, SAMPLES, TABLES
from vaefast.experiments.papers.hinrichsen.tables import COLUMNS
from vaefast.experiments.papers.tables import lines_of
from vaefast.experiments.pictures import html
from vaefast.training.storage import read_object

TITLE = "Hinrichsen, Variational Autoencoders aren't Very Varied (As Generators)"
HEADINGS = {
    "table": "The result table",
    "latents": "Latent dimensions of the VAE of BigGAN-deep's parts",
    "rates": "Learning rates of BigGAN-deep",
    "activation": "ReLU and leaky ReLU",
}
FIGURES = {
    "table": (("table", "First samples of the first trial, not picked, beside real images"),
              ("neighbours", "Samples (first column), each with the training images nearest in the features of FD-classifier or "
               "FD-exemplar: whether a model has learned images by heart")),
    "latents": (("latents", "First samples of the first trial, not picked"),),
    "rates": (("rates_curves", "Distance to test images, and diversity of batches of samples, while training"),
              ("rates", "First samples of the first trial, not picked")),
    "activation": (("activation", "First samples of the first trial, not picked"),),
}
INTERPOLATIONS = (
    ("interpolations", "Between two draws of N(0, I), the same in every model, along great circles"),
    ("reconstructed", "Between the codes of two images that were not trained on, of the models that have an encoder"),
)


def write_page(study: Study) -> Path:
    """report.html, claims.json and claims.md in the study's folder, of every part that is there; returns the page's path."""
    return page.write_page(study, TITLE, _how_to_read(study), TABLES, _data_set, page.claims_by_part(claims.OF))


def _how_to_read(study: Study) -> tuple[str, ...]:
    return (
        f"Preset {study.preset}: {PRESETS[study.preset].about}. {SAMPLES[study.preset]:,} samples against all training images. "
        f"torch {versions()['torch']}, {os.cpu_count()} cores.",
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


def _data_set(folder: Path, parts: page.Parts) -> list[str]:
    note = read_object(folder / "data.json")
    pieces = [f'<p class="note">{escape(note["about"])}</p>'] if note.get("about") else []
    for name, record in parts.items():
        lines = lines_of(record, COLUMNS)
        pieces += [page.heading(HEADINGS[name], record), html.table(lines[0], lines[1:])]
        pieces += page.pictures(folder, FIGURES[name])
    if drawn := page.pictures(folder, INTERPOLATIONS):
        pieces += ["<h3>Interpolations</h3>", *drawn]
    return pieces
