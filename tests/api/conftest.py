"""What the tests of models share."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from vaefast.training import Callback


class _StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, trainer):
        if trainer.done == self.at:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def stop_at() -> Callable[[int], Callback]:
    """step -> a callback that ends the run there, as Ctrl-C does."""
    return _StopAt
