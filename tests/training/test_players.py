"""Players, their turns, optimizers and schedules."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vaefast.errors import ArgumentError
from vaefast.training import PlayerSettings, Ramp


def test_turns_and_batches_of_a_gan(train, Duel, points):
    model = Duel()
    trainer = train(model, steps=6, batch_size=8)
    assert [name for name, _ in model.seen[:6]] == ["critic", "critic", "generator"] * 2
    first, second, third = (x for _, x in model.seen[:3])
    assert not torch.equal(first, second) and torch.equal(second, third)
    assert trainer.per_epoch == 3  # 48 points, two batches of 8 an iteration
    epoch = torch.cat([x for name, x in model.seen[:9] if name == "critic"]).flatten(1)
    assert torch.equal(epoch.sum(1).sort().values, points().flatten(1).sum(1).sort().values)
    assert all(p.requires_grad for p in model.parameters())
    record = trainer.history.last("only")
    assert {"critic/loss", "critic/real", "generator/loss", "critic/lr", "generator/lr"} <= set(record)


def test_a_gan_by_the_engine_equals_a_hand_written_one(train, Duel):
    settings = {"critic": PlayerSettings(lr=0.01, schedule="constant", betas=(0.5, 0.9)),
                "generator": PlayerSettings(lr=0.02, schedule="constant", betas=(0.0, 0.9))}
    model = Duel()
    train(model, steps=7, players=settings)
    batches = [x for name, x in model.seen if name == "critic"]
    own = Duel()
    critic = torch.optim.Adam(own.critic.parameters(), lr=0.01, betas=(0.5, 0.9))
    generator = torch.optim.Adam(own.generator.parameters(), lr=0.02, betas=(0.0, 0.9))
    torch.manual_seed(0)
    for i in range(7):
        for x in batches[2 * i:2 * i + 2]:
            critic.zero_grad()
            own.critic_loss(x)["loss"].backward()
            critic.step()
        generator.zero_grad()
        own.critic.requires_grad_(False)
        own.generator_loss(x)["loss"].backward()
        own.critic.requires_grad_(True)
        generator.step()
    for a, b in zip(model.parameters(), own.parameters()):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("name", "make"), [
    ("adam", lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.95), weight_decay=0.1)),
    ("adamw", lambda p: torch.optim.AdamW(p, lr=0.05, betas=(0.8, 0.95), weight_decay=0.1)),
    ("rmsprop", lambda p: torch.optim.RMSprop(p, lr=0.05, alpha=0.95, weight_decay=0.1)),
    ("sgd", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.1))])
def test_optimizers(train, name, make, Line, points):
    model, own = Line(), Line()
    train(model, data=points(8), steps=5, optimizer=name, betas=(0.8, 0.95), weight_decay=0.1)
    optimizer = make(own.parameters())
    for _ in range(5):
        optimizer.zero_grad()
        own(points(8))["loss"].backward()
        optimizer.step()
    for a, b in zip(model.parameters(), own.parameters()):
        torch.testing.assert_close(a, b)


def test_clipping(train, Line, points):
    def after(**settings) -> torch.Tensor:
        model, before = Line(), Line()
        train(model, data=points(8), steps=1, optimizer="sgd", betas=(0.0, 0.9), lr=1.0, **settings)
        return torch.cat([(b - a).flatten() for a, b in zip(model.parameters(), before.parameters())]).detach()

    free = after()
    torch.testing.assert_close(after(clip_norm=0.1), free * 0.1 / free.norm())
    torch.testing.assert_close(after(clip_norm=1e6), free)
    torch.testing.assert_close(after(clip_value=0.05), free.clamp(-0.05, 0.05))
    model = Line()
    train(model, weight_clip=0.01)
    assert max(p.abs().max() for p in model.parameters()) <= 0.01


def test_accumulation_gives_the_gradient_of_the_whole_batch(train, Line):
    whole, parts = Line(), Line()
    train(whole, steps=9)
    trainer = train(parts, steps=9, accumulate=4)
    for a, b in zip(whole.parameters(), parts.parameters()):
        torch.testing.assert_close(a, b)
    assert trainer.history.last("only")["loss"] > 0
    with pytest.raises(ArgumentError, match="accumulate is 3, which does not divide batch_size 8"):
        train(Line(), accumulate=3)


def test_ramps_reach_the_loss(train, Line):
    trainer = train(Line(), steps=8, ramps={"beta": Ramp(0.0, 2.0, 4)}, trainer={"log_every": 1})
    assert [r["beta"] for r in trainer.history.records] == [0, 0.5, 1, 1.5, 2, 2, 2, 2]
    assert [Ramp(0, 1, 2, cycle=4).at(s) for s in range(6)] == [0, 0.5, 1, 1, 0, 0.5]
    slow = Ramp(1.0, 3.0, 10, shape="exponential")
    assert [slow.at(s) for s in (0, 10, 30)] == pytest.approx([1, 3 - 2 / math.e, 3 - 2 / math.e**3])
    with pytest.raises(ArgumentError, match="shape 'square'"):
        Ramp(shape="square")
    with pytest.raises(ArgumentError, match="ramps names 'alpha'; the loss weights of only are beta"):
        train(Line(), ramps={"alpha": Ramp()})
    with pytest.raises(ArgumentError, match="steps 0"):
        Ramp(steps=0)


def test_learning_rates(train, Line):
    def rates(**settings) -> list[float]:
        return [r["lr"] for r in train(Line(), trainer={"log_every": 1}, **settings).history.records]

    assert rates(steps=4, lr=1.0, schedule="linear") == [1, 0.75, 0.5, 0.25]
    assert rates(steps=4, lr=1.0, schedule="linear", warmup_steps=2) == [0.5, 0.75, 0.5, 0.25]
    falling = rates(steps=60, lr=1.0, optimizer="sgd", betas=(0.0, 0.9), schedule="plateau", plateau_patience=1)
    assert falling[0] == 1 and falling[-1] < 0.2 and all(a >= b for a, b in zip(falling, falling[1:]))


def test_players_that_are_not_there_are_refused(train, Line, Duel):
    with pytest.raises(ArgumentError, match="players has settings for judge; only has critic, generator"):
        train(Duel(), players={"judge": PlayerSettings()})
    for values in ({"optimizer": "lion"}, {"betas": (1.0, 0.9)}, {"clip_norm": -1.0}, {"weight_decay": -1.0},
                   {"accumulate": 0}, {"schedule": "random"}):
        with pytest.raises(ArgumentError, match=next(iter(values))):
            train(Line(), **values)


def test_a_players_own_average(train, Duel):
    model = Duel()
    settings = {"critic": PlayerSettings(lr=0.01), "generator": PlayerSettings(lr=0.01, ema=0.9)}
    seen = []

    def evaluate() -> dict[str, float]:
        seen.append(model.generator.weight.detach().clone())
        return {"score": 0.0}

    train(model, steps=8, players=settings, stage={"evaluate": evaluate})
    assert torch.equal(seen[0], model.generator.weight)  # the average, which is also what training leaves


def test_batch_norm_takes_no_gradient_from_the_other_players_turn(train, Duel):
    class WithNorm(Duel):
        def __init__(self) -> None:
            super().__init__()
            self.critic = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))

    model = WithNorm()
    train(model, steps=3)
    assert all(p.grad is not None for p in model.generator.parameters())
