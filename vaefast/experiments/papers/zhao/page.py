"""One page of all that a reproduction has so far, read from its folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vaefast.api.base import versions
from vaefast.experiments.papers import page
from vaefast.experiments.papers.cell import Study
from vaefast.experiments.papers.tables import lines_of
from vaefast.experiments.papers.zhao import chains, claims, pixels, variance
from vaefast.experiments.papers.zhao.protocol import PRESETS, ROWS
from vaefast.experiments.pictures import html
from vaefast.training.storage import read_object

TITLE = "Zhao, Song & Ermon, Towards Deeper Understanding of Variational Autoencoding Models"
HEADINGS = {
    "fig2": "Figure 2, a VAE of two latent dimensions is blurred where the images that share a code differ",
    "fig3": "Figure 3, the Sequential VAE beside infusion",
    "fig4": "Figure 4, the Sequential VAE step by step",
    "fig5": "Figure 5, PixelCNN decoders with and without a regulariser",
}
COLUMNS = {"fig2": variance.COLUMNS, "fig3": chains.columns(ROWS["fig3"]), "fig4": chains.columns(ROWS["fig4"]),
           "fig5": pixels.COLUMNS}
_STEPS = (("", "Squared error of reconstructed test images, and sharpness of samples, after each step"),
          ("_samples", "Samples of the first trial, not picked, one a row: the image after each step, from left to right"),
          ("_reconstructions", "Reconstructions of training images, one a row: after each step, and the image itself"))
FIGURES = {
    "fig2": (("fig2", "Over the square of codes: variance V(z) of the training images with code z, the decoder's pictures g(z), "
              "and the mean m(z) that minimises the error"),),
    **{part: tuple((part + name, caption) for name, caption in _STEPS) for part in ("fig3", "fig4")},
    "fig5": (("fig5", "Mutual information of images and codes, and loss, while training; crosses: the authors' logs, of batches "
              "of 100 and a larger network"),
             ("fig5_samples", "Samples of the first trial, not picked. Ancestral: codes of N(0, I). Chain: from uniform noise, z "
              "drawn from q(z|x) and x from p(x|z) in turn"),
             ("fig5_chains", "Chains, one a row: the noise, and the image after each transition")),
}


_CONDITIONS = {"bias": "as biases that are the same at all pixels", "maps": "as feature maps, which the authors' decoder has not"}


def write_page(study: Study) -> Path:
    """report.html, claims.json and claims.md in the study's folder, of every part that is there; returns the page's path."""
    return page.write_page(study, TITLE, _how_to_read(study), HEADINGS, _data_set, page.claims_by_part(claims.OF))


def _data_set(folder: Path, parts: page.Parts) -> list[str]:
    return [piece for name, record in parts.items() for piece in _part(folder, name, record)]


def _part(folder: Path, name: str, record: dict[str, Any]) -> list[str]:
    lines = lines_of(record, COLUMNS[name])
    pieces = [page.heading(HEADINGS[name], record), html.table(lines[0], lines[1:])]
    if log := read_object(folder / f"{name}_log.json"):
        lines = lines_of(log, pixels.LOG_COLUMNS)
        pieces += ["<p>The authors' logs, and the first trial after as many batches:</p>", html.table(lines[0], lines[1:])]
    return [*pieces, *page.pictures(folder, FIGURES[name])]


def _how_to_read(study: Study) -> tuple[str, ...]:
    budget = PRESETS[study.preset]
    pixel = budget.pixel
    return (
        f"Preset {study.preset}: {budget.about}. torch {versions()['torch']}, {os.cpu_count()} cores.",
        f"Figure 5: images binarised at 0.5, a decoder of {pixel.layers} layers of {pixel.width} maps, which codes reach "
        f"{_CONDITIONS[pixel.condition]}, {pixel.steps:,} batches of {pixel.batch}. Mutual information is estimated from "
        f"{pixel.images:,} training images (all, where there are fewer) and cannot exceed log of their number: a value there "
        "means at least that. The loss is the mean of the last tenth of the training. As in the authors' code it is a mean over "
        "pixels and over latent dimensions, by which the KL weighs 78.4 times what an ELBO of 784 pixels and 10 latent "
        f"dimensions gives it; the row 'ELBO' has the weight that it should have. FD-classifier is a Fréchet distance, of "
        f"{pixel.samples:,} samples to the binarised test images, in the features of "
        f"a classifier of the binarised training images; chains take {pixel.chain} transitions.",
        "Figure 2: V(z) is the variance of q(x|z) over the training images, summed over pixels of [0, 1]; the VAE's p(x|z) is "
        "Gaussian with a fixed deviation of 0.3. Neither its network nor its training set is in the paper.",
        "Figures 3 and 4 show what the paper has pictures but no numbers of. Sharpness is the variance of the Laplacian: noise "
        "counts as sharpness, too. Infusion reveals true pixels to its steps, also when it reconstructs; its errors there are no "
        "measure of codes.")
