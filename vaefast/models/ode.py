"""Solvers of ordinary differential equations with fixed steps, for states of several tensors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vaefast.errors import ArgumentError

State = tuple[Tensor, ...]
Field = Callable[[State, Tensor], State]
SOLVERS = ("euler", "midpoint", "heun")


def _add(state: State, h: float, slope: State) -> State:
    return tuple(torch.add(x, v, alpha=h) for x, v in zip(state, slope, strict=True))


def integrate(field: Field, state: State, start: float, stop: float, steps: int, solver: str = "heun") -> State:
    """The state at `stop` of dx/dt = field(x, t) from `state` at `start`, in equal steps.

    Args:
        field: (state, t as a scalar tensor) -> slopes of the state's tensors.
        solver: "euler" (one look at the field a step, error ~ 1 / steps), "midpoint" or "heun" (two, ~ 1 / steps^2).

    Raises:
        ArgumentError: fewer than one step, an unknown solver.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ArgumentError(f"steps is {steps!r}; expected a whole number, 1 or more.")
    if solver not in SOLVERS:
        raise ArgumentError(f"solver is {solver!r}; expected one of {', '.join(SOLVERS)}.")
    h = (stop - start) / steps
    at = [torch.tensor(start + h * i / 2, device=state[0].device, dtype=state[0].dtype) for i in range(2 * steps + 1)]
    for i in range(steps):
        slope = field(state, at[2 * i])
        if solver == "euler":
            state = _add(state, h, slope)
        elif solver == "midpoint":
            state = _add(state, h, field(_add(state, h / 2, slope), at[2 * i + 1]))
        else:
            after = field(_add(state, h, slope), at[2 * i + 2])
            state = _add(_add(state, h / 2, slope), h / 2, after)
    return state
