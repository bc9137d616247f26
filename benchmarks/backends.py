"""Fails where the compiled kernels of a device cannot run an op: `python -m benchmarks.backends cuda|cpu`."""

from __future__ import annotations

import sys

from vaefast import ops

WANTED = {"cuda": ("triton", "cuda"), "cpu": ("cpp",)}


def main(device: str) -> int:
    missing = 0
    for op, served in ops.backends().items():
        choice = served[device]
        print(f"{op}: {choice.backend}")
        for name in WANTED[device]:
            reason = choice.others.get(name, "usable")
            if not reason.startswith("usable"):
                print(f"  {name} cannot run: {reason}")
                missing = 1
    return missing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
