"""A step on a loss that is not finite, taken back without a look at it: what a GPU does for optimizers without `found_inf`."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vaefast.models import Player
from vaefast.training import StageSettings
from vaefast.training.turn import Turn

CPU = torch.device("cpu")


def turn_of(weight: nn.Parameter, optimizer: str) -> Turn:
    settings = StageSettings(steps=5, lr=0.1, optimizer=optimizer, weight_decay=0.1, schedule="constant")
    return Turn(Player("only", {"w": weight}, lambda x: {"loss": (weight - x).square().sum()}), [], settings, module=nn.Module(),
                loss=lambda x: {"loss": (weight - x).square().sum()}, device=CPU, precision="fp32")


@pytest.mark.parametrize("optimizer", ["rmsprop", "rmsprop-tf"])
@pytest.mark.parametrize("steps_before", [0, 2])
def test_weights_and_memory_stay(steps_before, optimizer):
    weight, same = (nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    turn, other = turn_of(weight, optimizer), turn_of(same, optimizer)
    for t, w in ((turn, weight), (other, same)):
        for _ in range(steps_before):
            w.grad = torch.ones(5)
            t._step_or_undo(torch.zeros(()))
    weight.grad = torch.full((5,), float("nan"))
    turn._step_or_undo(torch.ones(()))
    assert torch.equal(weight, same)
    for t, w in ((turn, weight), (other, same)):  # both go on alike
        w.grad = torch.ones(5)
        t._step_or_undo(torch.zeros(()))
    assert torch.equal(weight, same)
    for x, y in zip(turn.optimizer.state[weight].values(), other.optimizer.state[same].values()):
        assert torch.equal(torch.as_tensor(x), torch.as_tensor(y))
