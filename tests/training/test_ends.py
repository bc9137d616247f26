"""What ends a run or part of it - epochs, scores, stops, errors, full disks - and what is left in the end."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import safetensors
import torch
from torch import nn

import vaefast
from vaefast.errors import ArgumentError, CheckpointError, RunFolderError, TrainingError
from vaefast.models import Player
from vaefast.models.player import trainable
from vaefast.training import Callback, RunFolder, Stage, StageSettings, Trainer
from vaefast.training import storage as store
from vaefast.training.checkpoint import Checkpoints, load_checkpoint
from vaefast.training.progress import Lines
from vaefast.training.sources import ImageSource

CPU = torch.device("cpu")


def folder(path) -> RunFolder:
    return RunFolder.create(path, {})


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, trainer) -> None:
        if trainer.done == self.at:
            trainer.stop()


# What training does does not depend on what is logged.


@pytest.mark.parametrize("log_every", [1, 4, 1000])
def test_epochs_end_whatever_is_logged(train, Line, tmp_path, log_every):
    seen, due = [], []

    class Watcher(Callback):
        def due(self, trainer):
            return trainer.crosses(0.5)

        def log(self, trainer, record):
            if trainer.crosses(0.5):
                due.append(trainer.done)

    class Level(Line):
        def forward(self, x):
            return {"loss": 1 + 0 * self.layer.weight.sum()}

    trainer = train(Level(), run=folder(tmp_path / "run"), steps=None, epochs=20, lr=1.0, schedule="plateau", plateau_patience=2,
                    stage={"evaluate": lambda: seen.append(0) or {"s": 0.0}, "evaluate_every": 2},
                    trainer={"log_every": log_every, "callbacks": [Watcher()]})
    assert trainer.history.records[-1]["lr"] == 0.5 ** 6 and len(seen) == 10  # 48 images: 6 steps an epoch
    assert due == list(range(3, 121, 3))
    assert [r["step"] for r in trainer.history.records if "s" in r] == list(range(12, 121, 12))


def test_a_plateau_takes_the_same_decisions_whatever_is_logged(train, Line):
    runs = [Line(), Line(), Line()]
    for model, log_every in zip(runs, (1, 5, 1000)):
        train(model, steps=60, lr=0.3, schedule="plateau", plateau_patience=0, trainer={"log_every": log_every})
    assert all(torch.equal(m.layer.weight, runs[0].layer.weight) for m in runs)


def test_periods_of_a_fraction_of_an_epoch_are_all_seen(train, Line):
    ends = []

    class Watcher(Callback):
        def step(self, trainer):
            if trainer.crosses(0.1):
                ends.append(trainer.done)

    train(Line(), data=torch.rand(80, 1, 2, 2), steps=30, trainer={"callbacks": [Watcher()]})
    assert ends == list(range(1, 31))


# The best.


@pytest.mark.parametrize("scores, best, kept", [
    ([math.nan, 3.0, 2.0, 5.0], "fd", 2), ([math.inf, math.nan, 7.0, 9.0], "fd", 2),
    ([2.0, math.nan, math.nan, math.nan], "fd", 0),
    ([math.nan, 1.0, math.inf, 0.5], "-fd", 1), ([2.0, 1.0, 1.0, 4.0], "fd", 2), ([math.nan] * 4, "fd", 3)])
def test_the_best_is_finite(train, Line, tmp_path, scores, best, kept):
    weights, values, model = [], iter(scores), Line()

    def evaluate():
        weights.append(model.layer.weight.detach().clone())
        return {"fd": next(values)}

    train(model, steps=24, run=folder(tmp_path / "run"), trainer={"log_every": 7},
          stage={"evaluate": evaluate, "evaluate_every": 1, "best": best, "keep_best": True})
    assert torch.equal(model.layer.weight, weights[kept])


def test_the_best_is_found_over_a_resumption(train, Line, tmp_path):
    options = {"steps": 24, "stage": {"evaluate_every": 1, "best": "fd", "keep_best": True}}
    run, weights = folder(tmp_path / "run"), []

    def scored(model, values):
        values = iter(values)

        def evaluate():
            weights.append(model.layer.weight.detach().clone())
            return {"fd": next(values)}

        return {**options, "stage": {**options["stage"], "evaluate": evaluate}}

    first, second = Line(), Line()
    train(first, run=run, **scored(first, [math.nan, 1.0]), trainer={"callbacks": [StopAt(14)]})
    train(second, run=RunFolder.open(run.path), resume=True, **scored(second, [2.0, math.nan]))
    assert torch.equal(second.layer.weight, weights[1])


# Errors.


class Two(nn.Module):
    """Two players, the second of which fails when told to; they share a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.both, self.fails = nn.Linear(4, 1), nn.Linear(4, 1), nn.Linear(1, 1), False

    def players(self):
        return [Player("a", trainable(self.a, self.both), lambda x: {"loss": self.both(self.a(x.flatten(1))).square().mean()}),
                Player("b", trainable(self.b, self.both), self.loss, new_batch=False)]

    def loss(self, x):
        if self.fails:
            raise ZeroDivisionError
        return {"loss": self.both(self.b(x.flatten(1))).square().mean()}


