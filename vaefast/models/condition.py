"""What models are conditioned on: classes, or vectors of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaefast.errors import ArgumentError, DataError
from vaefast.models.latents import plain_array
from vaefast.torch_private import has_values


def is_conditional(model: Any) -> bool:
    """Whether a model's networks are told a condition: it has `classes` or `condition_dim`."""
    return bool(getattr(model, "classes", 0) or getattr(model, "condition_dim", 0))


def look_at_conditions(model: Any, labels: Tensor | None) -> None:
    """Take what a model knows of its conditions from the training data's: the shares of classes, or the units of vectors."""
    if getattr(model, "condition_dim", 0):
        model.condition_units.fit(labels)
    elif getattr(model, "classes", 0) and labels is not None:
        model.shares.copy_(torch.bincount(labels, minlength=model.classes) / len(labels))


def as_condition(model: Any, condition: Any, n: int) -> Tensor | None:
    """What each of n examples is conditioned on, of one for all or of n of them: classes, int64 [n], or vectors, float [n, d], as
    the model has it, and on its device. None stays None.

    Raises:
        ArgumentError, DataError: see `as_classes` and `as_vectors`.
    """
    if condition is None:
        return None
    like = next(model.parameters(), torch.zeros(()))
    if dims := getattr(model, "condition_dim", 0):
        return as_vectors(condition, n, dims, like)
    return as_classes(condition, n, getattr(model, "classes", 0) or 0, like.device)


def as_vectors(condition: Any, n: int, dims: int, like: Tensor, *, each: bool = False) -> Tensor:
    """The vector of each of n examples, float [n, dims]: of one vector for all, unless `each` has to have its own, or of n.

    Raises:
        ArgumentError: another type or shape. DataError: NaN or infinity.
    """
    try:
        given = torch.as_tensor(plain_array(condition), device=like.device)
    except (TypeError, ValueError, RuntimeError):
        given = torch.empty(0)
    if dims == 1 and given.shape == (n,):
        given = given[:, None]
    if given.dtype == torch.bool or given.is_complex() or tuple(given.shape) not in ((n, dims), *([] if each else [(dims,)])):
        wanted = f"{n} vectors of {dims} numbers" if each else f"a vector of {dims} numbers, or {n} of them"
        raise ArgumentError(f"condition is {_short(condition)}; expected {wanted}, [{n}, {dims}].")
    vectors = given.to(torch.promote_types(like.dtype, torch.float32))
    if vectors.numel() and has_values(vectors) and not vectors.isfinite().all():
        row = int((~vectors.view(-1, dims).isfinite().all(1)).nonzero()[0])
        raise DataError(f"row {row} of condition holds NaN or infinity; every number must be finite: leave such examples out.")
    return vectors.expand(n, dims)


def no_condition(model: Any) -> ArgumentError:
    """The error of a model that is not told what it has to be."""
    if dims := getattr(model, "condition_dim", 0):
        return ArgumentError(f"this model is conditioned on vectors of {dims} numbers; give it condition=, one vector for all or "
                             "one an example.")
    return ArgumentError(f"this model is conditioned on {model.classes} classes; give it condition=, a class from 0 to "
                         f"{model.classes - 1} for all or one an example.")


def unknown_condition(condition: Any) -> ArgumentError:
    """The error of a model that is told what it is not conditioned on."""
    return ArgumentError(f"condition is {_short(condition)}, but this model is not conditioned: leave it out, or build one with "
                         "classes=N (or condition_dim=D), such as vaefast.VAE, and fit it to data with labels (or vectors).")


def told(model: Any, condition: Any) -> dict[str, Any]:
    """A condition as an argument of the methods of `model`; nothing, where there is none.

    Raises:
        ArgumentError: the model is not conditioned.
    """
    if condition is None:
        return {}
    if not is_conditional(model):
        raise unknown_condition(condition)
    return {"condition": condition}


def told_each(model: Any, condition: Any, n: int, times: int = 1) -> dict[str, Tensor]:
    """`told`, with what each of n examples is conditioned on, so many times in a row."""
    return {name: each.repeat_interleave(times, 0) for name, given in told(model, condition).items()
            if (each := as_condition(model, given, n)) is not None}


def conditions_for(model: Any, n: int, condition: Any = None, generator: torch.Generator | None = None) -> Tensor | None:
    """What each of n samples is conditioned on: `condition` (one for all, or n of them); None: of classes drawn by their shares
    in the training data, and nothing of a model that is not conditioned.

    Raises:
        ArgumentError: a condition that does not fit, or none where it is a vector.
    """
    if not is_conditional(model):
        if condition is not None:
            raise unknown_condition(condition)
        return None
    if condition is None:
        if not model.classes:
            raise no_condition(model)
        return drawn_by(model.shares, n, generator)
    chosen = as_condition(model, condition, n)
    if model.classes and chosen is not None and has_values(chosen):
        absent = chosen[model.shares[chosen] == 0]
        if len(absent):
            raise never_seen(int(absent[0]))
    return chosen


def never_seen(label: int) -> ArgumentError:
    """The error of a class of which nothing is known."""
    return ArgumentError(f"condition holds class {label}, of which there were no examples in the training data.")


def as_classes(condition: Any, n: int, classes: int, device: torch.device, name: str = "condition", *,
               each: bool = False) -> Tensor | None:
    """The class of each of n samples, int64 [n]: of one class for all, unless `each` has to have its own, or of n of them; None
    stays None. `name` is what the door calls them.

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
        chosen = chosen if chosen.numel() else chosen.long()  # an empty list is of floats
    except (TypeError, ValueError, RuntimeError):
        chosen = torch.empty(0, dtype=torch.double)
    whole = not (chosen.is_floating_point() or chosen.is_complex() or chosen.dtype == torch.bool)
    if not whole or chosen.ndim > 1 or (chosen.ndim == 1 and len(chosen) != n) or (each and chosen.ndim != 1):
        wanted = f"{n} classes" if each else f"a class from 0 to {classes - 1}, or {n} of them"
        raise ArgumentError(f"{name} is {_short(condition)}; expected {wanted}, one a sample.")
    chosen = chosen.long()
    if chosen.numel() and has_values(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < classes:
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
    shape = getattr(condition, "shape", ())
    if len(shape):
        kind = str(getattr(condition, "dtype", "shape")).removeprefix("torch.")
        return f"a {type(condition).__name__} of {kind} {list(shape)}"
    text = repr(condition)
    return text if len(text) < 60 else f"{text[:57]}..."
