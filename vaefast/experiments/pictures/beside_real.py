"""What was drawn, beside images of the training set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vaefast.experiments.pictures.grids import image_grid, in_colour, save_png, side_by_side
from vaefast.experiments.run import GRID
from vaefast.experiments.scoring.codes import spread_over


def save_beside_real(out: Path, drawn: Mapping[str, Any], images: Tensor, grid: tuple[int, int] = (GRID, GRID),
                     cols: int = 3) -> None:
    """OUT: pictures by title, each a `grid` of rows and columns, and in front of them as many of the `images` [N, C, H, W]."""
    rows, columns = grid
    real = in_colour(image_grid(spread_over(images, rows * columns), rows, columns))
    save_png(out, side_by_side([real, *drawn.values()], ["real images", *drawn], cols=cols))
