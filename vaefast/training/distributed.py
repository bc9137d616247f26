"""Processes that train one model together, as torchrun starts them."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vaefast.models.player import Player
from vaefast.ops import set_rank


@dataclass(frozen=True)
class World:
    """This process among `size`; rank 0 writes the files."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()

    def any(self, value: bool, device: torch.device) -> bool:
        """Whether `value` holds in any process; all must ask."""
        return bool(self.largest(int(value), device))

    def largest(self, value: int, device: torch.device) -> int:
        """The largest of the processes' numbers; all must ask."""
        if self.size == 1:
            return value
        flag = torch.tensor(float(value), device=device)
        self.agree(flag)
        return int(flag.item())

    def share(self, module: nn.Module) -> None:
        """Give every process rank 0's buffers: those of layers that were not synchronised differ."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def agree(self, flag: Tensor) -> None:
        """Make `flag` the largest of the processes' flags, in place."""
        if self.size > 1:
            dist.all_reduce(flag, dist.ReduceOp.MAX)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of the processes' tensors."""
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values


def world() -> World:
    """The process group that is joined, or this process alone."""
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()


def join(device: torch.device) -> torch.device:
    """Join the processes that torchrun started, if it did (NCCL between GPUs, Gloo between CPUs); the device to use.

    Outside torchrun, and in a group that is joined already, only the device is chosen.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 and not world().size > 1:
        return device
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        store, rank, size = next(dist.rendezvous("env://"))
        if os.environ.get("GROUP_WORLD_SIZE") == "1":
            # torchrun keeps its store over a restart, and with it the addresses of processes that are gone (pytorch#135712)
            store = dist.PrefixStore(f"attempt{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=size)
    set_rank(dist.get_rank())
    return device


def leave() -> None:
    """Leave the process group."""
    if dist.is_available() and dist.is_initialized():
        gc.collect()  # what is left of a graph with sums over processes must not outlive the group's threads
        dist.destroy_process_group()
    set_rank(0)


def restarted() -> bool:
    """Whether torchrun started this process again after a failure (--max-restarts)."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


class _Loss(nn.Module):
    """A player's loss as a module that owns the player's parameters alone, so that DDP averages just their gradients."""

    def __init__(self, player: Player, loss: Callable[..., dict[str, Tensor]]) -> None:
        super().__init__()
        for index, parameter in enumerate(player.parameters.values()):
            self.register_parameter(str(index), parameter)
        self._call = (loss,)  # in a tuple: a module here would be registered, with everybody's parameters

    def forward(self, *batch: Tensor) -> dict[str, Tensor]:
        return self._call[0](*batch)


def averaged_over_processes(player: Player, loss: Callable[..., dict[str, Tensor]],
                            device: torch.device) -> Callable[..., dict[str, Any]]:
    """The player's `loss`; its backward leaves the mean gradient of all processes."""
    # the module has no buffers to broadcast; each process keeps its own until the stage ends
    return DistributedDataParallel(_Loss(player, loss), device_ids=[device] if device.type == "cuda" else None,
                                   gradient_as_bucket_view=True)