def test_an_error_in_a_turn_freezes_nobody_and_what_is_frozen_stays_so(train):
    model = Two()
    model.a.bias.requires_grad_(False)
    frozen, before = model.a.bias.clone(), model.both.weight.clone()
    model.fails = True
    with pytest.raises(ZeroDivisionError):
        train(model)
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["a.bias"] and not model.training
    model.fails = False
    train(model)
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["a.bias"]
    assert torch.equal(model.a.bias, frozen) and not torch.equal(model.both.weight, before)


def test_a_score_that_fails_costs_nothing(train, Line, tmp_path, capsys):
    whole, cut, again = Line(), Line(), Line()
    good = {"evaluate": lambda: {"s": 1.0}, "evaluate_every": 1}
    train(whole, stage=good)
    run = folder(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"score of only failed at step 6: ZeroDivisionError.* is kept"):
        train(cut, run=run, stage={**good, "evaluate": lambda: {"s": 1 / 0}}, trainer={"progress": Lines()})
    assert "what was trained so far is saved in" in capsys.readouterr().out
    assert run.checkpoints.newest()[1]["step"] == 6
    train(again, run=RunFolder.open(run.path), stage=good, resume=True)
    assert torch.equal(again.layer.weight, whole.layer.weight)


def test_a_callback_that_fails_costs_nothing_and_one_whose_disk_is_full_is_told_of(train, Line, tmp_path, capsys):
    class Full(Callback):
        def log(self, trainer, record):
            raise OSError(28, "No space left on device")

        def step(self, trainer):
            raise RunFolderError("cannot write this.")

    class Failing(Callback):
        def step(self, trainer):
            if trainer.done == 9:
                raise KeyError("mine")

    run = folder(tmp_path / "run")
    with pytest.raises(KeyError, match="mine"):
        train(Line(), run=run, trainer={"callbacks": [Full(), Failing()], "progress": Lines()})
    said = capsys.readouterr().out
    assert "Full: [Errno 28] No space left on device. Training goes on." in said and "Full: cannot write this." in said
    assert run.checkpoints.newest()[1]["step"] == 9


# Stops.


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_stop_returns_and_the_same_trainer_goes_on(Line, points, tmp_path, ema):
    def made(model, out, *callbacks):
        stage = Stage("only", model, lambda: ImageSource(points(), CPU), StageSettings(steps=20, batch_size=8, lr=0.05, ema=ema))
        return Trainer(model, [stage], device="cpu", run=folder(out), log_every=4, callbacks=callbacks)

    whole, cut = Line(), Line()
    made(whole, tmp_path / "whole").fit()
    trainer = made(cut, tmp_path / "cut", StopAt(10))
    assert trainer.fit().records[-1]["step"] == 8 and trainer.stopped and not cut.training
    trainer.fit(resume=True)
    assert torch.equal(cut.layer.weight, whole.layer.weight) and not trainer.stopped


