"""Second stages side by side: vaefast's, pythae's and a plain latent diffusion, on one trained first stage.

`python -m benchmarks.second_stages RUN --out FILE.json` fits each to the codes of the training images of the run's data and
scores 10,000 samples of it; FILE.png shows samples, not picked. What is trained gets `--seconds`, but the VAE as published, which
gets its 140 epochs; mixtures take what they take. pythae is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import vaefast
from benchmarks import machine, pythae_samplers
from benchmarks.plain_diffusion import PlainDiffusion
from benchmarks.scored_run import scored_run
from vaefast.api.second_stage import FLOW, SecondKind
from vaefast.data import to_float
from vaefast.experiments.pictures.grids import image_grid, save_png, side_by_side
from vaefast.experiments.presets import TWO_STAGE
from vaefast.experiments.scoring.codes import aggregate, in_batches
from vaefast.experiments.scoring.draws import sample_images, to_uint8
from vaefast.experiments.scoring.registry import name_of
from vaefast.models import Mixture
from vaefast.training import RunFolder

GRID = 8


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a trained two-stage model")
    parser.add_argument("--data-root", help="of its data, if they moved")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=120.0, help="for each that is trained")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--only", help="names, separated by semicolons")
    args = parser.parse_args(words)
    compare(args.run, args.data_root, Path(args.out), args.seconds, args.samples, args.only.split(";") if args.only else None)


def compare(run: str, data_root: str | None, out: Path, seconds: float, samples: int, only: list[str] | None = None) -> None:
    """Fit and score all of them; the file is written after each."""
    scored = scored_run(run, data_root, samples)
    model, train, real, score, key = scored.model, scored.train, scored.real, scored.score, scored.key
    start = time.perf_counter()
    posteriors = aggregate(model, train.images)
    mean, std = posteriors.mean, posteriors.std
    config = RunFolder.open(run).config
    result: dict[str, Any] = {"run": {name: config[name] for name in ("kind", "preset", "seed")},
                              "data": train.name, "images": len(mean),
                              "latent_dim": mean.shape[1], "score": key, "samples": samples, "seconds": seconds,
                              "encoding_seconds": time.perf_counter() - start, "machine": machine.describe(), "rows": []}
    pictures: list[Any] = []

    def add(name: str, package: str, took: float, settings: str, draw: Callable[[int], Tensor]) -> None:
        begin = time.perf_counter()
        images = draw(samples)
        drawing = time.perf_counter() - begin
        row = {"name": name, "package": package, "settings": settings, "seconds": took, "sampling_seconds": drawing,
               **{k: v for k, v in score(images).items() if isinstance(v, float)}}
        print(f"{name} ({package}): {row[key]:.3f} after {took:.0f} s; {samples:,} samples in {drawing:.1f} s", flush=True)
        result["rows"].append(row)
        pictures.append((f"{name} {row[key]:.2f}", image_grid(images[:GRID * GRID], GRID, GRID)))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")
        save_png(out.with_suffix(".png"), side_by_side([grid for _, grid in pictures], [title for title, _ in pictures], cols=4))

    def codes(draw: Callable[[int, torch.Generator], Tensor]) -> Callable[[int], Tensor]:
        return lambda n: sample_images(model, lambda m, g: model.decode(draw(m, g)), n, seed=1)

    def second_stage(name: str, kind: SecondKind, told: str = "", width: int | None = None, **training: Any) -> None:
        torch.manual_seed(0)
        begin = time.perf_counter()
        second = vaefast.SecondStage(mean.shape[1], kind=kind, width=width)
        second.fit((mean, std), device="cpu", progress=False, **training)
        took = time.perf_counter() - begin
        add(name, "vaefast", took, told or f"{len(second.second.weights)} components", codes(second.sample))

    def wanted(name: str) -> bool:
        return only is None or name in only

    if wanted("reconstructions"):
        add("reconstructions", "vaefast", 0.0, "of the test images: the limit of the decoder",
            lambda n: torch.cat([to_uint8(model.reconstruct(part)) for part in in_batches(real)]))
    if wanted("N(0, I)"):
        add("N(0, I)", "vaefast", 0.0, "", codes(lambda n, g: torch.randn(n, mean.shape[1], generator=g)))
    if wanted("mixture of 10"):
        begin = time.perf_counter()
        mixture = Mixture(mean.shape[1], 10).fit((mean, std))
        add("mixture of 10", "vaefast", time.perf_counter() - begin, "10 components", codes(mixture.sample))
    if wanted("mixture"):
        second_stage("mixture", "mixture")
    if wanted("flow"):
        steps = flow_steps(mean.shape[1], seconds)
        second_stage("flow", "flow", f"{steps:,} steps of {FLOW.batch_size}", steps=steps)
    if wanted("second VAE"):
        short = TWO_STAGE["short"]
        second_stage("second VAE", "vae", f"{short.stages[1].epochs} epochs, as preset short", short.model["second_width"],
                     settings=short.stages[1])
    if wanted("plain diffusion"):
        plain = PlainDiffusion(mean.shape[1])
        took = plain.fit(mean, std, seconds)
        add("plain diffusion", "plain PyTorch", took, f"{plain.done} batches of 512, 50 steps of DDIM", codes(plain.sample))
    if importlib.util.find_spec("pythae") is None:
        print("pythae is not installed (pip install 'vaefast[bench]'); its samplers are left out")
        return
    floats = to_float(train.images)
    for name in pythae_samplers.NAMES:
        if wanted(name):
            peer = pythae_samplers.fitted(name, model.first, floats, seconds)
            add(name, "pythae", peer["seconds"], peer["settings"],
                lambda n, sampler=peer["draw"]: to_uint8(pythae_samplers.images_of(sampler, n)))


def markdown(result: dict[str, Any]) -> str:
    """The table that the page shows."""
    key = result["score"]
    lines = [f"| second stage | package | settings | seconds to fit | {name_of(key)} |", "| --- | --- | --- | ---: | ---: |"]
    lines += [f"| {row['name']} | {row['package']} | {row['settings']} | {row['seconds']:.0f} | {row[key]:.3g} |"
              for row in result["rows"]]
    return "\n".join(lines) + "\n"


def flow_steps(k: int, seconds: float, batch: int = FLOW.batch_size) -> int:
    """Steps of the flow on codes [k] in so many seconds here, by a hundred of them."""
    second = vaefast.SecondStage(k, kind="flow")
    begin = time.perf_counter()
    second.fit(torch.randn(4 * batch, k), steps=100, device="cpu", progress=False)
    return max(200, round(seconds / (time.perf_counter() - begin) * 100))


if __name__ == "__main__":
    main()
