"""Trains a model's stages one after the other, and goes on after any interruption."""

from __future__ import annotations

import hashlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError, TrainingError
from vaefast.training.checkpoint import averaged, restore, restore_optimizer
from vaefast.training.device import autocast
from vaefast.training.ema import WeightAverage
from vaefast.training.progress import Progress, Silent
from vaefast.training.run_folder import RunFolder
from vaefast.training.settings import StageSettings
from vaefast.training.sources import Source

LOG_EVERY = 50
CHECKPOINT_SECONDS = 120.0


@dataclass(frozen=True)
class Stage:
    """A module, its data and its budget.

    Args:
        name: as records and messages call it, such as "stage1".
        module: its forward takes a batch and returns a dict of scalars, of which `loss` is minimised.
        source: makes the stage's data when the stage starts (the second stage's come from the trained first).
        settings: budget, optimizer, schedule.
    """

    name: str
    module: nn.Module
    source: Callable[[], Source]
    settings: StageSettings


@dataclass
class History:
    """What training logged: one record for every 50 steps, each the mean over those steps.

    A record holds `stage`, `step`, `epoch`, `seconds`, `lr`, `images_per_second` and the module's terms.
    """

    records: list[dict[str, Any]] = field(default_factory=list)

    def of(self, stage: str) -> list[dict[str, Any]]:
        """Records of one stage."""
        return [r for r in self.records if r["stage"] == stage]

    def last(self, stage: str) -> dict[str, Any]:
        """Newest record of one stage."""
        return self.of(stage)[-1]


