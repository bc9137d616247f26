"""The figures of the tables: reconstructions side by side, and every dimension's KL and posterior variance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.plan import Row
from vaefast.experiments.pictures import figures
from vaefast.experiments.pictures.grids import read_png, save_png, side_by_side
from vaefast.training.storage import read_object

LEAST = 1e-8
"""Variances and KLs below are drawn there."""


def draw(task: Task) -> None:
    """PART_reconstructions.png and PART_codes.png, of every row's first trial."""
    first = [(row, path) for row, path in task.first_models() if row.stage == 1]
    if first:
        again = {row.title: read_png(path / "reconstructions.png") for row, path in first}
        save_png(task.out.with_name(f"{task.name}_reconstructions.png"), side_by_side(list(again.values()), list(again), cols=2))
        _codes(task.out.with_name(f"{task.name}_codes"), first)


def _codes(stem: Path, runs: Sequence[tuple[Row, Path]]) -> None:
    """KL and mean posterior variance of every dimension of every model, each sorted."""
    figure, axes = figures.panels(2, width=5.2, height=4.2)
    for i, (row, path) in enumerate(runs):
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
