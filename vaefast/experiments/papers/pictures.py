"""Pictures of several trainings side by side, and paths between codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaefast.experiments.papers.cells import curve
from vaefast.experiments.papers.plan import Row
from vaefast.experiments.pictures import figures
from vaefast.experiments.pictures.beside_real import save_beside_real
from vaefast.experiments.pictures.grids import image_grid, in_colour, read_png
from vaefast.experiments.scoring.draws import to_uint8
from vaefast.experiments.scoring.registry import OWN, RANKING, name_of

CAPTION = "First samples of the first trial, not picked, beside real images"
"""What `samples` draws, as a figure's caption."""


def samples(out: Path, runs: Sequence[tuple[Row, Path]], images: Tensor) -> None:
    """OUT: the first samples of every row's run, of its stage, and as many of the training `images` in front of them. Nothing
    without rows."""
    drawn = {row.title: read_png(path / f"samples_stage{row.stage}.png") for row, path in runs}
    if drawn:
        save_beside_real(out, drawn, images)


def training_curves(stem: Path, runs: Mapping[str, Path], against: str = "epoch") -> None:
    """STEM.png and .svg: the distance of samples, and their diversity, while each of the runs trained, as far as it came.

    Nothing is drawn where none has logged them. `against` is the records' "epoch" or "step".
    """
    figure, axes = figures.panels(2)
    titles = {RANKING[name]: f"{name_of(RANKING[name])} of samples" for name in OWN}
    drawn = False
    for i, (title, path) in enumerate(runs.items()):
        if not (path / "metrics.jsonl").is_file():
            continue
        for name, panel in (*((key, axes[0]) for key in titles), ("diversity", axes[1])):
            if points := curve(path, name, against):
                panel.plot(*zip(*points, strict=True), color=figures.COLOURS[i % len(figures.COLOURS)], label=title,
                           marker="." if len(points) < 30 else None)
                drawn = True
                if panel is axes[0]:
                    panel.set_yscale("log")
                    panel.set_title(titles[name], fontsize=10)
    if drawn:
        figures.label(axes[0], axes[0].get_title(), against, "distance")
        figures.label(axes[1], "diversity", against, "of the real images' deviation")
        figures.save_figure(figure, stem)


@torch.no_grad()
def decoded(model: Any, codes: Tensor) -> Any:
    """Codes [rows, columns, k] as a picture of the images that the model decodes them to."""
    return in_colour(image_grid(to_uint8(model.decode(codes.flatten(0, 1))), codes.shape[0], codes.shape[1]))


def spread_pairs(images: Tensor, pairs: int) -> tuple[Tensor, Tensor]:
    """Two times `pairs` images [N, C, H, W], spread over the set, to go from one to the other."""
    chosen = images[torch.linspace(0, len(images) - 1, 2 * pairs).long().clamp(max=len(images) - 1)]
    return chosen[:pairs], chosen[pairs:]


def straight_line(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Codes from a to b [N, k] along straight lines, [N, steps, k], both ends included."""
    t = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device).view(1, -1, 1)
    return a[:, None] + t * (b - a)[:, None]


def great_circle(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Codes from a to b [N, k] along great circles, [N, steps, k], both ends included; lengths change evenly.

    Straight lines between two draws of a k-dimensional N(0, I) pass where there are hardly any draws (White 2016, "Sampling
    Generative Networks").
    """
    t = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device).view(1, -1, 1)
    length_a, length_b = (x.norm(dim=1, keepdim=True).clamp(min=1e-12) for x in (a, b))
    unit_a, unit_b = (a / length_a)[:, None], (b / length_b)[:, None]
    angle = (unit_a * unit_b).sum(2, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    apart = sine.abs() > 1e-4  # else the line is as good, or no great circle is the shortest
    safe = torch.where(apart, sine, torch.ones_like(sine))
    arc = ((1 - t) * angle).sin() / safe * unit_a + (t * angle).sin() / safe * unit_b
    line = (1 - t) * unit_a + t * unit_b
    return torch.where(apart, arc, line) * ((1 - t) * length_a[:, None] + t * length_b[:, None])
