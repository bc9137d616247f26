"""What a training would be: its networks, steps, memory and time, found by a few steps of it that are thrown away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from torch import nn

from vaefast.api.footprint import count_in_words, footprint
from vaefast.api.reading import Reading
from vaefast.data import ImageSet
from vaefast.experiments.request import Request
from vaefast.experiments.run import plan
from vaefast.models.player import players_of
from vaefast.training import Callback, Trainer
from vaefast.training.device import resolve_device, resolve_precision
from vaefast.training.settings import override

ROUNDS = 2
"""Times that every player has its turn while steps are timed, after one step that is not."""


class _Clock(Callback):
    """When each step of each stage ended."""

    def __init__(self) -> None:
        self.ends: dict[str, list[float]] = {}
        self.per_epoch: dict[str, int] = {}

    def step(self, trainer: Trainer) -> None:
        self.per_epoch[trainer.stage.name] = trainer.per_epoch
        self.ends.setdefault(trainer.stage.name, []).append(time.monotonic())


def dry_run(asked: Request, say: Callable[[str], None] = print, *, trials: int = 1) -> dict[str, Any]:
    """Say what `train` would do, or `run_trials`, of so many; nothing is written.

    Returns:
        steps and seconds of each stage, by its name, as estimated.

    Raises:
        What `train` raises before, and in, its first steps.
    """
    planned = plan(asked)
    model, images = planned.model, planned.images
    images, _, _ = model._split(images, asked.validation, Reading(seed=asked.seed))
    device = resolve_device(asked.device)
    things = "images" if model.draws_images else "examples"
    shape = images.image_shape if isinstance(images, ImageSet) else images.data_shape
    say(f"{asked.kind}, preset {asked.preset_name}, on {len(images):,} {things} of {'x'.join(map(str, shape))} of "
        f"{asked.data_name}, on {device} in {resolve_precision(asked.precision, device)}; it would go into {asked.out}")
    say(f"memory: {footprint(model, images, device)}; what the networks compute comes on top")
    parts = [(name, module) for name, module, _ in model._parts(images, device)]
    brief = [override(stage, {"steps": 1 + ROUNDS * max(p.every for p in players_of(module))})
             for stage, (_, module) in zip(planned.stages, parts)]
    clock = _Clock()
    history = model.fit(images, settings=brief, seed=asked.seed, device=asked.device, precision=asked.precision, progress=False,
                        callbacks=[clock], start_from=asked.start_from, augment=asked.augment,
                        **{**asked.trainer, "log_every": 1})
    estimates: dict[str, Any] = {}
    for stage, (name, module) in zip(planned.stages, parts):
        ends, steps = clock.ends[name], stage.total_steps(clock.per_epoch[name])
        seconds = steps * (ends[-1] - ends[0]) / (len(ends) - 1)
        estimates[name] = {"steps": steps, "seconds": seconds}
        say(f"{name}: {_networks(module)}")
        say(f"{name}: {steps:,} steps of {stage.batch_size} ({steps / clock.per_epoch[name]:.4g} epochs), {stage.optimizer}, lr "
            f"{stage.lr:g} {stage.schedule}; about {_duration(seconds)}")
    if used := max((r["memory_mb"] for r in history.records if r.get("memory_mb")), default=0):
        say(f"memory in use in the first steps: {used:,.0f} MB")
    seconds = sum(one["seconds"] for one in estimates.values())
    say(f"in all about {_duration(seconds)}, without pictures and scores"
        + (f"; {trials} trials, one after the other, {_duration(trials * seconds)}" if trials > 1 else "") + "; nothing was kept")
    return estimates


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} seconds"


def _networks(module: nn.Module) -> str:
    """The networks of a stage, with their parameters."""
    children = [(name, type(child).__name__, sum(p.numel() for p in child.parameters()))
                for name, child in module.named_children()]
    return "; ".join(f"{name} {kind}, {count_in_words(count)} parameters" for name, kind, count in children if count)
