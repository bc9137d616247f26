"""What a sweep's settings draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vaefast.experiments.pictures.beside_real import save_beside_real
from vaefast.experiments.pictures.grids import read_png
from vaefast.experiments.sweep.table import HEADINGS


def draw_samples(out: Path, rows: Sequence[dict[str, Any]], metric: str, images: Tensor) -> None:
    """OUT/samples.png: samples of the last stage of setting-000 (the authors', or the preset's) and of the best one, beside
    real images.

    Args:
        out: the sweep's folder.
        rows: of `setting_rows`, best first.
        images: of the training set, uint8 [N, C, H, W].
    """
    drawn = {}
    for row in reversed(rows):
        pictures = sorted((out / row["name"]).glob("samples_stage*.png"))
        if row["score"] is not None and pictures and (row["name"] == "setting-000" or row is rows[0]):
            drawn[f"{row['name']}: {HEADINGS[metric]} {row['score']:.4g}"] = read_png(pictures[-1])
    if drawn:
        save_beside_real(out / "samples.png", drawn, images)
