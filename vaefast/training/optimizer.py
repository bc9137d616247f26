"""A player's optimizer, and its learning rate as the step sees it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.models.player import Player
from vaefast.training.rmsprop_tf import TensorFlowRMSprop
from vaefast.training.settings import PlayerSettings


def make_optimizer(player: Player, settings: PlayerSettings, device: torch.device) -> torch.optim.Optimizer:
    """The player's optimizer, with log gamma in a group of its own that remembers its share of the learning rate.

    On a GPU its state and learning rate live on the device, so that a captured step can read them.
    """
    if not player.parameters:
        raise ArgumentError(f"{player.name} has no parameter to train: are all of them frozen (requires_grad False)?")
    gamma = [p for name, p in player.parameters.items() if is_log_gamma(name)]
    rest = [p for name, p in player.parameters.items() if not is_log_gamma(name)]
    cuda = device.type == "cuda"
    fused = device.type != "mps"  # whose fused steps need not know `found_inf`

    def lr() -> Any:  # a tensor of each group's own
        return torch.tensor(settings.lr, device=device) if cuda else settings.lr

    groups = [{"params": params, "factor": factor, "lr": lr()}
              for params, factor in ((rest, 1.0), (gamma, settings.gamma_lr_factor)) if params]
    common: dict[str, Any] = {"lr": lr(), "weight_decay": settings.weight_decay}
    if settings.optimizer in ("adam", "adamw"):
        kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
        return kind(groups, **common, betas=settings.betas, eps=settings.eps, fused=fused, capturable=cuda)
    if settings.optimizer == "rmsprop-tf":
        return TensorFlowRMSprop(groups, **common, decay=settings.betas[1], eps=settings.eps)
    if settings.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, **common, alpha=settings.betas[1], eps=settings.eps, capturable=cuda)
    sgd = torch.optim.SGD(groups, **common, momentum=settings.betas[0], fused=fused)
    if settings.betas[0]:
        for p in player.parameters.values():  # a first step that is skipped would leave them as they came from memory
            sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return sgd


def is_log_gamma(name: str) -> bool:
    """Whether a parameter of this name is a learned log gamma, which `gamma_lr_factor` is of."""
    return name.split(".")[-1] == "log_gamma"


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its share of `lr`, without waiting for the device."""
    for group in optimizer.param_groups:
        value = lr * group["factor"]
        if isinstance(group["lr"], Tensor):
            if group.get("lr_set") != value:
                group["lr"].fill_(value)
                group["lr_set"] = value
        else:
            group["lr"] = value


def skips(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimizer leaves weights and state alone where `found_inf` is 1 (torch's fused ones do)."""
    return bool(optimizer.defaults.get("fused"))
