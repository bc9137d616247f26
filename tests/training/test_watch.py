"""Collapse and divergence are noticed, named, and the last good checkpoint kept."""

from __future__ import annotations

import math
import re
import signal
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vaefast.errors import CheckpointError, DivergenceError
from vaefast.experiments.pictures.report import write_report
from vaefast.models import VAE, Player
from vaefast.models.player import trainable
from vaefast.training import Callback, RunFolder
from vaefast.training.checkpoint import saved_weights
from vaefast.training.storage import load_tensors
from vaefast.training.watch import PATIENCE, RELIEF, TroubleWatch

HERE = SimpleNamespace(run=None, stage=SimpleNamespace(name="stage1"), done=1, total=2)


class Pair(nn.Module):
    """A generator whose output can be forced to a constant, and a critic; their losses are unbounded, or squares."""

    def __init__(self, squares: bool = False) -> None:
        super().__init__()
        self.squares = squares
        self.generator, self.critic = nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        self.constant = False

    def players(self) -> list[Player]:
        return [Player("critic", trainable(self.critic), self.critic_loss),
                Player("generator", trainable(self.generator), self.generator_loss, new_batch=False)]

    def fake(self, n: int) -> torch.Tensor:
        found = self.generator(torch.randn(n, 2))
        return found.mean(0, keepdim=True).expand(n, 4) if self.constant else found

    def critic_loss(self, x):
        real, fake = self.critic(x.flatten(1)), self.critic(self.fake(len(x)))
        return {"loss": ((real - 1).square() + fake.square()).mean() if self.squares else fake.mean() - real.mean()}

    def generator_loss(self, x):
        fake = self.fake(len(x))
        loss = (self.critic(fake) - 1).square().mean() if self.squares else -self.critic(fake).mean()
        return {"loss": loss, "diversity": fake.detach().std(0).mean() / x.flatten(1).std(0).mean()}


class Constant(Callback):
    """Forces the generator to a constant in steps [first, last)."""

    def __init__(self, first: int, last: int = 10**9) -> None:
        self.first, self.last = first, last

    def step(self, trainer) -> None:
        trainer.model.constant = self.first <= trainer.done < self.last


def look(watch: TroubleWatch, **terms: list[float]) -> list[dict]:
    records = [{"stage": "stage1", "step": i, **{n.replace("__", "/"): v for n, v in zip(terms, values)}}
               for i, values in enumerate(zip(*terms.values()))]
    for record in records:
        watch.log(HERE, record)
    return records


def test_a_collapse_is_warned_of_once():
    said: list[str] = []
    active = [5.0, 0.0, 0.0, 2.0, 0.0, 0.1, 0.0, 0.0, 0.0]
    look(TroubleWatch(said.append, patience=3), active_dimensions=active, critic__accuracy=[1.0] * len(active))
    assert len(said) == 2 and "the discriminator tells" in said[0] and "stage1, step 2" in said[0]
    assert "stage1, step 6: active_dimensions: posterior collapse since step 4: no latent dimension" in said[1]


def test_a_trouble_that_passes_is_said_to_have_passed():
    said: list[str] = []
    diversity = [1.0] * 3 + [0.01] * PATIENCE + [0.5] * RELIEF + [0.01] * 2 + [0.5]
    records = look(TroubleWatch(said.append), generator__diversity=diversity)
    assert [r["step"] for r in records if "warning" in r] == [3 + PATIENCE - 1]
    assert [r["step"] for r in records if "warning_over" in r] == [3 + PATIENCE + RELIEF - 1]
    assert "there since step 3, has passed" in said[1] and len(said) == 2


@pytest.mark.parametrize("losses, warned", [
    ([2.0, -1.0, 3.0, 1.5, -2500.0, -2500.0], [4]),     # the median does not follow the runaway
    ([1e-4, -1e-4, 2e-4, 1e-4, 1.0], []),               # around zero nothing is far
    ([-800.0, 10.0, 700.0, 900.0, -500.0], []),
    ([2e9, 1.0], [0]),                                  # lost before the first record
])
def test_a_loss_that_runs_away(losses, warned):
    assert [r["step"] for r in look(TroubleWatch(lambda text: None), loss=losses) if "warning" in r] == warned


def test_a_constant_generator_is_noticed_and_the_last_good_checkpoint_kept(tmp_path, train):
    run = RunFolder.create(tmp_path / "run", {})
    train(Pair(), run=run, steps=120, lr=1e-3, trainer={"log_every": 2, "checkpoint_seconds": 0.0, "callbacks": [Constant(40)]})
    named = [(r["step"], r["warning"]) for r in run.read_metrics() if "warning" in r]
    assert [step for step, _ in named] == [42 + 2 * (PATIENCE - 1)]
    assert named[0][1].startswith("generator/diversity: mode collapse since step 42: ")
    kept = tmp_path / "run" / "checkpoints" / "last-good"
    tensors, meta = load_tensors(kept, "a checkpoint")
    assert meta["step"] == 40
    page = write_report(run.path).read_text()
    assert "<h2>Warnings</h2>" in page and "mode collapse" in page and f"--start-from {kept}" in page

    fresh = Pair()
    weights, origin = saved_weights(kept)
    fresh.load_state_dict(weights)
    assert origin == kept and torch.equal(fresh.generator.weight, tensors["model/generator.weight"])
    with pytest.raises(CheckpointError, match="should hold the weights of a model"):
        saved_weights(tmp_path / "run" / "checkpoints" / "nothing")
    with pytest.raises(CheckpointError, match=r"no finished model; .* name .*run/checkpoints/stage1-00000120\."):
        saved_weights(run.path)


