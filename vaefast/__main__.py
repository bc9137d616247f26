"""`python -m vaefast`, and the command `vaefast`."""

import os
import signal
import sys
from typing import Any

_STOPPED = 130


def run() -> int:
    """The command line; Ctrl-C before it is there ends it, too, without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # nohup and others have it ignored
        signal.signal(signal.SIGINT, _leave)
    try:
        from vaefast.cli import main

        return main(ready=_ready)
    except KeyboardInterrupt:
        print("\nvaefast: stopped", file=sys.stderr)
        return _STOPPED


def _leave(number: int, frame: Any) -> None:
    """End at once. An exception would be lost in libraries that are being imported: some catch all, and are half there."""
    os.write(2, b"\nvaefast: stopped\n")
    os._exit(_STOPPED)


def _ready() -> None:
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(run())
