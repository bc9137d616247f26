"""One page of all that a reproduction has so far, read from its folder."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import Any

from vaefast.api.base import versions
from vaefast.experiments import html
from vaefast.experiments.hinrichsen import claims
from vaefast.experiments.hinrichsen.protocol import FEW, PRESETS, SAMPLES, TABLES
from vaefast.experiments.hinrichsen.tables import COLUMNS
from vaefast.experiments.study.cell import Study
from vaefast.experiments.study.claims import Claim, html_table, judged, markdown
from vaefast.experiments.study.page import calls, pictures
from vaefast.experiments.study.tables import lines_of
from vaefast.files import write_atomically
from vaefast.training.storage import read_object, write_json

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
    body = [f"<h1>{escape(TITLE)}</h1>", *(f'<p class="note">{escape(text)}</p>' for text in _how_to_read(study))]
    found: dict[str, list[dict[str, Any]]] = {}
    for folder in sorted(p for p in study.out.iterdir() if p.is_dir()) if study.out.is_dir() else ():
        parts = {name: record for name in TABLES if (record := read_object(folder / f"{name}.json"))}
        if parts:
            said = judged([claim for name, record in parts.items() for claim in claims.OF[name](record)], study.preset)
            found[folder.name] = [claim.as_dict() for claim in said]
            body.append(html.section(folder.name, _data_set(folder, parts, said)))
    body.append(html.section("Calls", calls(study)))
    write_json(study.out / "claims.json", found)
    write_atomically(study.out / "claims.md", markdown(found).encode())
    return write_atomically(study.out / "report.html", html.page(TITLE, body))


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


def _data_set(folder: Path, parts: dict[str, dict[str, Any]], said: list[Claim]) -> str:
    note = read_object(folder / "data.json")
    pieces = [f'<p class="note">{escape(note["about"])}</p>'] if note.get("about") else []
    for name, record in parts.items():
        trials = f", {record['trials']} trial{'s' * (record['trials'] > 1)}"
        lines = lines_of(record, COLUMNS)
        pieces += [f"<h3>{escape(HEADINGS[name] + trials)}</h3>", html.table(lines[0], lines[1:])]
        pieces += pictures(folder, FIGURES[name])
    if drawn := pictures(folder, INTERPOLATIONS):
        pieces += ["<h3>Interpolations</h3>", *drawn]
    return "".join([*pieces, "<h3>Does it hold here?</h3>", html_table(said)])
