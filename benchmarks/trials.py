"""Trials one after the other, each with all threads, against trials at once that share them; in turns.

    python -m benchmarks.trials --out FILE.json [--device cuda] [--trials 4] [--steps 300] [--rounds 3]

The whole of a trial counts: the process's start, the training of both stages on random 28x28 images, the files.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.report import save
from benchmarks.training import images
from vaefast.experiments.processes import train_in_processes
from vaefast.experiments.request import Request
from vaefast.training.device import resolve_device


def seconds(data: Path, trials: int, steps: int, at_once: int, device: str) -> float:
    """Wall time of all trials."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [Request("two-stage", "npz", f"{folder}/trial-{n}", str(data), preset_name="short", seed=n, steps=(steps, steps),
                        device=device) for n in range(trials)]
        start = time.perf_counter()
        train_in_processes(runs, at_once)
        return time.perf_counter() - start


def run(trials: int, steps: int, rounds: int, device: str, save: Callable[[dict], None]) -> dict:
    """The whole report; `save` is given it after every measurement."""
    widths = [n for n in (1, 2, 4, 8) if n <= trials]
    times: dict[int, list[float]] = {n: [] for n in widths}
    report = {"machine": machine.describe(), "device": device, "trials": trials, "steps": steps, "at_once": {}}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.npz"
        np.savez(data, images=images(6_000).numpy())
        for _ in range(rounds):
            for at_once in widths:
                times[at_once].append(seconds(data, trials, steps, at_once, device))
                one = statistics.median(times[1])
                report["at_once"] = {str(n): {"seconds": statistics.median(s), "all": s, "faster": one / statistics.median(s)}
                                     for n, s in times.items() if s}
                save(report)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    report = run(options.trials, options.steps, options.rounds, str(resolve_device(options.device)),
                 partial(save, options.out))
    for n, row in report["at_once"].items():
        print(f"{n} at once: {row['seconds']:.1f} s, {row['faster']:.2f} times as fast as one after the other")


if __name__ == "__main__":
    main()
