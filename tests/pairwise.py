"""Which cases of a test with several parameters run by default: enough that every two values of two parameters meet.

The others are marked `exhaustive`: `pytest -m exhaustive` runs them, `pytest -m ""` runs all.
"""

from __future__ import annotations

from itertools import combinations

import pytest


def cover(cases: list[dict[str, int]]) -> set[int]:
    """Indices of cases (values by parameter) that together hold every pair of values that any of them holds; greedy, and always
    the same."""
    pairs = [set(combinations(sorted(case.items()), 2)) for case in cases]
    missing, chosen = set().union(*pairs), set()
    while missing:
        best = max(range(len(cases)), key=lambda i: len(pairs[i] & missing))
        chosen.add(best)
        missing -= pairs[best]
    return chosen


def mark_exhaustive(items: list[pytest.Item]) -> None:
    """Mark the cases that a test of three or more parameters can do without."""
    tests: dict[tuple, list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and len(item.callspec.params) > 2:
            tests.setdefault((item.path, item.cls, item.originalname), []).append(item)
    for cases in tests.values():
        # a parameter's values are the same objects in all cases
        chosen = cover([{name: id(value) for name, value in item.callspec.params.items()} for item in cases])
        for i, item in enumerate(cases):
            if i not in chosen:
                item.add_marker(pytest.mark.exhaustive)