def test_a_stop_before_the_fit_is_heard_once(Line, points, tmp_path):
    stage = Stage("only", Line(), lambda: ImageSource(points(), CPU), StageSettings(steps=6, batch_size=8))
    trainer = Trainer(stage.module, [stage], device="cpu", run=folder(tmp_path / "run"), log_every=1)
    trainer.stop()
    assert [r["step"] for r in trainer.fit().records] == [1] and trainer.stopped
    assert [r["step"] for r in trainer.fit(resume=True).records] == list(range(1, 7)) and not trainer.stopped


def test_a_stop_in_the_first_stage_leaves_a_model_and_a_run_that_goes_on(tmp_path):
    images = torch.randint(0, 256, (48, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))

    def fit(out, **options):
        torch.manual_seed(0)
        model = vaefast.TwoStageVAE((1, 8, 8), 4, second_width=8)
        history = model.fit(images, steps=(9, 7), batch_size=8, device="cpu", precision="fp32", progress=False, out=out,
                            log_every=2, **options)
        return model, history

    whole, _ = fit(tmp_path / "whole")
    cut, history = fit(tmp_path / "cut", callbacks=[StopAt(5)])
    assert {r["stage"] for r in history.records} == {"stage1"}
    loaded = vaefast.load(tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(cut.state_dict().values(), loaded.state_dict().values()))
    again, _ = fit(tmp_path / "cut", resume="auto")
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))


# Checkpoints.


