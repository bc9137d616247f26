"""Learning rates and loss weights as functions of the step."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from vaefast.errors import ArgumentError

Schedule = Literal["halving", "cosine", "linear", "exponential", "wae-manual", "constant", "plateau"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
WAE_MANUAL = ((30, 2), (50, 5), (100, 10))
"""Epochs at which "wae-manual" divides the learning rate, and by what."""
EXPONENTIAL_END = 0.01
RampShape = Literal["linear", "exponential"]
RAMP_SHAPES: tuple[RampShape, ...] = get_args(RampShape)
PLATEAU_THRESHOLD = 1e-4


def lr_factor(schedule: str, step: int, total: int, steps_per_epoch: int, *, halve_every: float | None,
              warmup_steps: int) -> float:
    """What the first learning rate is multiplied by at `step` (counted from 0) of `total`.

    "halving" is 0.5^floor(epoch / halve_every) (Dai & Wipf's code), "cosine" and "linear" fall to 0 at the end. Two are
    Tolstikhin et al.'s: "exponential" falls by the same factor each epoch, the first one included, to 0.01 in the last (their
    `manual_smooth`), and "wae-manual" is divided by 2 at epoch 30, by 5 more at 50 and by 10 more at 100 (`manual`). The
    others stay at 1 ("plateau" is lowered by what `Plateau` sees). Warm-up multiplies all of them.
    """
    factor = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    if schedule == "cosine":
        return factor * 0.5 * (1 + math.cos(math.pi * step / total))
    if schedule == "linear":
        return factor * (1 - step / total)
    if schedule == "halving":
        every = halve_every or 0.375 * total / steps_per_epoch
        # whole epochs, as the reference counts; a period under one epoch counts in steps
        epoch = step // steps_per_epoch if every >= 1 else step / steps_per_epoch
        return factor * 0.5 ** math.floor(epoch / every)
    if schedule == "exponential":
        # a run under one epoch falls with its steps
        share = (step // steps_per_epoch + 1) * steps_per_epoch / total if total >= steps_per_epoch else (step + 1) / total
        return factor * math.pow(EXPONENTIAL_END, min(1.0, share))
    if schedule == "wae-manual":
        return factor / math.prod(by for epoch, by in WAE_MANUAL if step // steps_per_epoch >= epoch)
    return factor


@dataclass
class Plateau:
    """Multiplies the learning rate by `factor` once an epoch's mean loss has not improved for more than `patience` epochs."""

    patience: int
    factor: float = 0.5
    scale: float = 1.0
    best: float | None = None
    bad: int = 0

    def epoch(self, loss: float) -> None:
        """An epoch has ended, whose mean loss it is."""
        if self.best is None or loss < self.best - PLATEAU_THRESHOLD * abs(self.best):
            self.best, self.bad = loss, 0
            return
        self.bad += 1
        if self.bad > self.patience:
            self.scale, self.bad = self.scale * self.factor, 0

    def state(self) -> dict[str, Any]:
        """JSON-ready; `load` puts it back."""
        return asdict(self)

    def load(self, state: dict[str, Any]) -> None:
        """Put a `state` back."""
        for name in asdict(self):
            setattr(self, name, state[name])


@dataclass(frozen=True)
class Ramp:
    """A loss weight that goes from `start` to `end` in a straight line over `steps` steps, and stays there.

    With `shape` "exponential" it nears `end` without reaching it: at step n it has gone 1 - exp(-n / steps) of the way.
    With `cycle` it starts again every `cycle` steps (cyclical annealing; Fu et al. 2019).
    """

    start: float = 0.0
    end: float = 1.0
    steps: int = 1
    cycle: int | None = None
    shape: RampShape = "linear"

    def __post_init__(self) -> None:
        if self.shape not in RAMP_SHAPES:
            raise ArgumentError(f"a ramp has shape {self.shape!r}; expected one of {', '.join(RAMP_SHAPES)}.")
        if not self.steps >= 1 or (self.cycle is not None and self.cycle < self.steps):
            raise ArgumentError(f"a ramp has steps {self.steps!r} and cycle {self.cycle!r}; expected steps of 1 or more, and a "
                                "cycle no shorter.")
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise ArgumentError(f"a ramp goes from {self.start!r} to {self.end!r}; expected finite numbers.")

    def at(self, step: int) -> float:
        """Weight at `step`, counted from 0."""
        step = step % self.cycle if self.cycle else step
        share = step / self.steps
        return self.start + (self.end - self.start) * (min(1.0, share) if self.shape == "linear" else -math.expm1(-share))
