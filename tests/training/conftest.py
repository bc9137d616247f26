"""Small models for the engine's tests."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vaefast.models import Player
from vaefast.models.player import trainable
from vaefast.training import Stage, StageSettings, Trainer
from vaefast.training.sources import ImageSource

CPU = torch.device("cpu")


class _Line(nn.Module):
    """Least squares with a loss weight to schedule."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(4, 1)
        self.register_buffer("beta", torch.tensor(1.0), persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = x.flatten(1)
        error = (self.layer(x) - x.sum(1, keepdim=True)).square().mean()
        return {"loss": self.beta * error, "error": error, "beta": self.beta.detach().clone()}


class _Duel(nn.Module):
    """A GAN on points: two critic updates on batches of their own, then the generator on the last batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.generator, self.critic = nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        self.seen: list[tuple[str, Tensor]] = []

    def players(self) -> list[Player]:
        return [Player("critic", trainable(self.critic), self.critic_loss, updates=2),
                Player("generator", trainable(self.generator), self.generator_loss, new_batch=False)]

    def _fake(self, n: int) -> Tensor:
        return self.generator(torch.randn(n, 2))

    def critic_loss(self, x: Tensor) -> dict[str, Tensor]:
        self.seen.append(("critic", x))
        x = x.flatten(1)
        loss = self.critic(self._fake(len(x))).mean() - self.critic(x).mean()
        return {"loss": loss, "real": self.critic(x).mean()}

    def generator_loss(self, x: Tensor) -> dict[str, Tensor]:
        assert not any(p.requires_grad for p in self.critic.parameters())
        self.seen.append(("generator", x))
        return {"loss": -self.critic(self._fake(len(x))).mean()}


def _points(n: int = 48) -> Tensor:
    """Images [n, 1, 2, 2] in [0, 1]."""
    return torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(9))


@pytest.fixture
def Line():
    """A module of one player, without noise; call for one with the same first weights."""
    return _Line


@pytest.fixture
def Duel():
    """A module of two players; call for one with the same first weights."""
    return _Duel


@pytest.fixture
def points():
    """points(n): images [n, 1, 2, 2] in [0, 1]."""
    return _points


@pytest.fixture
def train():
    """train(module, **StageSettings, [run=, resume=, ...Trainer]) -> the trainer, which has fitted."""

    def train(module: nn.Module, *, data: Tensor | None = None, stage: dict | None = None, resume: bool = False,
              source: dict | None = None, run=None, trainer: dict | None = None, **settings) -> Trainer:
        images = _points() if data is None else data
        settings = StageSettings(**{"steps": 20, "batch_size": 8, "lr": 0.05, "schedule": "constant", **settings})
        made = Trainer(module, [Stage("only", module, lambda: ImageSource(images, CPU, **(source or {})), settings,
                                      **(stage or {}))], device="cpu", run=run,
                       **{"log_every": 4, "precision": "fp32", **(trainer or {})})  # on any CPU: loops by hand are the oracle
        made.fit(resume=resume)
        return made

    return train


@pytest.fixture
def shared_by_two(tmp_path: Path) -> Callable[[str], Iterable[tuple[Tensor, Tensor]]]:
    """script -> each of its values, as the mean over two processes that share a batch, and of one process alone."""
    def run(name: str) -> Iterable[tuple[Tensor, Tensor]]:
        script, out = Path(__file__).with_name(name), tmp_path / "shared"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        words = [*torchrun, str(script.with_name("means_in_processes.py")), str(script), str(out)]
        done = subprocess.run([sys.executable, *words], text=True, capture_output=True, timeout=120,
                              env=environment)
        assert done.returncode == 0, done.stderr[-4000:]
        return zip(torch.load(out, weights_only=True), runpy.run_path(str(script))["values"](0, 1))

    return run
