"""Drawing images from a PixelCNN decoder: incrementally, and by a whole forward pass for every pixel, in turns.

    python -m benchmarks.pixelcnn --out FILE.json [--net gated|reference|plus-plus] [--images 64] [--size 28] [--layers 12]
                                  [--width 32] [--threads 2] [--rounds 3] [--naive-pixels 4] [--device cpu]

A forward pass costs the same for every pixel, so the slow way is timed on `--naive-pixels` pixels a round and multiplied up;
`--naive-pixels 0` draws whole images. Before that both draw images in float64 from the same uniform numbers, by a smaller
network of the same kind, and whether these are equal bit for bit is written beside the times. For plus-plus, --layers are
the blocks of a scale (5) and --width the filters (160).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.machine import describe
from vaefast.nets import GatedPixelCNN, PixelCNNPlusPlus
from vaefast.nets.pixelcnn.steps import generate_naively

SIZES = {"gated": (12, 32), "reference": (12, 32), "plus-plus": (5, 160)}


def decoder(net: str, size: int, layers: int, width: int) -> GatedPixelCNN | PixelCNNPlusPlus:
    if net == "plus-plus":
        return PixelCNNPlusPlus((3, size, size), blocks=layers, filters=width).eval()
    masks = "reference" if net == "reference" else "standard"
    return GatedPixelCNN((1, size, size), layers=layers, width=width, masks=masks).eval()


def _uniforms(model: GatedPixelCNN | PixelCNNPlusPlus, z: torch.Tensor) -> torch.Tensor:
    channels, height, width = model.image_shape
    return torch.rand(len(z), 1 + channels if isinstance(model, PixelCNNPlusPlus) else 1, height, width).to(z)


def equal(net: str, device: torch.device) -> dict:
    """Whether both ways draw the same images in float64."""
    torch.manual_seed(0)
    model = decoder(net, 12, 3, 8).to(device, torch.float64)
    z = torch.randn(16, model.latent_dim, device=device, dtype=torch.float64)
    uniforms = _uniforms(model, z)
    fast, slow = model.generate(z, uniforms=uniforms), generate_naively(model, z, uniforms)
    return {"images": len(z), "size": 12, "bit_for_bit": torch.equal(fast, slow)}


def _timed(step: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(model: GatedPixelCNN | PixelCNNPlusPlus, images: int, rounds: int, pixels: int, device: torch.device) -> dict:
    """Seconds of both, in turns, for so many images at once."""
    z = torch.randn(images, model.latent_dim, device=device)
    uniforms = _uniforms(model, z)
    every = model.image_shape[1] * model.image_shape[2]
    pixels = pixels or every
    model.generate(z[:1])
    generate_naively(model, z, uniforms, pixels=1)
    incremental, naive = [], []
    for _ in range(rounds):
        incremental.append(_timed(lambda: model.generate(z, uniforms=uniforms), device))
        naive.append(_timed(lambda: generate_naively(model, z, uniforms, pixels), device) * every / pixels)
        print(f"incremental {incremental[-1]:8.2f} s   naive {naive[-1]:10.2f} s ({pixels} of {every} pixels)", flush=True)
    fast, slow = statistics.median(incremental), statistics.median(naive)
    return {
        "incremental_s": [round(t, 4) for t in incremental], "naive_s": [round(t, 2) for t in naive],
        "naive_pixels_timed": pixels, "pixels": every, "images_per_s": round(images / fast, 2), "speedup": round(slow / fast, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--net", choices=SIZES, default="gated")
    parser.add_argument("--images", type=int, default=64, help="drawn at once (default: 64)")
    parser.add_argument("--size", type=int, help="pixels a side (default: 28; 32 for plus-plus)")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--naive-pixels", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    machine = describe()
    layers, width = args.layers or SIZES[args.net][0], args.width or SIZES[args.net][1]
    size = args.size or (32 if args.net == "plus-plus" else 28)
    result = {
        "machine": machine | {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"},
        "net": args.net, "size": size, "layers": layers, "width": width, "images": args.images,
        "float64": equal(args.net, device),
    }  # fmt: skip
    result |= compare(decoder(args.net, size, layers, width).to(device), args.images, args.rounds, args.naive_pixels, device)
    result["machine"]["load_after"] = round(os.getloadavg()[0], 2)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{result['speedup']} times as fast, equal bit for bit in float64: {result['float64']['bit_for_bit']}; "
          f"written to {args.out}")


if __name__ == "__main__":
    main()
