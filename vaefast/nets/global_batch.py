"""Statistics of the batch of all processes that train together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vaefast.collectives import all_rows, all_sum
from vaefast.errors import ArgumentError


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def global_mean(x: Tensor) -> Tensor:
    """Mean over the processes of their tensors, with gradients to all of them."""
    return x if processes() == 1 else all_sum(x) / processes()


def global_rows(x: Tensor) -> Tensor:
    """The rows of all processes' tensors, one process after the other, with gradients to all of them."""
    return x if processes() == 1 else all_rows(x)


def own_rows(x: Tensor, draw: Callable[[torch.Size], Tensor]) -> Tensor:
    """This process's rows of noise that `draw(shape)` makes for the batch of all processes, of which x is a part.

    Processes that train together share their random numbers; each would add the same noise otherwise.
    """
    count = processes()
    if count == 1:
        return draw(x.shape)
    return draw(torch.Size((count * len(x), *x.shape[1:])))[dist.get_rank() * len(x):][:len(x)]


def use_global_batch(model: nn.Module) -> None:
    """Let every layer and objective of `model` take its statistics over the batch of all processes.

    These are the modules with an attribute `sync`; torch's own batch-norm layers become `nn.SyncBatchNorm`, which needs
    GPUs. Parameters and their names stay as they are.

    Raises:
        ArgumentError: a layer of torch's own that is on the CPU.
    """
    modules: list[Any] = list(model.modules())
    for parent in modules:
        if hasattr(parent, "sync"):
            parent.sync = True
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
                if any(p.device.type == "cpu" for p in child.parameters()):
                    raise ArgumentError(f"{name} is torch's {type(child).__name__}, which is not synchronised between CPUs; use "
                                        "vaefast.nets.BatchNorm.")
                setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
