"""`vaefast demo`: everything once, on data that need no network."""

from __future__ import annotations

from pathlib import Path

from vaefast.experiments.evaluate import evaluate
from vaefast.experiments.run import train
from vaefast.experiments.tables import print_scores


def _free_name(stem: str) -> str:
    number, name = 1, stem
    while Path(name).exists():
        number += 1
        name = f"{stem}-{number}"
    return name


def demo(out: str | None = None, *, seed: int = 0, device: str = "auto", command: str = "vaefast demo") -> Path:
    """Train, sample and score a small two-stage VAE on the UCI digits; returns the run folder."""
    out = out or _free_name("vaefast-demo")
    print("vaefast demo: a two-stage VAE on 1,797 handwritten digits (UCI, enlarged to 32x32)")
    train("two-stage", data_name="digits", data_root=None, out=out, preset_name="demo", seed=seed, device=device,
          command=command)
    result = evaluate(out, samples=2_000, seed=seed, device=device)
    print_scores(result)
    print(f"open {Path(out) / 'report.html'}; samples_stage1.png and samples_stage2.png show what the second stage adds")
    return Path(out)
