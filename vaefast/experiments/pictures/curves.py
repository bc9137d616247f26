"""The training curves of a run as one picture."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vaefast.errors import ArgumentError
from vaefast.experiments.pictures.figures import COLOURS, even_panels, plain
from vaefast.experiments.scoring.registry import RANKING, name_of
from vaefast.files import write_atomically

# Columns in this order; what else the log holds follows under its own name.
_LATENT_STAGE_GAMMA = "gamma (std, in latent units)"
_TITLES = {
    "loss": "loss (nats per image)",
    "reconstruction": "reconstruction (nats per image)",
    "kl": "KL (nats per image)",
    "gamma": "gamma (std on the [0, 1] scale)",
    "kl_u": "KL of u (nats per image)",
    "gamma_z": _LATENT_STAGE_GAMMA,
    "active_dimensions": "active dimensions",
    "kl_dimensions": "dimensions with a KL above 0.01 nats",
    "kl_largest": "largest KL of a dimension (nats)",
    "posterior_variance": "mean posterior variance",
    **{key: f"{name_of(key)} of samples" for key in RANKING.values()},
    "mutual_information": "mutual information (nats; dashed: log N)",
}
# Where the run was and how fast, not how good.
_COORDINATES = {"stage", "step", "epoch", "seconds", "images_per_second", "memory_mb", "lr", "loss_scale", "time", "share"}
_RARE = {"mutual_information"}
_HELD_OUT = "validation/"


def draw_curves(records: Iterable[Mapping[str, Any]], path: str | os.PathLike[str]) -> Path:
    """Draw one row of small panels a stage, one panel a quantity, against epochs (or steps, where none are logged).

    Args:
        records: log points as in metrics.jsonl: "stage" (str), "step" (int), "epoch" (float), and any numbers by
            name; nats are per image. Values that are not finite leave gaps.
        path: PNG to write.

    Returns:
        The path.

    Raises:
        ArgumentError: no record holds a number to draw. RunFolderError: the folder cannot be written.
    """
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        stages.setdefault(str(record.get("stage", "training")), []).append(record)
    if len(stages) > 1:  # what was fitted at once has one record, which is no curve
        stages = {stage: points for stage, points in stages.items() if len(points) > 1} or stages
    names = {stage: _quantities(points) for stage, points in stages.items()}
    columns = max((len(n) for n in names.values()), default=0)
    if not columns:
        raise ArgumentError("There is nothing to draw: the log holds no numbers beside steps and times.")

    per_row = min(columns, 5)
    rows = [(s, n[i : i + per_row]) for s, n in names.items() for i in range(0, len(n), per_row)]
    figure, grid = even_panels(per_row, len(rows), width=2.9, height=2.35, dpi=110, across=0.66)
    colours = {stage: COLOURS[i % len(COLOURS)] for i, stage in enumerate(stages)}
    for row, (stage, quantities) in enumerate(rows):
        for column, name in enumerate(quantities):
            axes = plain(figure.add_subplot(grid[row, column]))
            _panel(axes, stages[stage], name, _title(stage, name), colours[stage])
            if column == 0:  # at the edge of the figure, however wide the numbers beside the axis are
                box = axes.get_position()
                figure.text(0.1 / figure.get_figwidth(), 0.5 * (box.y0 + box.y1), stage.replace("stage", "stage "), rotation=90,
                            ha="center", va="center", fontsize=11, fontweight="bold", color=colours[stage])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return write_atomically(path, buffer.getvalue())


def _panel(axes: Any, points: list[Mapping[str, Any]], name: str, title: str, colour: str) -> None:
    if name in _RARE:  # measured now and then: a line through those records
        points = [p for p in points if _number(p.get(name))]
    unit = "epoch" if all(_number(p.get("epoch")) for p in points) else "step"
    # what is not logged every time, such as a score, is a line through the times it was
    logged = [(p.get(unit, i), p[name]) for i, p in enumerate(points) if name in p]
    x, y = [a for a, _ in logged], [b if _number(b) else math.nan for _, b in logged]
    axes.plot(x, y, color=colour, linewidth=1.4, marker="o" if len(y) < 12 else None, markersize=3)
    if held_out := [(p.get(unit, i), p[key]) for i, p in enumerate(points) if _number(p.get(key := _HELD_OUT + name))]:
        axes.plot(*zip(*held_out), color="0.25", linewidth=1.1, linestyle=":", marker="o" if len(held_out) < 12 else None,
                  markersize=3, label="held out")
        axes.legend(fontsize=7, frameon=False)
        y += [b for _, b in held_out]
    finite = [v for v in y if v == v]
    if (name.startswith("gamma") or name.startswith("fd_")) and min(finite) > 0 and max(finite) > 5 * min(finite):
        axes.set_yscale("log")
    elif name in ("loss", "reconstruction") and len(finite) > 20:
        # The first steps fall from very far: leave them out, to show where the run is decided.
        low, high = min(finite), max(finite[len(finite) // 20 :])
        margin = 0.06 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
    if _number(ceiling := points[-1].get(f"{name}_ceiling")):
        axes.axhline(ceiling, color="0.6", linewidth=1, linestyle="--")
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(unit, fontsize=8)
    if name in ("active_dimensions", "kl_dimensions"):
        axes.set_ylim(bottom=0)
        axes.yaxis.get_major_locator().set_params(integer=True)


def _quantities(points: list[Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(k for p in points for k, v in p.items() if k.split("/")[-1] not in _COORDINATES
                          and not k.endswith(("_ceiling", "_standard_error")) and _number(v)
                          and k.removeprefix(_HELD_OUT) not in _COORDINATES)
    names = {n: None for n in names if n.removeprefix(_HELD_OUT) == n or n.removeprefix(_HELD_OUT) not in names}
    return [n for n in _TITLES if n in names] + [n for n in names if n not in _TITLES]


def _title(stage: str, name: str) -> str:
    if name == "gamma" and stage == "stage2":
        return _LATENT_STAGE_GAMMA  # the second stage reconstructs latents, not pixels
    return _TITLES.get(name, name.replace("_", " "))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