class _Stop:
    """Set by the first Ctrl-C (or SIGTERM); the second one interrupts at once."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _shuffled(count: int, seed: int, stage: int, epoch: int, device: torch.device) -> Tensor:
    """The order of an epoch, a function of its arguments alone, so that resuming needs no state."""
    key = hashlib.sha256(f"{seed}/{stage}/{epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
    return torch.randperm(count, generator=generator).to(device)


def _optimizer(module: nn.Module, settings: StageSettings) -> torch.optim.Adam:
    """Adam with log gamma in a group of its own; the groups remember their share of the learning rate."""
    groups = [{"params": [p for n, p in module.named_parameters() if p.requires_grad and n != "log_gamma"], "factor": 1.0}]
    gamma = [p for n, p in module.named_parameters() if p.requires_grad and n == "log_gamma"]
    if gamma:
        groups.append({"params": gamma, "factor": settings.gamma_lr_factor})
    return torch.optim.Adam(groups, lr=settings.lr, betas=(0.9, 0.999), eps=1e-8, fused=True)


class Trainer:
    """Runs stages. The model is left on `device`, in eval mode.

    Args:
        model: the whole model, whose weights the checkpoints hold; the stages' modules are parts of it.
        stages: in order.
        device, precision: from `resolve_device` and `resolve_precision`.
        seed: of noise and shuffling. The caller's own random state is left as it was.
        run: folder for metrics and checkpoints; None keeps everything in memory.
        progress: what to show.
    """

    def __init__(self, model: nn.Module, stages: list[Stage], *, device: torch.device, precision: str, seed: int,
                 run: RunFolder | None = None, progress: Progress | None = None) -> None:
        self.model, self.stages = model, stages
        self.device, self.precision, self.seed = device, precision, seed
        self.run, self.progress = run, progress or Silent()
        self.history = History()
        self.seconds = 0.0
        self._saved_at = 0.0

    def fit(self, *, resume: bool = False) -> History:
        """Train every stage; with `resume`, from the run's newest checkpoint (from the start if it has none).

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM; everything is saved first.
            TrainingError: a term of the loss became NaN or infinite; the newest checkpoint predates it.
        """
        self.model.to(self.device)
        stop = _Stop()
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices), stop.listening():
                torch.manual_seed(self.seed)
                first, step, tensors, meta = self._restore() if resume else (0, 0, {}, {})
                for number in range(first, len(self.stages)):
                    self._run_stage(number, step, tensors, meta, stop)
                    step, tensors, meta = 0, {}, {}
        finally:
            self.model.eval()
            self.progress.close()
        return self.history

    def _restore(self) -> tuple[int, int, dict[str, Tensor], dict[str, Any]]:
        found = self.run.checkpoints.newest() if self.run else None
        if found is None or self.run is None:
            return 0, 0, {}, {}
        tensors, meta, origin, problems = found
        for problem in problems:
            self.progress.message(f"skipped a damaged checkpoint: {problem}")
        restore(tensors, meta, origin, model=self.model, device=self.device)
        number = meta["stage"]
        steps = {stage.name: math.inf for stage in self.stages[:number]}
        steps |= {stage.name: meta["step"] for stage in self.stages[number:number + 1]}
        self.history.records = self.run.rewind_metrics(steps)
        self.seconds = meta["seconds"]
        return number, meta["step"], tensors, meta

    def _save(self, number: int, step: int, optimizer: torch.optim.Optimizer | None,
              average: WeightAverage | None) -> None:
        self._saved_at = time.monotonic()
        if self.run:
            self.run.checkpoints.save(stage=number, step=step, seconds=self.seconds, model=self.model, optimizer=optimizer,
                                      average=average.state() if average else None, device=self.device)

    def _run_stage(self, number: int, start: int, tensors: dict[str, Tensor], meta: dict[str, Any], stop: _Stop) -> None:
        stage = self.stages[number]
        settings, module = stage.settings, stage.module
        source = stage.source()
        per_epoch = len(source) // settings.batch_size
        if per_epoch == 0:
            raise ArgumentError(f"batch_size is {settings.batch_size}, but {stage.name} has only {len(source)} examples; "
                                "lower batch_size.")
        total = settings.total_steps(per_epoch)
        optimizer = _optimizer(module, settings)
        average = WeightAverage(module, settings.ema) if settings.ema else None
        if start:
            restore_optimizer(tensors, meta, optimizer)
            if average:
                average.load(averaged(tensors) or {})
        module.train()
        self.progress.stage(stage.name, total, start)
        self._saved_at = began = time.monotonic()
        earlier, logged_at, logged_step = self.seconds, began, start
        sums: Tensor | None = None
        order: Tensor | None = None
        for step in range(start, total):
            epoch, position = divmod(step, per_epoch)
            if position == 0 or order is None:
                order = _shuffled(len(source), self.seed, number, epoch, self.device)
            lr = settings.lr_at(step, per_epoch)
            for group in optimizer.param_groups:
                group["lr"] = lr * group["factor"]
            batch = source.batch(order[position * settings.batch_size:(position + 1) * settings.batch_size])
            with autocast(self.device, self.precision):
                terms = module(batch)
            optimizer.zero_grad(set_to_none=True)
            terms["loss"].backward()
            optimizer.step()
            if average:
                average.update(step)
            values = torch.stack([v.detach().float() for v in terms.values()])
            sums = values if sums is None else sums + values
            done = step + 1
            self.progress.step(done)
            if done % LOG_EVERY == 0 or done == total:
                now = time.monotonic()
                self.seconds = earlier + now - began
                means = dict(zip(terms, (sums / (done - logged_step)).tolist()))
                self._check_finite(stage.name, logged_step, done, means)
                rate = (done - logged_step) * settings.batch_size / max(now - logged_at, 1e-9)
                self._log({"stage": stage.name, "step": done, "epoch": done / per_epoch,
                           "seconds": round(self.seconds, 3), "lr": lr, "images_per_second": round(rate, 1), **means})
                sums, logged_at, logged_step = None, now, done
                # only here, so that a checkpoint never holds weights whose terms were not seen to be finite
                if done < total and now - self._saved_at > CHECKPOINT_SECONDS:
                    self._save(number, done, optimizer, average)
            if stop.asked and done < total:
                self.seconds = earlier + time.monotonic() - began
                self._check_finite(stage.name, logged_step, done, dict(zip(terms, values.tolist())))
                self._save(number, done, optimizer, average)
                raise KeyboardInterrupt
        if average:
            average.apply()
        module.eval()
        self._save(number + 1, 0, None, None)
        if stop.asked:
            raise KeyboardInterrupt

    def _log(self, record: dict[str, Any]) -> None:
        self.history.records.append(record)
        self.progress.log(record)
        if self.run:
            self.run.append_metrics(record)

    def _check_finite(self, stage: str, start: int, end: int, means: dict[str, float]) -> None:
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if bad:
            kept = f"; the newest checkpoint in {self.run.path} is from before it" if self.run else ""
            raise TrainingError(f"{', '.join(bad)} of {stage} became NaN or infinite between steps {start + 1} and "
                                f"{end}{kept}. Lower lr, or look for bad values in the data.")
