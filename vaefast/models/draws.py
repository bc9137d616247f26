"""What all that draws examples has in common: `sample` checks n and builds no graph."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import torch

from vaefast.errors import ArgumentError

DRAWING = ("sample", "sample_codes", "steps")
"""Methods whose first argument is how many to draw."""


class Draws:
    """A class that draws: its `sample`, and its like (`DRAWING`), take n of 0 or more, and what they return has no gradient.

    To train through samples, decode codes of the prior: `model.decode(model.sample_codes(n))` has one.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in DRAWING:
            own = cls.__dict__.get(name)
            if callable(own):
                setattr(cls, name, _drawing(own))


def _drawing(own: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(own)
    def draw(self: Any, n: int, *arguments: Any, **options: Any) -> Any:
        try:
            count = -1 if isinstance(n, bool) else operator.index(n)
        except TypeError:
            count = -1
        if count < 0:
            raise ArgumentError(f"n is {n!r}; expected a whole number, 0 or more.")
        with torch.no_grad():
            return own(self, count, *arguments, **options)

    return draw
