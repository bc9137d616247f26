"""Players: what a model says of how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vaefast.errors import ArgumentError

COMPILED: dict[str, Any] = {"dynamic": False, "options": {"layout_optimization": False, "fallback_random": True}}
"""How losses are compiled. The engine chooses the memory order itself (a compiler that moves a convolution to NHWC beside it
meets cuDNN's own choice where a side has one channel, and stops), and what is drawn is what plain PyTorch draws, though several
draws of one loss (a PatchGAN's dropout of real and fake images) can change places on a GPU."""
Parts = list[tuple[Tensor, ...]]
"""A batch's tensors, part by part."""


@dataclass(frozen=True)
class Player:
    """A group of parameters with a loss of its own.

    Args:
        name: such as "generator"; records and settings call it so.
        parameters: by name, those that its loss moves. No parameter belongs to two players of a model.
        loss: a batch's tensors (images; images and labels where the data have labels) -> named scalars, of which
            `loss` is minimised over `parameters`.
        updates: optimizer steps in one iteration.
        new_batch: whether each update draws a batch; if not, it is given the one before it again.
        every: its turn comes in iterations 0, every, 2 * every, ... of the stage (batches of a turn left out go unused).
        compiled: makes the loss that is used where losses are compiled; None compiles `loss` as a whole. For a loss of which
            only parts can be: the second derivatives of a gradient penalty cannot.
        around: called before each update with the list of the parts in which its batch goes through `loss` (one, unless the
            batch is accumulated); gives a context that is left after the last of them. For what a part must know of the whole.

    Raises:
        ArgumentError: updates or every below 1.
    """

    name: str
    parameters: dict[str, nn.Parameter]
    loss: Callable[..., dict[str, Tensor]]
    updates: int = 1
    new_batch: bool = True
    every: int = 1
    compiled: Callable[[], Callable[..., dict[str, Tensor]]] | None = None
    around: Callable[[Parts], AbstractContextManager[None]] | None = None

    def __post_init__(self) -> None:
        for name in ("updates", "every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(f"{name} of player {self.name!r} is {value!r}; expected a whole number above 0.")

    def updates_within(self, start: int, stop: int) -> int:
        """Optimizer steps that this turn takes in iterations start, ..., stop - 1 of the stage."""
        return self.updates * (-(-stop // self.every) + -start // self.every)


def players_of(module: nn.Module) -> list[Player]:
    """The turns of an iteration, in their order, as `module.players()` lists them.

    A name that is listed twice has two turns, of the same parameters and loss, with one optimizer. A module without such a
    method is one player, "model": all its trainable parameters, and what its forward returns.
    """
    players: Callable[[], Iterable[Player]] | None = getattr(module, "players", None)
    return [Player("model", trainable(module), module)] if players is None else list(players())


def trainable(*modules: nn.Module) -> dict[str, nn.Parameter]:
    """Trainable parameters of the modules by name, each once."""
    parameters: dict[str, nn.Parameter] = {}
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and not any(parameter is p for p in parameters.values()):
                parameters[name if name not in parameters else f"{name}.{len(parameters)}"] = parameter
    return parameters
