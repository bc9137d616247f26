"""One page of all that a reproduction has so far, read from its folder."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from vaefast.api.base import versions
from vaefast.experiments.papers import page
from vaefast.experiments.papers.cell import Study
from vaefast.experiments.papers.gamix import claims, paths, tables
from vaefast.experiments.papers.gamix.protocol import PRESETS
from vaefast.experiments.papers.tables import lines_of
from vaefast.experiments.pictures import html
from vaefast.training.storage import read_object

TITLE = "Rivera, How to train your VAE"
HEADINGS = {
    "ablation": "One change at a time, from the standard ELBO to GAMIX-VAE; and its variance term (IND) left out and at 100 "
    "times its weight",
    "weights": "The weight of the variance term (IND)",
    "dimensions": "Latent dimensions",
    "moments": "How the global variance is taken",
    "latent": "Two coordinates of a code",
    "interpolate": "Interpolations",
    "baselines": "Beside other VAEs, and with a second stage",
}
COLUMNS = {**tables.COLUMNS, **paths.COLUMNS}
_OF_TABLES = (
    ("", "First samples of the first trial, not picked, beside real images"),
    ("_reconstructions", "Training images, each with its reconstruction to the right"),
    ("_codes", "Every latent dimension of the first trials, test images: its KL, and its posterior variance"),
)
FIGURES = {
    **{part: tuple((part + name, caption) for name, caption in _OF_TABLES) for part in tables.COLUMNS},
    "latent": (("latent", f"Three test images, 3x3 each: the two coordinates of largest KL at -{paths.SIGMAS:g}, 0 and "
                f"{paths.SIGMAS:g} posterior standard deviations, the first down, the second across"),),
    "interpolate": (("interpolate", f"{paths.STEPS} steps on straight lines between the codes of two test images, a pair a "
                     "row"),),
}


def write_page(study: Study) -> Path:
    """report.html, claims.json and claims.md in the study's folder, of every part that is there; returns the page's path."""
    return page.write_page(study, TITLE, _how_to_read(study), HEADINGS, _data_set, page.claims_by_part(claims.OF))


def _data_set(folder: Path, parts: page.Parts) -> list[str]:
    note = read_object(folder / "data.json")
    pieces = [f'<p class="note">{escape(note["about"])}</p>'] if note.get("about") else []
    for name, record in parts.items():
        lines = lines_of(record, COLUMNS[name])
        pieces += [page.heading(HEADINGS[name], record), html.table(lines[0], lines[1:])]
        if name == "baselines" and record.get("features"):
            text = f"Features of KID, precision, recall, density and coverage: {record['features']}."
            pieces.append(f'<p class="note">{escape(text)}</p>')
        pieces += page.pictures(folder, FIGURES[name])
    return pieces


def _how_to_read(study: Study) -> tuple[str, ...]:
    budget = PRESETS[study.preset]
    return (
        f"Preset {study.preset}: {budget.about}. {budget.samples:,} samples against as many test images (all, where there are "
        f"fewer). torch {versions()['torch']}, {os.cpu_count()} cores.",
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
