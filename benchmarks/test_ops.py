"""Every case of benchmarks.ops under pytest-benchmark: `pytest benchmarks --benchmark-only [-k OP]`.

The table of a case shows every variant as a multiple of the fastest. `--benchmark-json FILE` keeps the figures.
"""

from __future__ import annotations

import pytest

from benchmarks.case import VARIANTS
from benchmarks.ops import OPS


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("op, size", [(op, size) for op, cases in OPS.items() for size in cases])
@pytest.mark.benchmark(max_time=1.0, min_rounds=3, warmup=True, warmup_iterations=1)
def test_forward_and_backward(benchmark, op, size, variant):
    benchmark.group = f"{op}, {size}"
    step = OPS[op][size]().steps.get(variant)
    if step is None:
        pytest.skip(f"{op} has no variant {variant} here")
    step()  # compiles
    benchmark(step)
