"""Pictures of data that are no images, as what they are: curves of sequences, slices of volumes, scatters of vectors."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaefast.experiments.pictures.figures import COLOURS, GREY, blank, even_panels, label, plain
from vaefast.files import write_atomically

SIDE = 4
"""Sequences and volumes a side of a picture."""
POINTS = 1_000
"""Of a scatter."""
PAIRED = 4
"""Most dimensions that are drawn against each other; of more, their two principal components."""
CHANNELS = 4
"""Most channels of a sequence that are drawn."""
SLICES = ("first", "second", "third")


def draw_arrays(path: Path, values: Tensor, beside: Tensor | None = None, *,
                called: tuple[str, str] = ("samples", "data")) -> Path:
    """Draw examples [N, *shape], float, as a PNG, by the rank of their shape.

    Args:
        path: of the picture.
        values: what is drawn. Of a sequence or volume the first 16, of vectors up to 1,000 points.
        beside: examples of the same shape that stand beside them: of sequences in the same panels, of vectors behind the points
            (their principal components are then those of these examples), of volumes in a row below each.
        called: what the two are called.
    """
    rank = values.ndim - 1
    draw = {2: _sequences, 4: _volumes}.get(rank, _vectors)
    values, beside = (None if x is None else x.detach().cpu().float() for x in (values, beside))  # type: ignore[assignment]
    figure = draw(values if rank in (2, 4) else values.flatten(1), beside, called)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return write_atomically(path, buffer.getvalue())


def _sequences(values: Tensor, beside: Tensor | None, called: tuple[str, str]) -> Any:
    rows = min(SIDE, -(-len(values) // SIDE))
    figure, grid = even_panels(SIDE, rows, width=2.4, height=1.8, dpi=100, across=0.5, between=0.5)
    time = np.arange(values.shape[2])
    for i in range(min(len(values), SIDE * rows)):
        axes = plain(figure.add_subplot(grid[i // SIDE, i % SIDE]))
        marker = "." if len(time) == 1 else None
        for channel in range(min(values.shape[1], CHANNELS)):
            colour = COLOURS[channel]
            if beside is not None and i < len(beside):
                axes.plot(time, beside[i, channel].numpy(), color=GREY, linewidth=0.9, linestyle="--", marker=marker)
            axes.plot(time, values[i, channel].numpy(), color=colour, linewidth=1.1, marker=marker)
    title = called[0] if beside is None else f"{called[0]} (colours) and {called[1]} (dashed)"
    figure.suptitle(title, fontsize=10, y=0.995)
    return figure


def _volumes(values: Tensor, beside: Tensor | None, called: tuple[str, str]) -> Any:
    """The three slices through the middle of each, of the first channel, on one scale."""
    sets = [values[:SIDE, 0]] + ([] if beside is None else [beside[:SIDE, 0]])
    low, high = (float(x) for x in torch.cat([x.flatten() for x in sets]).aminmax())
    figure, grid = even_panels(3, len(sets) * len(sets[0]), width=1.9, height=1.9, dpi=100, across=0.25, between=0.3)
    for i in range(len(sets[0])):
        for j, volumes in enumerate(sets):
            for axis in range(3):
                axes = figure.add_subplot(grid[len(sets) * i + j, axis])
                axes.imshow(volumes[i].select(axis, volumes.shape[1 + axis] // 2).numpy(), cmap="gray", vmin=low, vmax=high)
                axes.set_axis_off()
                axes.set_title(f"{called[j] if len(sets) > 1 else called[0]} {i + 1}, across the {SLICES[axis]} axis", fontsize=6)
    return figure


def _vectors(values: Tensor, beside: Tensor | None, called: tuple[str, str]) -> Any:
    dims = values.shape[1]
    real = None if beside is None else beside.flatten(1)
    if dims == 1:
        return _histogram(values[:, 0], None if real is None else real[:, 0], called)
    if dims <= PAIRED:
        pairs, names = [(a, b) for a in range(dims) for b in range(a)], [f"dimension {i}" for i in range(dims)]
    else:
        basis = values if real is None else real
        centre = basis.mean(0)
        directions = torch.linalg.svd((basis - centre)[:10 * POINTS], full_matrices=False)[2][:2]
        values, real = (None if x is None else (x - centre) @ directions.T for x in (values, real))  # type: ignore[assignment]
        pairs, names = [(1, 0)], ["first principal component", "second"]
    figure, grid = even_panels(len(pairs), width=3.6, height=3.4, dpi=110)
    for i, (vertical, horizontal) in enumerate(pairs):
        axes = plain(figure.add_subplot(grid[0, i]))
        for points, colour, name in ((real, GREY, called[1]), (values, COLOURS[0], called[0])):
            if points is not None:
                axes.scatter(points[:POINTS, horizontal], points[:POINTS, vertical], s=5, color=colour, alpha=0.5, linewidths=0,
                             label=name)
        label(axes, "", names[horizontal], names[vertical])
    return figure


def _histogram(values: Tensor, beside: Tensor | None, called: tuple[str, str]) -> Any:
    figure = blank(4.4, 3.4, dpi=110)
    axes = plain(figure.add_subplot())
    everything = values if beside is None else torch.cat([values, beside])
    edges = np.linspace(float(everything.min()), float(everything.max()), 41)
    for points, colour, name in ((beside, GREY, called[1]), (values, COLOURS[0], called[0])):
        if points is not None:
            axes.hist(points.numpy(), bins=edges, density=True, color=colour, alpha=0.5, label=name)
    label(axes, "", "value", "density")
    return figure