def test_a_suspicion_that_passes_leaves_nothing(tmp_path, train):
    run = RunFolder.create(tmp_path / "run", {})
    trainer = {"log_every": 2, "checkpoint_seconds": 0.0, "callbacks": [Constant(40, 60)]}
    train(Pair(), run=run, steps=120, lr=1e-3, trainer=trainer)
    assert not any("warning" in r for r in run.read_metrics())
    assert not (run.path / "checkpoints" / "last-good.json").exists()
    assert "Warnings" not in write_report(run.path).read_text()


def test_going_on_after_an_interruption_neither_forgets_nor_repeats(tmp_path, train):
    class Leave(Callback):
        def __init__(self, at: int) -> None:
            self.at = at

        def log(self, trainer, record) -> None:
            if trainer.done == self.at:
                signal.raise_signal(signal.SIGINT)

    run = RunFolder.create(tmp_path / "run", {})
    options = {"run": run, "steps": 120, "lr": 1e-3}
    for at, resume in ((60, False), (100, True), (0, True)):  # amid the suspicion, and amid the trouble
        module = Pair()
        callbacks = [Constant(40), Leave(at)]
        module.constant = resume
        trainer = {"log_every": 2, "checkpoint_seconds": 0.0, "callbacks": callbacks}
        if at:
            with pytest.raises(KeyboardInterrupt):
                train(module, resume=resume, trainer=trainer, **options)
        else:
            train(module, resume=resume, trainer=trainer, **options)
    assert [r["step"] for r in run.read_metrics() if "warning" in r] == [42 + 2 * (PATIENCE - 1)]
    assert load_tensors(run.path / "checkpoints" / "last-good", "a checkpoint")[1]["step"] == 40


def test_a_thousandfold_learning_rate_is_noticed(tmp_path, train):
    run = RunFolder.create(tmp_path / "run", {})
    settings = {"steps": 400, "lr": 2e-3, "optimizer": "sgd", "betas": (0.0, 0.9)}
    trainer = {"log_every": 1, "checkpoint_seconds": 0.0}
    train(Pair(squares=True), run=run, trainer=trainer, **settings)
    assert not any("warning" in r for r in run.read_metrics())
    hot = RunFolder.create(tmp_path / "hot", {})
    with pytest.raises(DivergenceError):
        train(Pair(squares=True), run=hot, trainer=trainer, **{**settings, "lr": 2.0})
    warnings = [r for r in hot.read_metrics() if "warning" in r]
    assert "divergence since step" in warnings[0]["warning"] and "NaN or infinite" in warnings[-1]["warning"]
    assert load_tensors(hot.path / "checkpoints" / "last-good", "a checkpoint")[1]["step"] < warnings[0]["step"]


def test_what_is_not_finite_is_in_the_log_and_the_report(tmp_path, train, Line):
    class Poison(Callback):
        def step(self, trainer) -> None:
            if trainer.done == 9:
                trainer.model.beta.fill_(float("nan"))

    run = RunFolder.create(tmp_path / "run", {})
    with pytest.raises(DivergenceError):
        train(Line(), run=run, trainer={"log_every": 2, "checkpoint_seconds": 0.0, "callbacks": [Poison()]})
    last = run.read_metrics()[-1]
    assert last["step"] == 10 and "divergence: the loss of only became NaN" in last["warning"]
    assert load_tensors(run.path / "checkpoints" / "last-good", "a checkpoint")[1]["step"] == 8
    assert "became NaN or infinite at step 10" in write_report(run.path).read_text()


@pytest.mark.parametrize(("settings", "told"), [
    ({"gamma_init": 2.0}, True), ({"gamma_init": 0.4}, False), ({"gamma": 2.0}, False), ({"gamma": "optimal"}, False),
    ({"likelihood": "bernoulli"}, False)])
def test_a_learned_gamma_far_above_the_errors_is_told_at_the_end(settings, told):
    decoder = nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (1, 2, 2)))
    decoder.output = "logits"
    module = VAE(nn.Sequential(nn.Flatten(), nn.Linear(4, 6)), decoder, data_shape=(1, 2, 2), latent_dim=3, **settings)
    x, said = torch.rand(50, 1, 2, 2, generator=torch.Generator().manual_seed(0)), []
    terms = {f"autoencoder/{name}": value.item() for name, value in module.loss(x).items()}
    watch = TroubleWatch(said.append)
    for done in (1, 2):
        record = {"stage": "stage1", "step": done, **terms}
        watch.log(SimpleNamespace(run=None, stage=SimpleNamespace(name="stage1", module=module), done=done, total=2), record)
        assert bool(said) == ("warning" in record) == (told and done == 2)
    if told:
        error = (module.reconstruct(x) - x).square().mean().sqrt().item()  # of other draws
        [shown] = re.findall("square error is ([0-9.]+),", said[0])
        assert float(shown) == pytest.approx(error, rel=0.3) and "gamma is still 2 " in said[0]


def test_errors_that_rounding_hides_beside_gamma_are_told_too():
    module = VAE(nn.Flatten(), nn.Flatten(), data_shape=(1, 2, 2), latent_dim=2)
    told = module.doubt({"gamma": 0.5, "reconstruction": 4 * (0.9189 + math.log(0.5)) - 1e-4})
    assert "square error is 0," in told
