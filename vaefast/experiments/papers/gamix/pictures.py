"""The figures of the tables: samples and reconstructions side by side, and every dimension's KL and posterior variance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vaefast.data import ImageSet
from vaefast.experiments.papers import pictures as shared
from vaefast.experiments.papers.cell import Row, Study
from vaefast.experiments.papers.gamix.cell import folder
from vaefast.experiments.pictures import figures
from vaefast.experiments.pictures.grids import read_png, save_png, side_by_side
from vaefast.training.storage import read_object

LEAST = 1e-8
"""Variances and KLs below are drawn there."""


def draw(study: Study, part: str, data_name: str, rows: Sequence[Row], train: ImageSet) -> None:
    """PART.png, PART_reconstructions.png and PART_codes.png, of every row's first trial."""
    stem = study.out / data_name / part
    found = shared.first_models(rows, lambda training: folder(study, data_name, training))
    if not found:
        return
    shared.samples(stem.with_name(f"{part}.png"), found, train)
    first = [(row, path) for row, path in found if row.stage == 1]
    again = {row.title: read_png(path / "reconstructions.png") for row, path in first}
    save_png(stem.with_name(f"{part}_reconstructions.png"), side_by_side(list(again.values()), list(again), cols=2))
    _codes(stem.with_name(f"{part}_codes"), first)


def _codes(stem: Path, found: Sequence[tuple[Row, Path]]) -> None:
    """KL and mean posterior variance of every dimension of every model, each sorted."""
    figure, axes = figures.panels(2, width=5.2, height=4.2)
    for i, (row, path) in enumerate(found):
        codes = read_object(path / "latents.json")
        style = {"color": figures.COLOURS[i % len(figures.COLOURS)], "linestyle": ("-", "--")[i // len(figures.COLOURS)]}
        for panel, key, reverse in zip(axes, ("kl_per_dimension", "posterior_variance"), (True, False), strict=True):
            values = sorted((max(value, LEAST) for value in codes[key]), reverse=reverse)
            panel.plot(range(1, len(values) + 1), values, label=row.title if panel is axes[0] else None, **style)
            panel.set_yscale("log")
    axes[1].axhline(1.0, color=figures.GREY, linewidth=0.8)
    figures.label(axes[0], "KL to N(0, 1), test images", "dimension, by its KL", "nats", legend="lower left")
    figures.label(axes[1], "posterior variance (grey: a dimension that is not used)", "dimension, by its variance",
                  "mean over test images")
    figures.save_figure(figure, stem)
