"""Samples beside the training images nearest to them, so that copies are seen."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vaefast.data import to_float
from vaefast.experiments.pictures.grids import image_grid

SAMPLES, NEAREST, COLUMNS = 24, 3, 4
"""So many samples, with so many neighbours each, in so many columns."""
ROWS = 4_000
"""Training images that are compared at a time."""


@torch.no_grad()
def nearest(samples: Tensor, images: Tensor, count: int = NEAREST) -> Tensor:
    """Indices of the images nearest to each sample by the squared error of pixels, nearest first, [S, min(count, N)].

    Args:
        samples, images: [S, C, H, W] and [N, C, H, W], uint8 or float in [0, 1].
    """
    points = to_float(samples).flatten(1)
    least, index = [], []
    for start in range(0, len(images), ROWS):
        distance = torch.cdist(points, to_float(images[start:start + ROWS]).flatten(1))
        best = distance.topk(min(count, distance.shape[1]), largest=False)
        least.append(best.values)
        index.append(start + best.indices)
    kept = torch.cat(least, 1).topk(min(count, len(images)), largest=False).indices
    return torch.cat(index, 1).gather(1, kept)


def nearest_grid(samples: Tensor, images: Tensor) -> np.ndarray:
    """The first samples, each with its nearest images to the right."""
    samples = samples[:SAMPLES].cpu()
    rows = images[nearest(samples, images).flatten()].unflatten(0, (len(samples), -1))
    strips = torch.cat([to_float(samples)[:, None], to_float(rows)], 1)
    return image_grid(strips.permute(0, 2, 3, 1, 4).flatten(3), cols=COLUMNS)
