"""Classes that samples are asked to be of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaefast.errors import ArgumentError, DataError


def as_classes(condition: Any, n: int, classes: int, device: torch.device, name: str = "condition") -> Tensor | None:
    """The class of each of n samples, int64 [n]: of one class for all, or of n of them; None stays None. `name` is what the door
    calls them.

    Raises:
        ArgumentError: the model knows no classes, or they are not whole numbers from 0 to classes - 1, one or n.
    """
    if condition is None:
        return None
    if not classes:
        raise ArgumentError(f"{name} is {_short(condition)}, but this model knows no classes: build it with classes=N, and "
                            "fit it to data with labels.")
    try:
        chosen = torch.as_tensor(condition if isinstance(condition, Tensor) else np.asarray(condition), device=device)
    except (TypeError, ValueError, RuntimeError):
        chosen = torch.empty(0, dtype=torch.double)
    whole = not (chosen.is_floating_point() or chosen.is_complex() or chosen.dtype == torch.bool)
    if not whole or chosen.ndim > 1 or (chosen.ndim == 1 and len(chosen) != n):
        raise ArgumentError(f"{name} is {_short(condition)}; expected a class from 0 to {classes - 1}, or {n} of them, one a "
                            "sample.")
    chosen = chosen.long()
    if chosen.numel() and not 0 <= int(chosen.min()) <= int(chosen.max()) < classes:
        raise ArgumentError(f"{name} holds the classes {int(chosen.min())} to {int(chosen.max())}; this model knows 0 to "
                            f"{classes - 1}.")
    return chosen.expand(n)


def drawn_by(shares: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """n indices drawn by their shares [K], int64 [n]."""
    if not n:
        return torch.empty(0, dtype=torch.long, device=shares.device)
    return torch.multinomial(shares, n, replacement=True, generator=generator)


def checked_labels(labels: Tensor | None, classes: int, name: str) -> Tensor:
    """The labels of the data called `name`, for a model of so many classes.

    Raises:
        DataError: there are none, or others than 0 to classes - 1.
    """
    if labels is None:
        raise DataError(no_labels(classes, name))
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(f"the labels of {name} go from {low} to {high}; this model has classes={classes}, for labels from 0 to "
                        f"{classes - 1}.")
    return labels


def no_labels(classes: int, name: str) -> str:
    """The sentence for data called `name` that have no labels, for a model of so many classes."""
    return (f"this model is conditioned on {classes} classes, but {name} has no labels; give them, or build it with "
            "classes=None.")


def _short(condition: Any) -> str:
    text = repr(condition)
    return text if len(text) < 60 else f"{text[:57]}..."
