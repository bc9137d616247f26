"""reparam_kl under pytest-benchmark: `pytest benchmarks`; `--benchmark-json FILE` keeps the figures."""

from __future__ import annotations

import pytest

from benchmarks.case import VARIANTS
from benchmarks.reparam_kl import TARGETS, case


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("elements", TARGETS)
@pytest.mark.benchmark(max_time=1.0, min_rounds=5, warmup=True, warmup_iterations=2)
def test_forward_and_backward(benchmark, elements, variant):
    benchmark.group = f"reparam_kl, {elements:,} elements"
    step = case(elements).steps[variant]
    step()  # compiles
    benchmark(step)
