"""The network behind `fd_exemplar`: features of a data set without labels, learned from the data set alone.

Every one of some training images is a class of its own, and a small network learns to name it in views that are shifted, scaled,
turned and recoloured (Dosovitskiy et al., "Discriminative Unsupervised Feature Learning with Convolutional Neural Networks",
NIPS 2014). Distances in self-supervised features rank generators of faces, which ImageNet's classes know nothing of, at least
as well as the FID (Morozov, Voynov, Babenko, ICLR 2021). The number is called `fd_exemplar`; two of them compare only when
data set and `EXEMPLAR_RECIPE` are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ArgumentError, DataError
from ..pixel_values import as_unit
from .classifier import FeatureClassifier, fit_classifier

EXEMPLAR_RECIPE = "exemplar128-v1"
EXEMPLARS = 1000

_STEPS = 600
_LEAST_STEPS = 10  # that the schedule takes
_SCALE = (0.75, 1.0)  # of the side of the part that is seen
_TURN = math.radians(12)
_COLOUR = 0.25  # largest relative change of brightness, contrast and saturation


def train_exemplar_network(
    images: Tensor,
    *,
    seed: int = 0,
    steps: int | None = None,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> FeatureClassifier:
    """Train the network whose features `fd_exemplar` uses.

    About a minute for 45x45 images on one CPU core. One machine with one thread count gives the same weights every time.

    Args:
        images: uint8 [N, C, H, W], height and width from 28 to 64, N >= 2. 1,000 of them, spread over the set, are the classes;
            all, where there are fewer.
        seed, device, progress: as for `train_classifier`.
        steps: batches of 128 views; None is the recipe's 600.

    Returns:
        A classifier of the exemplars in evaluation mode. `info["test_accuracy"]` is the share of new views of the exemplars
        that it names rightly.

    Raises:
        DataError: fewer than two images. ArgumentError: another dtype or shape, steps < 10.
    """
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ArgumentError(f"Images must be uint8 [N, C, H, W], got {images.dtype} {tuple(images.shape)}.")
    if len(images) < 2:
        raise DataError(f"Exemplars need 2 images or more, got {len(images)}.")
    steps = _STEPS if steps is None else steps
    if steps < _LEAST_STEPS:
        raise ArgumentError(f"steps must be at least {_LEAST_STEPS}, got {steps}.")
    count = min(EXEMPLARS, len(images))
    exemplars, labels = images[torch.linspace(0, len(images) - 1, count).long()], torch.arange(count)
    model = fit_classifier(exemplars, labels, steps=steps, seed=seed, device=device, view=view, progress=progress)
    model.info |= {"version": EXEMPLAR_RECIPE, "test_accuracy": _accuracy(model, exemplars, labels, seed + 1)}
    return model


def view(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image [B, C, H, W] (uint8, or float in [0, 1]) seen through a random window and in random colours, floats in [0, 1].

    The generator is the CPU's, so that views are the same on every device.
    """
    x = as_unit(images)
    draws = torch.rand(7, len(x), generator=generator).to(x.device, x.dtype)
    low, high = _SCALE
    scale, turn = low + (high - low) * draws[0], _TURN * (2 * draws[1] - 1)
    shift_x, shift_y = ((1 - scale) * (2 * draw - 1) for draw in draws[2:4])
    matrix = torch.stack([torch.stack([scale * turn.cos(), -scale * turn.sin(), shift_x], 1),
                          torch.stack([scale * turn.sin(), scale * turn.cos(), shift_y], 1)], 1)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    brightness, contrast, saturation = (1 + _COLOUR * (2 * draw - 1).view(-1, 1, 1, 1) for draw in draws[4:7])
    grey = x.mean(1, keepdim=True)
    x = grey + saturation * (x - grey)
    middle = x.mean((1, 2, 3), keepdim=True)
    seen: Tensor = (brightness * (middle + contrast * (x - middle))).clamp_(0, 1)
    return seen


@torch.no_grad()
def _accuracy(model: FeatureClassifier, exemplars: Tensor, labels: Tensor, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    right = sum(int((model(view(x, generator)).argmax(1).cpu() == y).sum())
                for x, y in zip(exemplars.split(500), labels.split(500), strict=True))
    return right / len(exemplars)
