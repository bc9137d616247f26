"""Schedules and budgets of a stage."""

from __future__ import annotations

import pytest

from vaefast.errors import ArgumentError
from vaefast.training import PlayerSettings, StageSettings
from vaefast.training.settings import override


def test_the_papers_halving():
    first, second = StageSettings(epochs=400), StageSettings(epochs=800)
    per_epoch = 937
    for settings, every in ((first, 150), (second, 300)):
        for epoch in (0, every - 1, every, 2 * every - 1, 2 * every, 399):
            for step in (epoch * per_epoch, epoch * per_epoch + per_epoch - 1):
                assert settings.lr_at(step, per_epoch) == pytest.approx(1e-4 * 0.5 ** (epoch // every))


def test_halving_scales_with_the_epochs():
    settings = StageSettings(epochs=1000)
    assert settings.lr_at(375 * 10 - 1, 10) == 1e-4 and settings.lr_at(375 * 10, 10) == 5e-5


def test_cosine_warmup_and_constant():
    cosine = StageSettings(steps=100, lr=1.0, schedule="cosine", warmup_steps=10)
    assert cosine.lr_at(0, 10) == pytest.approx(0.1)
    assert cosine.lr_at(50, 10) == pytest.approx(0.5)
    assert cosine.lr_at(99, 10) < 1e-3
    assert StageSettings(steps=9, lr=0.3, schedule="constant").lr_at(8, 3) == 0.3


def test_the_wae_papers_schedules():
    manual = StageSettings(epochs=120, lr=1.0, schedule="wae-manual")
    for epoch, lr in ((0, 1), (29, 1), (30, 0.5), (49, 0.5), (50, 0.1), (99, 0.1), (100, 0.01), (119, 0.01)):
        for step in (epoch * 7, epoch * 7 + 6):
            assert manual.lr_at(step, 7) == pytest.approx(lr)
    smooth = StageSettings(epochs=50, lr=1.0, schedule="exponential")
    for epoch in range(50):
        for step in (epoch * 7, epoch * 7 + 6):
            assert smooth.lr_at(step, 7) == pytest.approx(100 ** (-(epoch + 1) / 50))
    short = StageSettings(steps=4, lr=1.0, schedule="exponential")
    assert [short.lr_at(s, 100) for s in range(4)] == pytest.approx([100**-0.25, 0.1, 100**-0.75, 0.01])
    assert StageSettings(epochs=1.5, lr=1.0, schedule="exponential").lr_at(14, 10) == pytest.approx(0.01)


def test_budget():
    assert StageSettings(epochs=2).total_steps(10) == 20
    assert StageSettings(epochs=0.5).total_steps(10) == 5
    assert StageSettings(epochs=0.01).total_steps(10) == 1
    assert StageSettings(steps=7).total_steps(10) == 7


@pytest.mark.parametrize("values", [
    {}, {"epochs": 1, "steps": 1}, {"epochs": 0}, {"epochs": -1}, {"steps": 0}, {"epochs": 1, "batch_size": 0},
    {"epochs": 1, "lr": 0.0}, {"epochs": float("nan")}, {"epochs": 1, "schedule": "stepwise"}, {"epochs": 1, "ema": 1.0},
    {"epochs": 1, "warmup_steps": -1}, {"epochs": "many"}])
def test_settings_that_cannot_work_are_refused(values):
    with pytest.raises(ArgumentError):
        StageSettings(**values)


def test_overriding_a_stage_reaches_its_players():
    settings = StageSettings(epochs=4, lr=1e-3, players={"critic": PlayerSettings(lr=5e-4, betas=(0.5, 0.9))})
    changed = override(settings, {"steps": 7, "lr": 2e-3, "clip_norm": 3.0, "batch_size": 8})
    assert (changed.epochs, changed.steps, changed.batch_size, changed.lr, changed.clip_norm) == (None, 7, 8, 2e-3, 3.0)
    critic = changed.players["critic"]
    assert (critic.lr, critic.betas, critic.clip_norm) == (1e-3, (0.5, 0.9), 3.0)
    assert settings.players["critic"].lr == 5e-4 and override(settings, {}) == settings
    assert override(changed, {"epochs": 2}).steps is None
    for wrong in ({"lr": -1.0}, {"lr": "fast"}, {"epochs": 1, "steps": 1}, {"schedule": "never"}):
        with pytest.raises(ArgumentError):
            override(settings, wrong)


def test_beta1_is_the_first_of_betas_and_leaves_the_second():
    settings = StageSettings(steps=1, betas=(0.9, 0.99), players={"critic": PlayerSettings(betas=(0.1, 0.9))})
    changed = override(settings, {"beta1": 0.5, "lr": 1e-3})
    assert changed.betas == (0.5, 0.99) and changed.players["critic"].betas == (0.5, 0.9)
    assert override(StageSettings(steps=1, optimizer="sgd"), {"beta1": 0.0}).betas == (0.0, 0.999)
    with pytest.raises(ArgumentError, match="beta1, the first of them"):
        override(settings, {"beta1": 0.5, "betas": (0.5, 0.9)})
    with pytest.raises(ArgumentError, match="betas is"):
        override(settings, {"beta1": 1.0})


@pytest.mark.parametrize(("name", "kind"), [("beta1", "rmsprop"), ("beta1", "rmsprop-tf"), ("eps", "sgd")])
def test_what_the_optimizer_has_not_is_refused(name, kind):
    settings = StageSettings(steps=1, optimizer=kind)
    with pytest.raises(ArgumentError, match=f"{name} is 0.25, which optimizer='{kind}' has not; choose optimizer='adam' or"):
        override(settings, {name: 0.25})
    assert override(settings, {name: 0.25, "optimizer": "adamw"}).optimizer == "adamw"


@pytest.mark.parametrize(("name", "value", "of"), [("halve_every", 5.0, "halving"), ("plateau_patience", 3, "plateau"),
                                                   ("plateau_factor", 0.1, "plateau")])
def test_what_the_schedule_has_not_is_refused(name, value, of):
    falling = StageSettings(steps=4, schedule="cosine")
    with pytest.raises(ArgumentError, match=f"{name} is {value}, which schedule='cosine' has not; choose schedule='{of}'"):
        override(falling, {name: value})
    assert getattr(override(falling, {name: value, "schedule": of}), name) == value
    assert override(falling, {name: getattr(falling, name)}) == falling
    assert override(StageSettings(steps=4, halve_every=2.0), {"schedule": "cosine"}).schedule == "cosine"
