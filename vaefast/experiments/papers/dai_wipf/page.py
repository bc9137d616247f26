"""One page of all that a reproduction has so far, read from its folder."""

from __future__ import annotations

import os
from pathlib import Path

from vaefast.api.base import versions
from vaefast.experiments.papers import page
from vaefast.experiments.papers.cell import Study
from vaefast.experiments.papers.claims import Claim
from vaefast.experiments.papers.dai_wipf import claims
from vaefast.experiments.papers.dai_wipf.protocol import SAMPLES
from vaefast.experiments.papers.dai_wipf.tables import COLUMNS
from vaefast.experiments.papers.tables import lines_of
from vaefast.experiments.pictures import html
from vaefast.training.storage import read_object

TITLE = "Dai & Wipf, Diagnosing and Enhancing VAE Models"
_HEADINGS = {
    "table1": "Table 1, neutral networks", "table2": "Table 2, networks of the WAE paper", "table3": "Table 3, MMD² to N(0, I)",
    "fig1a": "Figure 1a, gamma while training", "fig1b": "Figure 1b, posterior eigenvalues", "fig2": "Figure 2, singular values",
}
_PRESETS = {
    "smoke": "a run of minutes that shows that every part works; its numbers mean nothing",
    "quick": "minutes on a CPU for each row (an hour for a GAN): 16 latent dimensions and gamma in closed form, where "
    "the paper has 64 and a trained gamma; its orderings can be compared with the paper's, its numbers cannot",
    "paper": "the published budgets and settings",
}


def write_page(study: Study) -> Path:
    """report.html, claims.json and claims.md in the study's folder, of every part that is there; returns the page's path."""
    others = {}
    if manifolds := read_object(study.out / "manifolds.json"):
        pieces = page.pictures(study.out, [("manifolds", "Active dimensions, loss and KL on data of known dimension r")])
        others["manifolds"] = page.Section("Manifolds of known dimension", pieces, claims.of_manifolds(manifolds))
    return page.write_page(study, TITLE, [_how_to_read(study)], _HEADINGS, _data_set, _claims, others)


def _how_to_read(study: Study) -> str:
    return (
        f"Preset {study.preset}: {_PRESETS[study.preset]}. {SAMPLES[study.preset]:,} samples against as many test "
        "images (all, where there are fewer). FD-classifier is a Fréchet distance in the features of a classifier "
        "trained on each data set's own labels; it is not the FID, and no number of the paper compares with it. FID is given "
        "where the 2015 Inception weights were at hand; it compares with the paper's where the samples are 10,000 and the data "
        "are the paper's, but for the resize to 299x299 and for the contrast of generated images, which the authors' code "
        f"stretches. torch {versions()['torch']}, {os.cpu_count()} cores.")


def _data_set(folder: Path, parts: page.Parts) -> list[str]:
    pieces = []
    for name, record in parts.items():
        pieces.append(page.heading(_HEADINGS[name], record))
        shown = [(name, _HEADINGS[name])]
        if name in ("table1", "table2"):
            lines = lines_of(record, COLUMNS)
            pieces.append(html.table(lines[0], lines[1:]))
            shown = [(name, "First samples of the first trial, not picked"),
                     (f"{name}_curves", "The GANs while they trained: distance of samples, and diversity of batches of them")]
        pieces += page.pictures(folder, shown)
    return pieces


def _claims(parts: page.Parts) -> list[Claim]:
    found: list[Claim] = []
    if "table1" in parts:
        found += claims.of_table1(parts["table1"])
    if "table3" in parts and "fig2" in parts:
        found += claims.of_latents(parts["table3"], parts["fig2"])
    if "fig1a" in parts:
        found += claims.of_gamma(parts["fig1a"])
    if "fig1b" in parts:
        found += claims.of_eigenvalues(parts["fig1b"])
    return found
