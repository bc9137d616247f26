"""Training on images that are read as it goes against images held in memory: images a second, in one process, in turns.

`python -m benchmarks.streams --out FILE.json [--workers 2]`: preset quick's networks on 28x28 grey and 64x64 colour images of
random values. "Dataset" is map-style and gives uint8 items; "augmented" mirrors and moves each by torch's random state;
"DataLoader" is torch's own of the same. Then what the process takes at most while it reads a set of `--times` times the images
of `--limit` megabytes: items are made when they are asked for.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import vaefast
from benchmarks import machine
from vaefast.experiments.presets import TWO_STAGE

SHAPES = {"28x28": (1, 28, 28), "64x64": (3, 64, 64)}
TURNS, STEPS, BATCH, COUNT = 3, 80, 128, 6_000


class Items(Dataset):
    """uint8 images, held; mirrored and moved at random if `changed`."""

    def __init__(self, images: Tensor, changed: bool = False) -> None:
        self.images, self.changed = images, changed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        image = self.images[index]
        if not self.changed:
            return image
        image = image.flip(-1) if torch.rand(()) < 0.5 else image
        left = int(torch.randint(-2, 3, ()))
        return image.roll(left, -1)


class Made(Dataset):
    """So many images, each made when it is asked for."""

    def __init__(self, shape: tuple[int, int, int], count: int) -> None:
        self.shape, self.count = shape, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        return torch.full(self.shape, index % 256, dtype=torch.uint8)


def model(shape: tuple[int, int, int]) -> vaefast.VAE:
    torch.manual_seed(0)
    return vaefast.VAE(shape, gamma="optimal", nets="residual", latent_dim=TWO_STAGE["quick"].model["latent_dim"])


def rate(shape: tuple[int, int, int], data: Any, **options: Any) -> float:
    """Images a second after the first record, in which workers start."""
    history = model(shape).fit(data, steps=STEPS, batch_size=None if isinstance(data, DataLoader) else BATCH, device="cpu",
                               progress=False, log_every=STEPS // 4, **options)
    first, last = history.records[0], history.records[-1]
    return (last["step"] - first["step"]) * BATCH / (last["seconds"] - first["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=int, default=20, metavar="MB")
    parser.add_argument("--times", type=int, default=100)
    args = parser.parse_args()
    result: dict[str, Any] = {"machine": machine.describe(), "unit": "images a second", "workers": args.workers, "rates": {},
                              "share_of_memory": {}}
    for name, shape in SHAPES.items():
        images = torch.randint(0, 256, (COUNT, *shape), dtype=torch.uint8)
        ways: dict[str, tuple[Any, dict[str, Any]]] = {
            "in memory": (images, {}), "Dataset": (Items(images), {"workers": args.workers}),
            "augmented": (Items(images, changed=True), {"workers": args.workers}),
            "DataLoader": (DataLoader(Items(images), BATCH, shuffle=True, num_workers=args.workers), {})}
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(TURNS):
            for way, (data, options) in ways.items():
                rates[way].append(rate(shape, data, **options))
                print(f"{name}, {way}: {rates[way][-1]:.0f} images a second", flush=True)
        result["rates"][name] = rates
        result["share_of_memory"][name] = {
            way: statistics.median(a / b for a, b in zip(values, rates["in memory"])) for way, values in rates.items()}
        print({way: f"{share:.2f}" for way, share in result["share_of_memory"][name].items()}, flush=True)
    shape = SHAPES["28x28"]
    count = args.times * args.limit * 2**20 // (28 * 28)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model(shape).fit(Made(shape, count), steps=STEPS, batch_size=BATCH, workers=0, device="cpu", progress=False)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    result["memory"] = {"images": count, "megabytes_of_images": args.times * args.limit, "more_at_most_mb": round(more, 1)}
    print(result["memory"])
    if args.out:
        Path(args.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
