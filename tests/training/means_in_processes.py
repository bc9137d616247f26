"""Means over the processes that torchrun starts of a script's `values(rank, size)`: means_in_processes.py SCRIPT OUT."""

from __future__ import annotations

import runpy
import sys

import torch
import torch.distributed as dist

from vaefast.training.distributed import join, leave


def main(script: str, out: str) -> None:
    join(torch.device("cpu"))
    means = []
    for value in runpy.run_path(script)["values"](dist.get_rank(), dist.get_world_size()):
        dist.all_reduce(value)
        means.append(value / dist.get_world_size())
    if dist.get_rank() == 0:
        torch.save(means, out)
    leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
