"""Trains a model's stages one after the other, and goes on after any interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn

from vaefast.data.stream import dead_worker
from vaefast.errors import ArgumentError, DataError, DivergenceError, RunFolderError, TrainingError, VaefastError
from vaefast.files import NO_SPACE
from vaefast.models.mode import evaluating
from vaefast.models.player import players_of
from vaefast.nets import use_global_batch
from vaefast.nets.layers import recent_statistics
from vaefast.training import distributed
from vaefast.training.batches import Batches, StageBatches
from vaefast.training.callbacks import Callback
from vaefast.training.checkpoint import load_weights, random_state, set_random_state
from vaefast.training.determinism import deterministic_algorithms
from vaefast.training.device import (
    Mode,
    Precision,
    auto_before_it_was_kept,
    crashing_convolution,
    matmul_precision,
    memory_format,
    resolve_device,
    resolve_precision,
)
from vaefast.training.interruption import END, INTERRUPT, NO, Stop
from vaefast.training.iteration import Iteration, compiles, draws
from vaefast.training.memory import explain_out_of_memory, explain_too_much_data, used_megabytes
from vaefast.training.progress import Progress, Silent
from vaefast.training.run_folder import RunFolder
from vaefast.training.sources import IndexedSource, ReadyImages, Source
from vaefast.training.stage import RECORD, History, Stage
from vaefast.training.storage import load_tensors
from vaefast.training.stream import StreamBatches, StreamSource
from vaefast.training.turn import part
from vaefast.training.watch import TroubleWatch

SHOW_SECONDS = 0.1
PATIENCE_SECONDS = 5.0
LOG_EVERY = 50
"""Iterations a record, where nothing is said."""
CHECKPOINT_SECONDS = 120.0
"""Between two checkpoints, where nothing is said."""
ASK_EVERY = 50
"""Iterations after which processes that train together ask each other whether to stop."""
ADVICE = "Lower lr, clip the gradient (clip_norm), or look for bad values in the data."


class Trainer:
    """Runs stages. The model is left on `device`, in eval mode.

    Args:
        model: the whole model, whose weights the checkpoints hold; the stages' modules are parts of it.
        stages: in order.
        device: "auto", "cpu", "cuda", "cuda:1", ..., or "mps" (untested).
        precision: "auto", "fp32", "bf16" or "fp16" (autocast of the networks, fp16 with a scaled loss), or "tf32".
        seed: of noise and shuffling. The caller's own random state is left as it was.
        run: folder for metrics and checkpoints; None keeps everything in memory.
        progress: what to show.
        callbacks: see `Callback`.
        compile: "on", "off", or "auto": compile the losses of stages that are long enough to repay it (on a GPU alone).
        channels_last: "on", "off", or "auto": keep convolutions' weights, and so their activations, in NHWC order; auto does
            on a GPU, unless in float32.
        deterministic: the same bits from every run on the same machine, on a GPU, too: cuDNN's and cuBLAS's deterministic
            algorithms, none that PyTorch knows to be otherwise. (A CPU's runs are the same without, for a number of threads.)
        sync: take batch statistics over the processes of a distributed run (`vaefast.nets.use_global_batch`).
        cuda_graphs: replay each iteration as one CUDA graph; None does on a GPU.
        log_every: iterations a record. What training does, and when it is scored, does not depend on it.
        checkpoint_seconds: between two checkpoints; one is also written at each stage's end and at Ctrl-C.

    Raises:
        ArgumentError: a value that cannot work, alone or with the stages. DeviceError: the device is not there.
    """

    def __init__(self, model: nn.Module, stages: Sequence[Stage], *, device: str | torch.device | None = "auto",
                 precision: Precision = "auto", seed: int = 0, run: RunFolder | None = None, progress: Progress | None = None,
                 callbacks: Sequence[Callback] = (), compile: Mode = "auto", channels_last: Mode = "auto",
                 cuda_graphs: bool | None = None, deterministic: bool = False, sync: bool = False, log_every: int = LOG_EVERY,
                 checkpoint_seconds: float = CHECKPOINT_SECONDS) -> None:
        self.model, self.stages = model, list(stages)
        self.device = distributed.join(resolve_device(device))
        self.precision, self.seed = resolve_precision(precision, self.device), seed
        self._auto_precision, self._channels_last = precision == "auto", channels_last
        self.group = distributed.world()
        self.run = run
        self.progress = progress if progress and self.group.writes else Silent()
        self.callbacks = [TroubleWatch(self.progress.message), *callbacks] if self.group.writes else []
        self._due_of = [c.due for c in callbacks if type(c).due is not Callback.due]
        self.compile, self.cuda_graphs, self.deterministic, self.sync = compile, cuda_graphs, deterministic, sync
        if log_every < 1 or not checkpoint_seconds >= 0:
            raise ArgumentError(f"log_every is {log_every!r} and checkpoint_seconds {checkpoint_seconds!r}; expected at least 1 "
                                "and 0.")
        self.log_every, self.checkpoint_seconds = log_every, checkpoint_seconds
        self.memory_format = memory_format(channels_last, self.device, self.precision)
        if self.memory_format == torch.channels_last and self.device.type == "cpu" and (name := crashing_convolution(model)):
            raise ArgumentError(f"channels_last is 'on', but the gradient of {name}, a strided 1x1 convolution of fewer than 16 "
                                "channels, can crash torch in that order on a CPU; leave it at 'auto'.")
        compiles(compile, 1, self.device)  # refuses what is not a mode
        self.history = History()
        self.seconds = 0.0
        self.stage, self.done, self.total, self.per_epoch = self.stages[0], 0, 0, 1
        for stage in self.stages:
            if stage.keep_best and (run is None or stage.best is None):
                raise ArgumentError(f"keep_best is set for {stage.name}, which needs a run folder and a score whose best is "
                                    "kept; give both.")
            if stage.patience is not None and (stage.patience < 1 or stage.best is None):
                raise ArgumentError(f"patience of {stage.name} is {stage.patience!r}; expected 1 or more, with a score (best) "
                                    "that is to get better.")
        self.stopped = False
        self.unsaved: RunFolderError | None = None
        self._stop = Stop()
        self._iteration: Iteration | None = None

    @property
    def epoch(self) -> float:
        """Passes over the stage's data so far."""
        return self.done / self.per_epoch

    def crosses(self, every: float) -> bool:
        """Whether the iteration just done ended one of the stage's periods of `every` epochs, or the stage."""
        def periods(step: int) -> int:
            return math.floor(step / self.per_epoch / every + 1e-9)  # 0.3 / 0.1 is 3

        return self.done == self.total or periods(self.done) > periods(self.done - 1)

    def stop(self) -> None:
        """End the run after this iteration: `fit` saves everything and returns its history; `fit(resume=True)` goes on.

        The stage at work ends as it does at its end, with its averages or its best weights (`keep_best`) in the place of the
        last; stages after it are not trained. Called before `fit`, it ends that after one iteration.
        (Ctrl-C interrupts instead: `fit` raises KeyboardInterrupt.)
        """
        self._stop.asked = max(self._stop.asked, END)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The moving averages of the weights in the model's place, inside; the model itself where there are none."""
        with ExitStack() as stack:
            for turn in self._iteration.turns if self._iteration else ():
                if turn.average:
                    stack.enter_context(turn.average.applied())
            yield

    def show(self, path: Path) -> None:
        """Tell every callback's `picture` of a picture of samples that a callback wrote, so that loggers send it on."""
        self._call("picture", path)

    def fit(self, *, resume: bool = False, conclude: Callable[[], dict[str, float]] | None = None) -> History:
        """Train every stage; with `resume`, from the run's newest checkpoint (from the start if it has none).

        Returns after the last stage, or after `stop()`. Before that `conclude` is called, if it is given: what is fitted at once,
        whose numbers, if there are any, are the record of a stage more.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM; everything is saved first.
            DivergenceError: a loss or weight became NaN or infinite; the newest checkpoint predates it.
            TrainingError: memory ran out, or a score could not be computed (after a checkpoint).
            RunFolderError: another process trains in the folder, or the last checkpoint cannot be written.
            ArgumentError: deterministic is set, and cannot be had.
        """
        with ExitStack() as last:
            last.callback(self._call, "end")
            self._train(resume)
            if conclude is not None:
                self._conclude(conclude)
            if self.unsaved is not None:
                raise self.unsaved
        return self.history

    def _train(self, resume: bool) -> None:
        self.model.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]  # torch's stubs lack it
        if self.sync and self.group.size > 1:
            use_global_batch(self.model)
        with ExitStack() as stack:
            stack.callback(self.progress.close)
            stack.callback(self.model.eval)
            if self.run and self.group.writes:
                stack.enter_context(self.run.locked())
                stack.callback(self.run.checkpoints.close)
            stack.enter_context(self._own_random_state())
            stack.enter_context(matmul_precision(self.precision))
            if self.deterministic:
                stack.enter_context(deterministic_algorithms(self.device))
            stack.enter_context(self._stop.listening())
            torch.manual_seed(self.seed)
            first, step, tensors, meta = self._restore() if resume else (0, 0, {}, {})
            self.stopped, self.unsaved = False, None
            for number in range(first, len(self.stages)):
                if not self._run_stage(number, step, tensors, meta):
                    self.stopped = True
                    break
                step, tensors, meta = 0, {}, {}

    def _conclude(self, conclude: Callable[[], dict[str, float]]) -> None:
        began = time.monotonic()
        if not (fitted := conclude()):
            return
        took = time.monotonic() - began
        record = {"stage": f"stage{len(self.stages) + 1}", "step": 1, "epoch": 1.0, "seconds": round(self.seconds + took, 3),
                  **fitted}
        self.history.records.append(record)
        self.progress.message(f"{record['stage']}: fitted in {took:.0f} s, "
                              + ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in fitted.items()))
        if self.run and self.group.writes:
            self.run.append_metrics(record)
        self._call("log", record, of=[c for c in self.callbacks if not isinstance(c, TroubleWatch)])  # which watches trainings

    def _own_random_state(self) -> AbstractContextManager[None]:
        """What is drawn inside leaves the random states outside as they were."""
        return torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])

    def _call(self, name: str, *arguments: Any, of: Sequence[Callback] | None = None) -> None:
        """A method of every callback, or of these, which may draw random numbers of its own."""
        if not self.callbacks:
            return
        with nullcontext() if name == "step" else self._own_random_state():
            for callback in self.callbacks if of is None else of:
                try:
                    getattr(callback, name)(self, *arguments)
                except OSError as error:
                    if error.errno not in NO_SPACE:
                        raise
                    self.progress.message(f"{type(callback).__name__}: {error}. Training goes on.")
                except RunFolderError as error:
                    self.progress.message(f"{type(callback).__name__}: {error} Training goes on.")

    # --- a stage -------------------------------------------------------------------------------------------------

    def _run_stage(self, number: int, start: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> bool:
        """Whether the next stage comes: not after `stop`."""
        stage = self.stage = self.stages[number]
        settings, players = stage.settings, players_of(stage.module)
        unknown = set(settings.players) - {p.name for p in players}
        if unknown:
            raise ArgumentError(f"players has settings for {', '.join(sorted(unknown))}; {stage.name} has "
                                f"{', '.join(dict.fromkeys(p.name for p in players))}.")
        with self._out_of_memory_named(lambda error: explain_too_much_data(error, self.device), stage):
            source = stage.source()
        with self._out_of_memory_named(lambda error: explain_out_of_memory(error, settings.batch_size, settings.accumulate,
                                                                            self.device), stage):
            if isinstance(source, ReadyImages) and source.of_images:
                source.flip, source.augment = source.flip or settings.flip, stage.augment
            elif settings.flip or stage.augment:
                raise ArgumentError(f"{'flip' if settings.flip else 'augment'} is set for {stage.name}, whose data are no "
                                    "images; set it for stages on images alone.")
            if start == 0 and (look := getattr(stage.module, "look_at", None)):
                look(source)
            batches = self._batches(source, draws(players), number)
            if said := batches.resumed(start):
                self.progress.message(f"{stage.name}: {said}")
            try:
                self.per_epoch = batches.per_epoch
                self.total = settings.total_steps(self.per_epoch)
                capture = self.device.type == "cuda" and self.cuda_graphs is not False
                iteration = self._iteration = Iteration(
                    players, stage.module, settings, batches, device=self.device, precision=self.precision, group=self.group,
                    compile=compiles(self.compile, self.total, self.device), capture=capture)
                self._logged = start
                if start:
                    for turn in iteration.turns:
                        turn.load(part(tensors, f"player/{turn.player.name}/"), meta["turns"][turn.player.name])
                    self._logged = meta["logged"]
                iteration.start(start)
                with recent_statistics(stage.module, self.total):
                    ended = self._loop(number, start, iteration, batches)
                if ended == END or number + 1 == len(self.stages):  # before averages and best weights: the run can go on from it
                    try:
                        self._save(number, self.done, final=True)
                    except RunFolderError as error:  # told at the end of `fit`, when the weights are as they are to be
                        self.unsaved = error
                # rank 0's word counts: a score need not be the same to the last bit in every process
                if stage.keep_best and self.group.any(self.group.writes and not self._best(), self.device):
                    self._take_best(iteration)
                for turn in iteration.turns:
                    if turn.average:
                        turn.average.apply()
            finally:
                batches.close()
                if self._iteration:
                    self._iteration.close()
        self._iteration = None
        self.group.share(stage.module)
        stage.module.eval()
        if number + 1 < len(self.stages) and ended != END:
            self.done = 0
            self._save(number + 1, 0, final=True)
        asked = ended or self.group.largest(self._stop.asked, self.device)
        if asked == INTERRUPT:
            raise KeyboardInterrupt
        return asked == NO

    def _batches(self, source: Source, draws: int, number: int) -> StageBatches:
        settings, name = self.stage.settings, self.stage.name
        where: dict[str, Any] = {"seed": self.seed, "stage": number, "name": name, "device": self.device, "group": self.group}
        if isinstance(source, StreamSource):
            return StreamBatches(source, settings.batch_size, draws, total=settings.steps, **where)
        held = cast(IndexedSource, source)
        if not held.resident and self.device.type != "cpu":
            self.progress.message(f"{name}: the data do not fit on {self.device} and are streamed to it")
        return Batches(held, settings.batch_size, draws, **where)

    def _loop(self, number: int, start: int, iteration: Iteration, batches: StageBatches) -> int:
        """Train to the stage's end: NO; or to where `stop` was called: END."""
        stage, total, ramps = self.stage, self.total, _ramps(self.stage)
        stage.module.train()
        self.done = start
        self.progress.stage(stage.name, total, start)
        self._call("start")
        self._saved_at = self._began = self._logged_at = shown = time.monotonic()
        self._earlier, self._resumed = self.seconds, start
        on_cpu = self.device.type == "cpu"
        exhausted = self._exhausted()  # of a stage that had ended so, and whose run goes on
        while self.done < total and not exhausted:
            step = self.done
            try:
                with self._kept_if_it_fails(number, iteration, "the next batch", saves=step > start):
                    batches.seek(step)
            except DataError:
                if self._stop.asked == INTERRUPT:  # Ctrl-C took the workers of the user's DataLoader with it
                    raise KeyboardInterrupt from None
                raise
            for turn in iteration.turns:
                turn.set_step(step, total, self.per_epoch)
            for set_weight in ramps:
                set_weight(step)
            iteration.run()
            done = self.done = step + 1
            if on_cpu and iteration.first_bad.item() >= 0:
                self._report_not_finite(iteration)
            if done % self.per_epoch == 0:
                self._end_epoch(iteration)
            with self._kept_if_it_fails(number, iteration):
                self._call("step")
            now = time.monotonic()
            if now - shown > SHOW_SECONDS or done == total:
                self.progress.step(done)
                shown = now
            evaluates = stage.evaluate is not None and (
                done == total or stage.evaluate_every is not None and self.crosses(stage.evaluate_every))
            recorded = evaluates or done % self.log_every == 0 or done == total or any(due(self) for due in self._due_of)
            if recorded:
                with self._kept_if_it_fails(number, iteration):
                    self._log(iteration, evaluates)
            if done == total:
                break
            if self._due(now, recorded) or evaluates and self._best():
                # a checkpoint never holds weights whose terms were not seen to be finite
                self._require_finite(iteration)
                self._save(number, done)
            # processes must stop at the same step, so they ask each other, which is not for every step
            asked = self._stop.asked
            if self.group.size > 1:
                asked = self.group.largest(asked, self.device) if done % ASK_EVERY == 0 else NO
            if asked:
                self._require_finite(iteration)
                if asked == INTERRUPT:
                    self._save(number, done, final=True)
                    raise KeyboardInterrupt
                return END
            exhausted = evaluates and self._exhausted()
        if exhausted:
            self.progress.message(f"{stage.name}: ends at step {self.done:,}, after {stage.patience} scores without a better "
                                  f"{str(stage.best).removeprefix('-')}")
        return NO

    def _end_epoch(self, iteration: Iteration) -> None:
        for turn in iteration.turns:
            turn.end_epoch(iteration.updates(turn, self.done - self.per_epoch, self.done), self.group)

    def _require_finite(self, iteration: Iteration) -> None:
        """Divergence is told of if a term since the last record was not finite; waits for the device."""
        self.seconds = self._earlier + time.monotonic() - self._began
        if iteration.first_bad.item() >= 0 or not all(t.sums is None or torch.isfinite(t.sums).all() for t in iteration.turns):
            terms = {iteration.prefix(t) + name: value for t in iteration.turns if t.sums is not None
                     for name, value in zip(t.terms, t.sums.tolist())}
            self._report_not_finite(iteration, terms)

    @contextmanager
    def _kept_if_it_fails(self, number: int, iteration: Iteration, what: str = "a score or a callback", *,
                          saves: bool = True) -> Iterator[None]:
        """Between two iterations: an error inside, of a score, a callback or the data, costs nothing of what was trained."""
        try:
            yield
        except DivergenceError:
            raise
        except Exception:
            kept = self.run if saves and self.group.writes and iteration.first_bad.item() < 0 else None
            if kept and self._or_later(lambda: self._write(number, self.done, final=True)):
                self.progress.message(f"{self.stage.name}, step {self.done:,}: {what} failed; what was trained so far is saved "
                                      f"in {kept.path}, and resume goes on from there.")
            raise

    def _due(self, now: float, recorded: bool) -> bool:
        """Whether a checkpoint is: best with a record, which shows whether the weights are good, but not much later without."""
        late = self.checkpoint_seconds if recorded else 2 * self.checkpoint_seconds + PATIENCE_SECONDS
        return self.run is not None and now - self._saved_at > late

    # --- what is logged ------------------------------------------------------------------------------------------

    def _log(self, iteration: Iteration, evaluates: bool) -> None:
        """Log the terms since the last record, and the scores of now."""
        stage, done, group = self.stage, self.done, self.group
        terms: dict[str, float] = {}
        for turn in iteration.turns:
            updates = iteration.updates(turn, self._logged, done)
            if not updates:  # a player with few turns may have had none
                continue
            means = turn.means(updates, group)
            terms |= {iteration.prefix(turn) + name: value for name, value in means.items()}
            assert turn.sums is not None
            turn.sums.zero_()
        now = time.monotonic()
        self.seconds = self._earlier + now - self._began
        if iteration.first_bad.item() >= 0 or not all(math.isfinite(v) for v in terms.values()):
            self._report_not_finite(iteration, terms)
        # of a resumed window, only the steps of this process count
        steps = done - max(self._logged, self._resumed)
        batch = stage.settings.batch_size * group.size
        images = steps * batch * iteration.batches.draws
        record = {"stage": stage.name, "step": done, "epoch": self.epoch, "seconds": round(self.seconds, 3),
                  **{iteration.prefix(t) + "lr": t.lr for t in iteration.turns},
                  **{iteration.prefix(t) + "loss_scale": t.scaler.scale.item() for t in iteration.turns if t.scaler},
                  "images_per_second": round(images / max(now - self._logged_at, 1e-9), 1),
                  "memory_mb": used_megabytes(self.device), **terms}
        self._logged = done
        failed: Exception | None = None
        if evaluates:
            try:
                self._evaluate(record)
            except Exception as error:  # the record is logged all the same
                failed = error
        self._call("log", record)
        self.history.records.append(record)
        self.progress.log(record)
        if (run := self.run) and self.group.writes:
            self._or_later(lambda: run.append_metrics(record))
        self._logged_at = time.monotonic()
        if isinstance(failed, VaefastError):
            raise failed
        if failed is not None:
            raise TrainingError(f"the score of {stage.name} failed at step {done:,}: {type(failed).__name__}: {failed}. What was "
                                "trained so far is kept.") from failed

    def _evaluate(self, record: dict[str, Any]) -> None:
        with self._own_random_state(), evaluating(self.model), self.averaged(), torch.no_grad():
            assert self.stage.evaluate is not None
            record |= _numbers(self.stage.evaluate())
        self._call("evaluate", record)

    def _report_not_finite(self, iteration: Iteration, terms: dict[str, float] | None = None) -> None:
        stage, first = self.stage, int(iteration.first_bad.item())
        kept = f"; the newest checkpoint in {self.run.path} is from before it" if self.run else ""
        if first < 0:
            bad = [name for name, value in (terms or {}).items() if not math.isfinite(value)]
            self._end(f"{', '.join(bad)} of {stage.name} became NaN or infinite between steps {self._logged + 1} and "
                      f"{self.done}{kept}. {ADVICE}")
        self._end(f"the loss of {stage.name} became NaN or infinite at step {first + 1}: {iteration.culprit(first)}{kept}. "
                  f"{ADVICE}")

    def _end(self, message: str) -> NoReturn:
        self._call("diverged", message)
        raise DivergenceError(message)

    # --- what is kept --------------------------------------------------------------------------------------------

    def _or_later(self, write: Callable[[], None]) -> bool:
        """Write to the run folder, and whether that went well; a full disk is told of, and does not end the training."""
        try:
            write()
        except RunFolderError as error:
            self.progress.message(f"{error} Training goes on, and tries again.")
            return False
        return True

    def _best(self) -> bool:
        """Whether the weights as they are have a record, and its value, a finite one, is the best of the stage."""
        records = self.history.of(self.stage.name)
        if not self.stage.best or not records or records[-1]["step"] != (self.done or self.total):
            return False
        name = self.stage.best.removeprefix("-")
        sign = -1 if self.stage.best.startswith("-") else 1
        values = [sign * r[name] if math.isfinite(r.get(name, math.nan)) else math.inf for r in records]
        return values[-1] < math.inf and values[-1] == min(values)

    def _exhausted(self) -> bool:
        """Whether the stage's patience is at its end; rank 0's word counts."""
        patience, name = self.stage.patience, self.stage.best
        if patience is None or name is None:
            return False
        sign = -1 if name.startswith("-") else 1
        values = [sign * r[name] if math.isfinite(r[name]) else math.inf
                  for name in [name.removeprefix("-")] for r in self.history.of(self.stage.name) if name in r]
        return self.group.any(bool(self.group.writes and values and len(values) - 1 - values.index(min(values)) >= patience),
                              self.device)

    def _take_best(self, iteration: Iteration) -> None:
        """The best weights that were saved, and their moving averages, in the place of the last ones."""
        assert self.run is not None and self.stage.best is not None
        if self.group.writes:
            self.run.checkpoints.wait()
        self.group.barrier()
        stem = self.run.checkpoints.folder / f"best-{self.stage.name}"
        if not stem.with_suffix(".json").is_file():  # of a term of the loss, none may have been due
            self.progress.message(f"{self.stage.name}: no best checkpoint was saved (no {self.stage.best.removeprefix('-')} was "
                                  "finite, or none when a checkpoint was due); the last weights stay")
            return
        tensors, meta = load_tensors(stem, "the best checkpoint")
        load_weights(self.model, part(tensors, "model/"), stem)
        for turn in iteration.turns:
            if turn.average:
                turn.average.load(part(tensors, f"player/{turn.player.name}/average."))
        self.progress.message(f"{self.stage.name}: goes back to its best weights, of step {meta['step']:,}")

    def _save(self, number: int, step: int, *, final: bool = False) -> None:
        self._saved_at = time.monotonic()
        if not self.run:
            return
        bad = [name for name, p in self.model.named_parameters() if not torch.isfinite(p).all()]
        if bad:  # the last gradient did it: the loss has not seen these weights yet
            self._end(f"the weights {bad[0]} became NaN or infinite by step {step or self.total} of {self.stage.name}, and are "
                      f"not saved; the newest checkpoint in {self.run.path} is from before it. {ADVICE}")
        if self.group.writes:
            self._write(number, step, final=final)

    def _write(self, number: int, step: int, *, final: bool) -> None:
        """Write a checkpoint; if not `final`, in the background, and a full disk is told of alone."""
        assert self.run is not None
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"random/{k}": v for k, v in random_state(self.device).items()}
        meta: dict[str, Any] = {"seconds": self.seconds, "logged": self._logged if step else 0, "precision": self.precision,
                                "turns": {}}
        for turn in self._iteration.turns if self._iteration else ():
            tensors |= {f"player/{turn.player.name}/{k}": v for k, v in turn.tensors().items()}
            meta["turns"][turn.player.name] = turn.meta()
        checkpoints = self.run.checkpoints

        def write() -> None:
            checkpoints.save(number, step, tensors, meta, best=f"best-{self.stage.name}" if self._best() else None)
            if final:
                checkpoints.wait()

        if final:
            write()
        else:
            self._or_later(write)
        self._call("checkpoint", checkpoints.path(number, step))

    def _restore(self) -> tuple[int, int, dict[str, Tensor], dict[str, Any]]:
        newest = self.run.checkpoints.newest() if self.run else None
        if newest is None or self.run is None:
            if self.run and self.group.writes:
                self.run.rewind_metrics({})  # killed before its first checkpoint: everything comes again
            return 0, 0, {}, {}
        tensors, meta, origin, problems = newest
        for problem in problems:
            self.progress.message(f"skipped a damaged checkpoint: {problem}")
        load_weights(self.model, part(tensors, "model/"), origin)
        self._go_on_in(meta.get("precision", auto_before_it_was_kept(self.device)))
        set_random_state(part(tensors, "random/"), self.device)
        number = meta["stage"]
        steps = {stage.name: math.inf for stage in self.stages[:number]}
        steps |= {stage.name: meta["step"] for stage in self.stages[number:number + 1]}
        self.history.records = self.run.rewind_metrics(steps) if self.group.writes else []
        self.seconds = meta["seconds"]
        return number, meta["step"], tensors, meta

    def _go_on_in(self, precision: Precision) -> None:
        """Keep the precision in which the run began, where none is asked for: what `auto` is differs between machines."""
        if not self._auto_precision or precision == self.precision:
            return
        self.progress.message(f"goes on in {precision}, in which it began; one that begins here would have {self.precision}")
        self.precision = resolve_precision(precision, self.device)
        self.memory_format = memory_format(self._channels_last, self.device, self.precision)
        self.model.to(memory_format=self.memory_format)

    @contextmanager
    def _out_of_memory_named(self, explain: Callable[[BaseException], str | None], stage: Stage) -> Iterator[None]:
        try:
            yield
        except ValueError as error:  # of torch's own batch norm; vaefast's has words
            if "Expected more than 1 value per channel" not in str(error):
                raise
            raise ArgumentError(f"{stage.name}: batch norm needs 2 or more values of each channel, and was given one: {error}. "
                                "Use a batch_size (over accumulate) of 2 or more.") from error
        except (RuntimeError, MemoryError) as error:
            if (dead := dead_worker(error)) is not None:
                raise dead from error
            explained = explain(error)
            if explained is None:
                raise
            raise TrainingError(f"{stage.name}: {explained}") from error


