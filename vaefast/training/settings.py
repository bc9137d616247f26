"""What a stage is trained with."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from vaefast.errors import ArgumentError

SCHEDULES = ("halving", "cosine", "constant")


@dataclass(frozen=True)
class StageSettings:
    """Budget, optimizer and learning-rate schedule of one stage. The defaults are Dai & Wipf's.

    Args:
        epochs: passes over the data; the last partial batch of each is dropped. May be a fraction.
        steps: optimizer steps, instead of `epochs`.
        batch_size: examples a step.
        lr: first learning rate of Adam (beta 0.9 / 0.999, eps 1e-8).
        schedule: "halving" (lr * 0.5^floor(epoch / halve_every)), "cosine" (down to 0) or "constant".
        halve_every: epochs between halvings; 0.375 of the epochs if None (150 of 400, 300 of 800).
        warmup_steps: steps over which lr rises linearly from 0.
        gamma_lr_factor: times lr, for log gamma alone.
        ema: decay of a moving average of the weights, which replaces them at the end; None for none.

    Raises:
        ArgumentError: a value that cannot work.
    """

    epochs: float | None = None
    steps: int | None = None
    batch_size: int = 64
    lr: float = 1e-4
    schedule: str = "halving"
    halve_every: float | None = None
    warmup_steps: int = 0
    gamma_lr_factor: float = 1.0
    ema: float | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ArgumentError(f"epochs is {self.epochs!r} and steps is {self.steps!r}; give one of the two.")
        for name in ("epochs", "steps", "batch_size", "lr", "halve_every", "gamma_lr_factor"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and 0 < value < math.inf):
                raise ArgumentError(f"{name} is {value!r}; expected a number above 0.")
        if self.schedule not in SCHEDULES:
            raise ArgumentError(f"schedule is {self.schedule!r}; expected one of {', '.join(SCHEDULES)}.")
        if self.warmup_steps < 0:
            raise ArgumentError(f"warmup_steps is {self.warmup_steps!r}; expected 0 or more.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ArgumentError(f"ema is {self.ema!r}; expected a decay between 0 and 1, such as 0.999.")

    def total_steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps of the whole stage, at least one."""
        return self.steps if self.steps is not None else max(1, round(self.epochs * steps_per_epoch))

    def lr_at(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of step `step` (counted from 0)."""
        total = self.total_steps(steps_per_epoch)
        lr = self.lr * min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else self.lr
        if self.schedule == "cosine":
            return lr * 0.5 * (1 + math.cos(math.pi * step / total))
        if self.schedule == "halving":
            every = self.halve_every or 0.375 * total / steps_per_epoch
            # whole epochs, as the reference counts; a period under one epoch counts in steps
            epoch = step // steps_per_epoch if every >= 1 else step / steps_per_epoch
            return lr * 0.5 ** math.floor(epoch / every)
        return lr

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready copy."""
        return asdict(self)
