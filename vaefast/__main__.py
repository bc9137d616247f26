"""`python -m vaefast`, and the command `vaefast`."""

import sys


def run() -> int:
    """The command line; Ctrl-C before it is there ends it, too, without a traceback."""
    try:
        from vaefast.cli import main

        return main()
    except KeyboardInterrupt:
        print("\nvaefast: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
