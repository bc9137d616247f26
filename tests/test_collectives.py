"""Sums and rows over two processes, against the same of one tensor; and their first and second derivatives."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from vaefast.collectives import all_rows, all_sum

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")
ROWS, SIZE = 3, 2
X = torch.linspace(-1, 1, SIZE * ROWS * 2, dtype=torch.float64).view(SIZE, ROWS, 2)


def cubes_of_sum(parts: list[Tensor]) -> Tensor:
    return sum(parts).pow(3).sum()


def cubes_of_rows(parts: list[Tensor]) -> Tensor:
    rows = torch.cat(parts)
    return (torch.arange(1.0, rows.numel() + 1, dtype=rows.dtype).view_as(rows) * rows.pow(3)).sum()


def derivatives(value: Tensor, x: Tensor) -> list[Tensor]:
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    return [value.detach(), first.detach(), second]


def process(rank: int, folder: str) -> None:
    warnings.simplefilter("error", FutureWarning)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=SIZE)
    found = []
    for collect, cost in ((all_sum, lambda t: cubes_of_sum([t])), (all_rows, lambda t: cubes_of_rows([t]))):
        x = X[rank].t().contiguous().t().requires_grad_()  # in another memory order
        found.append(derivatives(cost(collect(x)), x))
    torch.save(found, f"{folder}/{rank}")
    dist.destroy_process_group()


def test_values_and_derivatives(tmp_path: Path):
    torch.multiprocessing.spawn(process, (str(tmp_path),), nprocs=SIZE)
    for kind, cost in enumerate((cubes_of_sum, cubes_of_rows)):
        parts = [x.clone().requires_grad_() for x in X]
        # every process differentiates its own loss, here each of the same value: gradients are those of the losses' sum
        value = cost(parts)
        firsts = torch.autograd.grad(SIZE * value, parts, create_graph=True)
        seconds = torch.autograd.grad(sum(f.sum() for f in firsts), parts)
        for rank in range(SIZE):
            for found, expected in zip(torch.load(tmp_path / str(rank))[kind], (value, firsts[rank], seconds[rank])):
                torch.testing.assert_close(found, expected.detach())