def test_checkpoints_are_ordered_by_their_numbers(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for stage, step in ((8, 5), (9, 0), (9, 99_999_999), (9, 100_000_000)):
        checkpoints.save(stage, step, {"x": torch.zeros(1)}, {})
    checkpoints.close()
    assert sorted(p.stem for p in tmp_path.glob("*.json")) == ["stage10-100000000", "stage10-99999999"]
    assert checkpoints.newest()[1]["step"] == 100_000_000 and checkpoints.stage_at_work() == 9


class Tied(nn.Module):
    """Weights that share memory: the same parameter twice, a view of one, and an expanded buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight
        self.register_buffer("row", self.a.weight.detach()[1])
        self.register_buffer("wide", torch.ones(1).expand(3))

    def forward(self, x):
        x = x.flatten(1)
        return {"loss": (self.b(self.a(x)) - x).square().mean()}


def test_tied_weights_are_saved_and_go_on(train, tmp_path):
    def made() -> Tied:
        torch.manual_seed(1)
        return Tied()

    whole, cut, again = made(), made(), made()
    train(whole)
    train(cut, run=folder(tmp_path / "run"), trainer={"callbacks": [StopAt(7)]})
    train(again, run=RunFolder.open(tmp_path / "run"), resume=True)
    assert torch.equal(again.a.weight, whole.a.weight) and again.b.weight is again.a.weight
    store.save_tensors(tmp_path / "m", whole.state_dict(), {})
    tensors, _ = store.load_tensors(tmp_path / "m", "weights")
    assert all(torch.equal(t, whole.state_dict()[name]) for name, t in tensors.items())


def test_a_full_disk_in_the_words_of_safetensors(train, Line, tmp_path, monkeypatch, capsys):
    whole, model, run = Line(), Line(), folder(tmp_path / "run")
    train(whole)
    left, original = [3], store.save_file

    def full(*arguments):
        if left[0]:
            left[0] -= 1
            raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        return original(*arguments)

    monkeypatch.setattr(store, "save_file", full)
    train(model, run=run, trainer={"checkpoint_seconds": 0.0, "log_every": 1, "progress": Lines()})
    assert "No space left on device" in capsys.readouterr().out and torch.equal(model.layer.weight, whole.layer.weight)
    left[0] = 1000
    with pytest.raises(RunFolderError, match="No space left"):
        train(Line(), run=folder(tmp_path / "other"))


def small(**options):
    torch.manual_seed(0)
    return vaefast.VAE((1, 8, 8), 3, **options)


def fitted(out, model=None, **options):
    images = torch.randint(0, 256, (48, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
    model = model or small()
    model.fit(images, **{"steps": 10, "batch_size": 8, "device": "cpu", "precision": "fp32", "progress": False, "out": out,
                         "schedule": "constant", **options})
    return model


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


def test_the_model_is_saved_where_the_last_checkpoint_finds_no_room(tmp_path, monkeypatch):
    original = Checkpoints.save

    def full(self, *arguments, **options):
        raise RunFolderError("cannot write: No space left on device.")

    monkeypatch.setattr(Checkpoints, "save", full)
    model = fitted(tmp_path / "run")
    monkeypatch.setattr(Checkpoints, "save", original)
    assert same(vaefast.load(tmp_path / "run"), model)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_finished_run_keeps_one_checkpoint_and_goes_on_for_longer(tmp_path, ema, capsys):
    whole = fitted(tmp_path / "whole", steps=20, ema=ema)
    fitted(tmp_path / "run", ema=ema)
    files = list((tmp_path / "run" / "checkpoints").iterdir())
    assert sorted(f.name for f in files) == ["stage1-00000010.json", "stage1-00000010.safetensors"]
    if ema is None:  # two moments of each weight, and no weights
        assert files[0].with_suffix(".safetensors").stat().st_size < 2.1 * (tmp_path / "run" / "model.safetensors").stat().st_size
    longer = fitted(tmp_path / "run", steps=20, ema=ema, resume=True, progress=True)
    assert "steps was 10, is now 20" in capsys.readouterr().out
    assert same(longer, whole)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["stages"][0]["steps"] == 20
    assert same(fitted(tmp_path / "run", steps=20, ema=ema, resume=True), whole)
    with pytest.raises(RunFolderError, match=r"\(steps was 20, is now 10\)"):
        fitted(tmp_path / "run", steps=10, ema=ema, resume=True)
    tensors, _ = load_checkpoint(tmp_path / "run" / "checkpoints" / "stage1-00000020")
    assert {f"model/{n}" for n in whole.state_dict()} <= set(tensors)
    small().save(tmp_path / "run", overwrite=True)
    with pytest.raises(CheckpointError, match="another one"):
        fitted(tmp_path / "run", steps=20, ema=ema, resume=True)


def test_what_differs_is_named_setting_by_setting_and_auto_begins_or_goes_on(tmp_path):
    first = fitted(tmp_path / "run", resume="auto")
    assert same(fitted(tmp_path / "run", resume="auto"), first)
    with pytest.raises(RunFolderError, match=r"other settings \(lr was 0.0001, is now 0.1\); resume with the same"):
        fitted(tmp_path / "run", resume="auto", lr=0.1)
    with pytest.raises(RunFolderError, match=r"gamma was 'learned', is now 0.5; seed was 0, is now 2"):
        fitted(tmp_path / "run", small(gamma=0.5), resume=True, seed=2)
    with pytest.raises(vaefast.errors.ArgumentError, match="resume is 'always'"):
        fitted(tmp_path / "other", resume="always")


def test_a_stage_that_another_was_built_on_is_not_made_longer(tmp_path):
    images = torch.randint(0, 256, (48, 1, 8, 8), dtype=torch.uint8)
    for steps, right in (((6, 6), True), ((6, 9), True), ((8, 9), False)):
        model = vaefast.TwoStageVAE((1, 8, 8), 4, second_width=8)
        options = {"steps": steps, "batch_size": 8, "device": "cpu", "progress": False, "out": tmp_path / "run", "resume": "auto"}
        if right:
            assert model.fit(images, **options).last("stage2")["step"] == steps[1]
        else:
            with pytest.raises(RunFolderError, match="stage 1 of .* has ended"):
                model.fit(images, **options)


def test_a_history_is_read_at_a_glance(train, Line):
    history = train(Line(), steps=60, trainer={"log_every": 1}).history
    assert len(repr(history)) < 300 and "60 records" in repr(history) and "loss" in repr(history)


@pytest.mark.parametrize(("scores", "words"), [
    (None, "evaluate returned a NoneType; expected a dict"), ({"s": "low"}, "'s' as 'low'; expected a number"),
    ({"s": [1, 2]}, r"'s' as '\[1, 2\]'"), ({"s": torch.ones(2)}, "expected a number"), ({"step": 3.0}, "a score called 'step'"),
    ({"s": None}, "'s' as 'None'")])
def test_scores_that_a_record_cannot_hold_are_refused_in_words(train, Line, tmp_path, scores, words):
    run = folder(tmp_path / "run")
    with pytest.raises(ArgumentError, match=words):
        train(Line(), run=run, stage={"evaluate": lambda: scores, "evaluate_every": 1, "best": "s"})
    assert run.checkpoints.newest()[1]["step"] > 0  # nothing trained was lost


def test_scores_as_tensors_and_arrays_are_numbers(train, Line, tmp_path):
    values = iter([torch.tensor(3.0), np.float32(1.0), np.array(2.0), 4])
    run = folder(tmp_path / "run")
    train(Line(), run=run, stage={"evaluate": lambda: {"s": next(values, 5)}, "evaluate_every": 1, "best": "s"})
    seen = [r["s"] for r in run.read_metrics() if "s" in r]
    assert seen[:2] == [3.0, 1.0] and all(type(s) in (int, float) for s in seen)


@pytest.mark.parametrize(("terms", "words"), [
    (torch.tensor(1.0), "returned a Tensor; expected a dict"), ({"nll": torch.tensor(1.0)}, "a dict with 'nll'"),
    ({"loss": 1.0}, "'loss' as a float"), ({"loss": torch.ones(3, requires_grad=True)}, r"'loss' of shape \[3\]"),
    ({"loss": torch.tensor(1.0)}, "has no gradient"), (None, "returned a NoneType"),
    ({"loss": torch.ones((), requires_grad=True), "parts": torch.ones(2)}, r"'parts' of shape \[2\]"),
    ({"loss": torch.ones((), requires_grad=True), "step": torch.ones(())}, "a term 'step'")])
def test_what_is_no_loss_is_told_of_in_the_first_step(train, Line, terms, words):
    model = Line()
    model.forward = lambda x: terms
    with pytest.raises(ArgumentError, match=words):
        train(model)


def test_a_player_without_parameters_is_told_of(train, Line):
    model = Line()
    model.requires_grad_(False)
    with pytest.raises(ArgumentError, match="no parameter to train.*frozen"):
        train(model)


def test_a_run_that_an_earlier_version_finished_loads_and_is_not_made_longer(tmp_path):
    model, run = fitted(tmp_path / "run"), tmp_path / "run"
    held = {f"model/{name}": t for name, t in model.state_dict().items()}
    stem = Checkpoints(run / "checkpoints")._stems()[-1]
    tensors, meta = load_checkpoint(stem)
    meta.pop("model"), meta.pop("sha256", None)
    rest = {n: t for n, t in tensors.items() if n.startswith("random/")}
    for suffix in (".json", ".safetensors"):
        stem.with_suffix(suffix).unlink()
    # a stage's end was kept as the next one's start, without an optimizer
    store.save_tensors(stem.with_name("stage2-00000000"), {**held, **rest}, {**meta, "stage": 1, "step": 0, "turns": {}})
    assert same(fitted(run, resume=True), model) and same(vaefast.load(run), model)
    with pytest.raises(RunFolderError, match=f"finished by an earlier version.*start_from='{run}"):
        fitted(run, steps=20, resume=True)
    assert json.loads((run / "config.json").read_text())["stages"][0]["steps"] == 10
