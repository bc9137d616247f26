"""Warnings of training that runs, but learns nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaefast.training.callbacks import Callback

if TYPE_CHECKING:
    from vaefast.training.trainer import Trainer

PATIENCE = 20
"""Records in a row."""


@dataclass(frozen=True)
class Rule:
    """What is wrong if it holds for `PATIENCE` records in a row."""

    term: str
    holds: Callable[[float], bool]
    says: str


RULES = (
    Rule("active_dimensions", lambda v: v < 0.5,
         "no latent dimension is active (the KL of every one is near 0): the decoder ignores the code. Lower gamma or beta, warm "
         "beta up (ramps), or lower lr"),
    Rule("accuracy", lambda v: v > 0.99,
         "the discriminator tells real from fake in more than 99 % of cases: the generator may get no gradient. Lower the "
         "discriminator's lr or updates, or use a gradient penalty"),
)


class CollapseWarning(Callback):
    """Says once a stage that the code is ignored, or that a discriminator has won; training goes on."""

    def __init__(self, say: Callable[[str], None], rules: tuple[Rule, ...] = RULES, patience: int = PATIENCE) -> None:
        self.say, self.rules, self.patience = say, rules, patience
        self.counts: dict[tuple[str, str], int] = {}

    def log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        for name, value in record.items():
            for rule in self.rules:
                if name.split("/")[-1] != rule.term:
                    continue
                key = (record["stage"], name)
                self.counts[key] = self.counts.get(key, 0) + 1 if rule.holds(value) else 0
                if self.counts[key] == self.patience:
                    self.say(f"warning: {record['stage']}, step {record['step']}: {rule.says}.")
