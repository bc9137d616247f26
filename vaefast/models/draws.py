"""What all that draws examples has in common: `sample` checks n and builds no graph."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch

from vaefast.errors import ArgumentError

Sampler = Callable[[int, torch.Generator], torch.Tensor]
"""(n, generator) -> n examples, [n, ...]."""
DRAWING = ("sample", "sample_codes", "steps")
"""Methods whose first argument is how many to draw."""


class Draws:
    """A class that draws: its `sample`, and its like (`DRAWING`), take n of 0 or more, and what they return has no gradient.

    To train through samples, decode codes of the prior: `model.decode(model.sample_codes(n))` has one.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in DRAWING:
            method = cls.__dict__.get(name)
            if callable(method):
                setattr(cls, name, _drawing(method))

    def samplers(self, stage: str | None = None) -> dict[str, Sampler]:
        """The ways in which this model draws examples, by name, the best last. While the stage called `stage` trains: those that
        know something by then."""
        return {"prior": self.sample}  # type: ignore[attr-defined]


def best_sampler(model: Any, stage: str | None = None) -> Sampler:
    """The last of a model's samplers; of a module that names none its `sample`."""
    return list(model.samplers(stage).values())[-1] if hasattr(model, "samplers") else model.sample


def _drawing(method: Callable[..., Any]) -> Callable[..., Any]:
    second = next(iter(list(inspect.signature(method).parameters)[2:]), None)

    @functools.wraps(method)
    def draw(self: Any, n: int, *arguments: Any, **options: Any) -> Any:
        try:
            count = -1 if isinstance(n, bool) else operator.index(n)
        except TypeError:
            count = -1
        if count < 0:
            raise ArgumentError(f"n is {n!r}; expected a whole number, 0 or more.")
        generator = options.get("generator", arguments[0] if second == "generator" and arguments else None)
        if generator is not None and not isinstance(generator, torch.Generator):
            raise ArgumentError(f"generator is {generator!r}; expected a torch.Generator, such as "
                                "torch.Generator(device).manual_seed(0), or None.")
        with torch.no_grad():
            try:
                return method(self, count, *arguments, **options)
            except RuntimeError as error:
                if generator is None or "device type for generator" not in str(error):
                    raise
                raise ArgumentError(f"generator is one of {generator.device}, where this model does not draw; make it by "
                                    "torch.Generator(model.device).") from error

    return draw
