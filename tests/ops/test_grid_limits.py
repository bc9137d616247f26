"""Grids of Triton launches on large inputs: a GPU takes 2^31 - 1 programs along the first axis, 65,535 along the others."""

from __future__ import annotations

import pytest
import torch

from vaefast.ops import _native

pytest.importorskip("triton")


class Launch:
    """A kernel that only says what grid it was launched with."""

    def __init__(self) -> None:
        self.grids: list[tuple[int, ...]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Launch:
        self.grids.append(grid)
        return self

    def __call__(self, *args: object, **constants: object) -> None:
        pass


def fits(grid: tuple[int, ...]) -> bool:
    return grid[0] < 2**31 and all(n <= 65_535 for n in grid[1:])


def large(*shape: int) -> torch.Tensor:
    return torch.zeros(1).expand(shape)


def test_errors_of_a_million_rows_and_of_long_ones(monkeypatch):
    kernels = _native.kernels("error_sums")
    launch = Launch()
    monkeypatch.setattr(kernels, "forward_kernel", launch)
    monkeypatch.setattr(kernels, "backward_kernel", launch)
    for rows, k in ((1_100_000, 256), (3, 2**30), (2**24, 1)):
        x, chunks = large(rows, k), -(-k // 8192)
        kernels.forward(x, x, None, large(rows, chunks), large(rows, chunks), 8192, 0, False)
        kernels.backward(large(rows, chunks), None, x, x, None, None, x, None, None, 0, False)
    assert len(launch.grids) == 6 and all(map(fits, launch.grids))


def test_densities_of_many_dimensions(monkeypatch):
    kernels = _native.kernels("mixture_density")
    launch = Launch()
    monkeypatch.setattr(kernels, "forward_kernel", launch)
    z, mu = large(70_000, 5), large(70_000, 7)
    kernels._launch(launch, z, 5, 7, 3, 70_000, z, mu)
    assert all(map(fits, launch.grids)) and launch.grids == [(3 * 70_000,)]
