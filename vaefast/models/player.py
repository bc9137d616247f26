"""Players: what a model says of how it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


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
    """

    name: str
    parameters: dict[str, nn.Parameter]
    loss: Callable[..., dict[str, Tensor]]
    updates: int = 1
    new_batch: bool = True


def players_of(module: nn.Module) -> list[Player]:
    """The players that `module.players()` names, in the order of their turns.

    A module without such a method is one player, "model": all its trainable parameters, and what its forward returns.
    """
    if hasattr(module, "players"):
        return list(module.players())
    return [Player("model", trainable(module), module)]


def trainable(*modules: nn.Module) -> dict[str, nn.Parameter]:
    """Trainable parameters of the modules by name, each once."""
    found: dict[str, nn.Parameter] = {}
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and not any(parameter is p for p in found.values()):
                found[name if name not in found else f"{name}.{len(found)}"] = parameter
    return found
