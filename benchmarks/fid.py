"""FID, from folders of PNG files to the number: this package and pytorch-fid in turns, on the same images and weights.

    python -m benchmarks.fid --out FILE.json [--images 1000] [--size 64] [--threads 2] [--rounds 3] [--device cpu]
                             [--inception-weights FILE]

Both run in this process with the network already loaded. pytorch-fid runs by the functions behind `python -m pytorch_fid`
at its defaults: batches of 50, a worker process a core, scipy's matrix square root. Without a weights file both get the same
random weights, which cost the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.inception import peer, pictures, random_state, write_pngs
from benchmarks.machine import describe
from vaefast.metrics import Inception, fid, frechet_distance


def _timed(call: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def _peer_fid(model: torch.nn.Module, folders: tuple[Path, Path], device: torch.device) -> tuple[float, list[Any]]:
    from pytorch_fid import fid_score

    workers = min(8, len(os.sched_getaffinity(0)))
    sides = [fid_score.compute_statistics_of_path(str(folder), model, 50, 2048, device, workers) for folder in folders]
    return float(fid_score.calculate_frechet_distance(*sides[0], *sides[1])), sides


def compare(folders: tuple[Path, Path], state: dict[str, torch.Tensor], weights: Path, rounds: int, device: torch.device) -> dict:
    """Seconds of both, in turns, and the numbers they find."""
    model, extractor = peer(state).to(device), Inception(weights, device=device, notice=lambda _: None)
    steps = {"pytorch-fid": lambda: _peer_fid(model, folders, device)[0],
             "vaefast": lambda: fid(*folders, extractor=extractor, cache=False, notice=lambda _: None).value}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    values: dict[str, float] = {}
    for _ in range(rounds):
        for name, step in steps.items():
            taken, values[name] = _timed(step, device)
            seconds[name].append(taken)
            print(f"{name:12} {taken:8.2f} s   {values[name]:.6f}", flush=True)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    return {
        "seconds": {name: [round(t, 3) for t in taken] for name, taken in seconds.items()},
        "speedup": round(medians["pytorch-fid"] / medians["vaefast"], 3),
        "fid": values,
        "relative_difference": abs(values["vaefast"] / values["pytorch-fid"] - 1),
    }


def distance_alone(rows: int, device: torch.device, rounds: int) -> dict:
    """The Fréchet distance of 2,048 features, from features to the number, against scipy's square root in pytorch-fid."""
    import numpy as np
    from pytorch_fid.fid_score import calculate_frechet_distance

    rng = torch.Generator().manual_seed(0)
    mix = torch.randn(2048, 2048, generator=rng) * torch.linspace(0, 1, 2048) ** 4 / 45
    first, second = ((torch.randn(rows, 2048, generator=rng) @ mix).abs() * scale for scale in (1.0, 1.1))
    on_device = first.to(device), second.to(device)

    def theirs() -> float:
        a, b = first.numpy(), second.numpy()
        return float(calculate_frechet_distance(a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False)))

    steps = {"pytorch-fid": theirs, "vaefast": lambda: frechet_distance(*on_device)}
    taken: dict[str, list[float]] = {name: [] for name in steps}
    values = {}
    for _ in range(rounds):
        for name, step in steps.items():
            seconds, values[name] = _timed(step, device)
            taken[name].append(round(seconds, 3))
    return {"rows": rows, "features": 2048, "seconds": taken, "value": values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--images", type=int, default=1000, help="in each of the two folders (default: 1000)")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (default: 64)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--inception-weights", type=Path, metavar="FILE", help="pytorch-fid's .pth; without: random ones")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore", module="pytorch_fid")  # of scipy's square root, on singular matrices
    device = torch.device(args.device)
    machine = describe()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        weights = args.inception_weights or work / "random.pth"
        if args.inception_weights is None:
            torch.save(random_state(), weights)
        state = torch.load(weights, weights_only=True)
        folders = tuple(write_pngs(pictures(args.images, args.size, seed), work / str(seed)) for seed in (1, 2))
        result = {
            "machine": machine | {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"},
            "images": args.images, "size": args.size, "weights": "2015" if args.inception_weights else "random",
            "whole": compare(folders, state, weights, args.rounds, device),
            "distance_alone": distance_alone(10_000, device, args.rounds),
        }  # fmt: skip
    result["machine"]["load_after"] = round(os.getloadavg()[0], 2)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{result['whole']['speedup']} times as fast as pytorch-fid; written to {args.out}")


if __name__ == "__main__":
    main()
