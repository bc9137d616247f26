"""Sums and rows over the processes of a group, with gradients to all of them.

What torch has of this is deprecated from 2.14 on (`torch.distributed.nn.functional`) or private; these are the public
collectives, each with its derivative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def all_sum(x: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """Sum of the processes' tensors, of one shape; `group` is all of them if None."""
    total: Tensor = _Sum.apply(x, group)
    return total


def all_rows(x: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """The rows of all processes' tensors, of one shape, one process after the other."""
    rows: Tensor = _Rows.apply(x, group)
    return rows


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup | None) -> Tensor:
        ctx.group = group
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return all_sum(gradient, ctx.group), None


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup | None) -> Tensor:
        ctx.group, ctx.count = group, len(x)
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size(group))]
        dist.all_gather(parts, x.contiguous(), group=group)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        start = dist.get_rank(ctx.group) * ctx.count
        return all_sum(gradient, ctx.group)[start:start + ctx.count], None
