"""Ctrl-C and SIGTERM, taken in between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NO, END, INTERRUPT = range(3)
"""What was asked for: nothing, an end of the run, or an interruption, which outdoes an end."""


class Stop:
    """`asked` is INTERRUPT from the first Ctrl-C (or SIGTERM) on; the second one interrupts at once."""

    def __init__(self) -> None:
        self.asked = NO

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the signals inside (in the main thread; elsewhere Python does not allow it), and forget at the end what was
        asked."""
        if threading.current_thread() is not threading.main_thread():
            try:
                yield
            finally:
                self.asked = NO
            return

        def ask(number: int, frame: Any) -> None:
            if self.asked == INTERRUPT:
                raise KeyboardInterrupt
            self.asked = INTERRUPT

        previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            self.asked = NO
            for number, handler in previous.items():
                signal.signal(number, handler)
