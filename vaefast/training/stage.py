"""A stage of training: a module, its data and its budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from vaefast.training.augment import Augmentation
from vaefast.training.settings import StageSettings
from vaefast.training.sources import Source


@dataclass(frozen=True)
class Stage:
    """A module, its data and its budget.

    Args:
        name: as records and messages call it, such as "stage1".
        module: either says with `players()` what is trained and how (`vaefast.models.Player`), or its forward takes a
            batch and returns a dict of scalars, of which `loss` is minimised. Its `look_at(source)`, if it has one, is called
            before it is trained.
        source: makes the stage's data when the stage starts (the second stage's come from the trained first).
        settings: budget, optimizer, schedule.
        evaluate: scores of the stage as it is, by name; called in eval mode with the averaged weights in place. If it fails, what
            was trained is saved first.
        evaluate_every: epochs between evaluations; None evaluates at the end alone.
        best: name of the record's entry whose lowest finite value marks the checkpoint to keep as best-NAME; "-entry" for the
            highest. A score of `evaluate` is saved as soon as it is best, a term of the loss when a checkpoint is due.
        keep_best: whether the stage ends with that checkpoint's weights in the place of the last ones.
        patience: evaluations in a row that did not better `best`, after which the stage ends (and the next one comes); None: it
            goes to the end of its budget.
        augment: what is done to each batch of images on the device (`vaefast.training.augment.augmentation`).
    """

    name: str
    module: nn.Module
    source: Callable[[], Source]
    settings: StageSettings
    evaluate: Callable[[], dict[str, float]] | None = None
    evaluate_every: float | None = None
    best: str | None = None
    keep_best: bool = False
    patience: int | None = None
    augment: Augmentation | None = None


_SHOWN_APART = ("stage", "step", "epoch", "seconds", "images_per_second", "memory_mb")
RECORD = (*_SHOWN_APART, "lr", "loss_scale", "warning", "warning_over")
"""What every record has of its own; no term and no score may be called so."""


@dataclass(repr=False)
class History:
    """What training logged: one record for every `log_every` steps, each the mean over those steps, and one wherever the stage
    was scored, or a callback wanted one (`Callback.due`).

    A record holds `stage`, `step`, `epoch`, `seconds`, `lr` (in fp16 also `loss_scale`), `images_per_second`, `memory_mb` and the
    module's terms ("player/term" where there are several players); `warning` and `warning_over` where a trouble was noticed, or
    had passed.
    """

    records: list[dict[str, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        """A line a stage: how far it got, and its last record's numbers."""
        lines = [f"{len(self.records)} records"]
        for stage in dict.fromkeys(r["stage"] for r in self.records):
            last = self.last(stage)
            terms = [f"{k} {v:.4g}" for k, v in last.items() if isinstance(v, (int, float)) and k not in _SHOWN_APART]
            more = [f"and {len(terms) - 6} more"] if len(terms) > 6 else []
            lines.append(f"{stage}: step {last['step']}, epoch {last['epoch']:.4g}, {last['seconds']:.0f} s; "
                         + ", ".join(terms[:6] + more))
        return f"History({'; '.join(lines)})" if len(lines) < 3 else "History(\n  " + "\n  ".join(lines) + ")"

    def of(self, stage: str) -> list[dict[str, Any]]:
        """Records of one stage."""
        return [r for r in self.records if r["stage"] == stage]

    def last(self, stage: str) -> dict[str, Any]:
        """Newest record of one stage."""
        return self.of(stage)[-1]
