"""A pytest plugin that prints a failure when it happens, for runs that a time limit may end: `pytest -p benchmarks.instant`."""

from __future__ import annotations

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """With the end of its traceback."""
    if report.failed:
        print(f"\n! {report.nodeid}\n{report.longreprtext[-1500:]}", flush=True)
