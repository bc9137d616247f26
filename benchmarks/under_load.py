"""Training on a CPU beside another process that takes half of the cores: OpenMP's threads that wait asleep, and that spin.

`python -m benchmarks.under_load --out FILE.json`: images a second of stage 1 of preset quick at 28x28, in processes of their
own, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TURNS, STEPS, FIRST = 3, 60, 10
POLICIES = {"asleep": {"OMP_WAIT_POLICY": "passive"}, "as torch is": {}}
"""What `vaefast` sets, and what there is without it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out")
    parser.add_argument("--rate", type=int, metavar="STEPS", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rate:
        print(rate(args.rate))
        return
    from benchmarks import machine

    result: dict[str, Any] = {"machine": machine.describe(), "unit": "images a second", "rates": {}}
    for _ in range(TURNS):
        for load in ("idle", "half of the cores busy"):
            for name, policy in POLICIES.items():
                one = measured(policy, (os.cpu_count() or 2) // 2 if load != "idle" else 0)
                result["rates"].setdefault(load, {}).setdefault(name, []).append(one)
                print(f"{load}, {name}: {one:.0f} images a second", flush=True)
    idle = statistics.median(result["rates"]["idle"]["as torch is"])
    result["share_of_idle"] = {load: {name: statistics.median(values) / idle for name, values in rates.items()}
                               for load, rates in result["rates"].items()}
    if args.out:
        Path(args.out).write_text(json.dumps(result, indent=1) + "\n")


def measured(policy: dict[str, str], busy: int) -> float:
    """The rate in a process of its own, beside so many that compute."""
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        steps = STEPS if policy or not busy else FIRST + 10  # which is slow
        done = subprocess.run([sys.executable, "-m", "benchmarks.under_load", "--rate", str(steps)], check=True, text=True,
                              stdout=subprocess.PIPE, env={**environment, **policy})
    finally:
        for other in others:
            other.kill()
    return float(done.stdout.splitlines()[-1])


def rate(steps: int) -> float:
    """Images a second of training, after the first few steps."""
    import torch  # before vaefast, which would tell its threads how to wait

    import vaefast
    from vaefast.training.allocator import keep_freed_memory

    times: list[float] = []

    class Clock(vaefast.training.Callback):
        def step(self, trainer: Any) -> None:
            times.append(time.perf_counter())

    keep_freed_memory()
    torch.manual_seed(0)
    model = vaefast.VAE((1, 28, 28), 16, nets="residual", gamma="optimal")
    images = torch.randint(0, 256, (6400, 1, 28, 28), dtype=torch.uint8)
    model.fit(images, steps=steps, batch_size=128, lr=1e-3, device="cpu", progress=False, callbacks=[Clock()])
    return 128 * (len(times) - FIRST) / (times[-1] - times[FIRST - 1])


if __name__ == "__main__":
    main()
