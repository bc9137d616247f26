"""Players, their turns, optimizers and schedules."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from vaefast.errors import ArgumentError
from vaefast.models import Player
from vaefast.models.player import trainable
from vaefast.training import Callback, PlayerSettings, Ramp, RunFolder, Trainer
from vaefast.training.optimizer import make_optimizer


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


@pytest.mark.parametrize(("name", "moved"), [("rmsprop", 0.0389), ("rmsprop-tf", 0.00075)])
def test_where_rmsprop_begins(name, moved):
    """30 steps of a gradient of 0.01, lr 1e-3, decay 0.9: torch's begins at 0, TensorFlow's at 1."""
    w = nn.Parameter(torch.zeros(()))
    settings = PlayerSettings(lr=1e-3, optimizer=name, betas=(0.0, 0.9), eps=1e-10)
    optimizer = make_optimizer(Player("only", {"w": w}, lambda x: {"loss": w}), settings, torch.device("cpu"))
    m, expected = 1.0, 0.0
    for _ in range(30):
        w.grad = torch.tensor(0.01)
        optimizer.step()
        m = 0.9 * m + 0.1 * 0.01**2
        expected -= 1e-3 * 0.01 / math.sqrt(m + 1e-10)
    assert w.item() == pytest.approx(-moved, rel=6e-3)
    assert name == "rmsprop" or w.item() == pytest.approx(expected, rel=1e-5)


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

    class Look(Callback):
        def step(self, trainer: Trainer) -> None:
            seen.append(all(p.grad is not None for p in model.generator.parameters()))

    model, seen = WithNorm(), []
    train(model, steps=3, trainer={"callbacks": [Look()]})
    assert seen == [True] * 3
    assert all(p.grad is None for p in model.parameters())  # what is left would be added to the gradients of the user's own loop


def _rare(every: int) -> Callable[[nn.Module], list[Player]]:
    """Critic in every iteration, the generator in some, on the critic's batch."""
    def players(duel: nn.Module) -> list[Player]:
        return [Player("critic", trainable(duel.critic), duel.critic_loss),
                Player("generator", trainable(duel.generator), duel.generator_loss, new_batch=False, every=every)]

    return players


def _again(duel: nn.Module) -> list[Player]:
    """Critic, generator and the critic once more, on one batch."""
    critic = Player("critic", trainable(duel.critic), duel.critic_loss)
    return [critic, Player("generator", trainable(duel.generator), duel.generator_loss, new_batch=False),
            replace(critic, new_batch=False)]


@pytest.fixture
def Turned(Duel):
    """Turned(players, finish=None): a duel whose players `players(duel)` lists."""
    def make(players: Callable[[nn.Module], list[Player]], finish: Callable[..., None] | None = None) -> nn.Module:
        class Model(Duel):
            def players(self) -> list[Player]:
                return players(self)

        model = Model()
        if finish is not None:
            model.finish_iteration = finish
        return model

    return make


def test_a_player_with_a_turn_in_every_third_iteration(train, Turned):
    model = Turned(_rare(3))
    trainer = train(model, steps=8, trainer={"log_every": 1})
    names = [name for name, _ in model.seen]
    assert names == ["critic", "generator", "critic", "critic"] * 2 + ["critic", "generator", "critic"]
    assert torch.equal(model.seen[0][1], model.seen[1][1])
    assert trainer.per_epoch == 6  # 48 points, one batch of 8 an iteration
    assert ["generator/loss" in r for r in trainer.history.records] == [True, False, False] * 2 + [True, False]
    assert all("critic/loss" in r for r in trainer.history.records)


def test_means_are_over_the_turns_that_there_were(train, Turned):
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

        def players(self) -> list[Player]:
            a = Player("a", {"a": self.a}, lambda x: {"loss": self.a.sum() + 3.0})
            return [a, Player("b", {"b": self.b}, lambda x: {"loss": self.b.sum() + 7.0}, new_batch=False, every=3), a]

    records = train(Constant(), steps=7, lr=1e-9, trainer={"log_every": 2}).history.records
    assert [r["a/loss"] for r in records] == pytest.approx([3] * 4)
    assert [r.get("b/loss") for r in records] == [pytest.approx(7), pytest.approx(7), None, pytest.approx(7)]


def test_a_second_turn_is_the_same_players(train, Turned):
    settings = {"critic": PlayerSettings(lr=0.01, schedule="constant"), "generator": PlayerSettings(lr=0.02, schedule="constant")}
    model = Turned(_again)
    trainer = train(model, steps=5, players=settings)
    assert [name for name, _ in model.seen[:3]] == ["critic", "generator", "critic"]
    assert torch.equal(model.seen[0][1], model.seen[2][1]) and trainer.per_epoch == 6
    own = Turned(_again)
    critic, generator = (torch.optim.Adam(m.parameters(), lr=lr) for m, lr in ((own.critic, 0.01), (own.generator, 0.02)))
    torch.manual_seed(0)
    for name, x in model.seen:
        optimizer, loss = (critic, own.critic_loss) if name == "critic" else (generator, own.generator_loss)
        own.critic.requires_grad_(name == "critic")
        optimizer.zero_grad()
        loss(x)["loss"].backward()
        optimizer.step()
    for a, b in zip(model.parameters(), own.parameters()):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("players", [_rare(3), _again])
def test_turns_resume_at_any_step_bit_for_bit(train, Turned, players, tmp_path):
    whole = Turned(players)
    train(whole, steps=8)
    for stop_at in (1, 2, 3, 5):
        class Stop(Callback):
            def step(self, trainer: Trainer, stop_at: int = stop_at) -> None:
                if trainer.done == stop_at:
                    signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            train(Turned(players), steps=8, run=RunFolder.create(tmp_path / str(stop_at), {}), trainer={"callbacks": [Stop()]})
        model = Turned(players)
        train(model, steps=8, run=RunFolder.open(tmp_path / str(stop_at)), resume=True)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), whole.parameters())), stop_at


def test_an_iteration_is_finished_with_its_last_batch(train, Turned):
    finished = []
    model = Turned(_rare(2), finish=lambda x: finished.append((x, torch.is_grad_enabled())))
    train(model, steps=4)
    assert len(finished) == 4 and not any(gradients for _, gradients in finished)
    assert all(torch.equal(x, seen) for (x, _), seen in zip(finished, (x for name, x in model.seen if name == "critic")))


def test_turns_below_one_are_refused():
    for values in ({"every": 0}, {"updates": 0}, {"every": 1.5}):
        with pytest.raises(ArgumentError, match="expected a whole number above 0"):
            Player("a", {}, lambda x: {}, **values)
