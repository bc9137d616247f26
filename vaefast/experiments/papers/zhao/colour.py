"""Figure 5's experiment in colour: VAEs with PixelCNN++ decoders, with and without a regulariser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.zhao import pixels
from vaefast.experiments.papers.zhao.protocol import PRESETS
from vaefast.experiments.pictures.beside_real import save_beside_real
from vaefast.experiments.pictures.grids import read_png, save_png, side_by_side
from vaefast.experiments.run import GRID
from vaefast.experiments.scoring.registry import name_of

COLUMNS = (
    ("information", "MI, nats"),
    ("ceiling", "its ceiling log N"),
    ("bits", "loss, bits a dimension of test images"),
    ("fd_ancestral", f"{name_of('fd_classifier')}, ancestral"),
    ("fd_chain", f"{name_of('fd_classifier')}, chain"),
    ("minutes", "minutes of training"),
)


def run(task: Task, models: Sequence[str] | None) -> None:
    """Train and score the rows; fig5-colour.json, .csv, .md and the pictures."""
    pixels.train_and_score(task, models, PRESETS[task.study.preset].colour, table, COLUMNS)
    _draw(task)


def table(task: Task) -> dict[str, Any]:
    """The rows over all trials that are finished; and real images that were not trained on."""
    def values(scores: dict[str, Any]) -> dict[str, float]:
        found = pixels.values_of(scores)
        return {**found, "bits": found["loss_test"] / math.log(2)}

    return pixels.table_of(task, task.part.rows, COLUMNS, values)


def _draw(task: Task) -> None:
    """fig5-colour.png: the curves; _samples.png: ancestral and chain samples beside real images; _chains.png: step by step."""
    done = task.first_models()
    if not done:
        return
    pixels.curves(task.out, [(row.name, row.title, path) for row, path in done], "bits a dimension",
                  1 / (task.train.images[0].numel() * math.log(2)))
    save_beside_real(task.out.with_name(f"{task.name}_samples.png"), pixels.panels(done), task.train.images, (GRID, GRID), cols=3)
    chains = {row.title: read_png(path / "chain_steps.png") for row, path in done}
    save_png(task.out.with_name(f"{task.name}_chains.png"), side_by_side(list(chains.values()), list(chains), cols=2))