def _numbers(scores: Any) -> dict[str, float]:
    """The scores that an `evaluate` returned, as a record and its file can hold them."""
    if not isinstance(scores, Mapping):
        raise ArgumentError(f"evaluate returned a {type(scores).__name__}; expected a dict of numbers by name.")
    numbers = {}
    for name, value in scores.items():
        if not isinstance(name, str) or name in RECORD:
            raise ArgumentError(f"evaluate returned a score called {name!r}; expected a name that no record has of its own.")
        try:
            if isinstance(value, (str, bytes)):
                raise TypeError
            numbers[name] = value if isinstance(value, (int, float)) else float(value)  # of a tensor or an array of one number
        except (TypeError, ValueError, RuntimeError):
            raise ArgumentError(f"evaluate returned {name!r} as {str(value)[:80]!r}; expected a number.") from None
    return numbers


def _ramps(stage: Stage) -> list[Callable[[int], None]]:
    """Functions that set the stage's scheduled loss weights to their values at a step."""
    buffers = dict(stage.module.named_buffers())
    setters = []
    for name, ramp in stage.settings.ramps.items():
        if name not in buffers:
            raise ArgumentError(f"ramps names {name!r}; the loss weights of {stage.name} are "
                                f"{', '.join(n for n, b in buffers.items() if b.ndim == 0) or 'none'}.")
        setters.append(_setter(buffers[name], ramp.at))
    return setters


def _setter(buffer: Tensor, at: Callable[[int], float]) -> Callable[[int], None]:
    last: list[float] = []

    def set_weight(step: int) -> None:
        value = at(step)
        if last != [value]:
            buffer.fill_(value)
            last[:] = [value]

    return set_weight
