"""`vaefast demo`: everything once, on data that need no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vaefast.experiments.request import Request
from vaefast.experiments.run import train
from vaefast.experiments.scoring.evaluate import evaluate
from vaefast.experiments.scoring.registry import RANKING, entry, name_of
from vaefast.experiments.scoring.tables import print_scores

_SOURCES = {"stage1": "the prior N(0, I)", "stage2": "the second stage", "mixture": "a Gaussian mixture"}


def _free_name(stem: str) -> str:
    number, name = 1, stem
    while Path(name).exists():
        number += 1
        name = f"{stem}-{number}"
    return name


def verdict(scores: dict[str, Any]) -> str:
    """What FD-classifier says of the three sources of codes, in a sentence."""
    key = RANKING["classifier"]
    distances = {name: scores[entry(key, subject)] for subject, name in _SOURCES.items() if entry(key, subject) in scores}
    best = min(distances, key=distances.__getitem__)
    first, *others = sorted(distances, key=distances.__getitem__)
    return (f"nearest to real digits here are samples with codes of {best} ({name_of(key)} {distances[first]:.4g}); "
            + ", ".join(f"{name} {distances[name]:.4g}" for name in others))


def demo(out: str | None = None, *, seed: int = 0, device: str = "auto", command: str = "vaefast demo") -> Path:
    """Train, sample and score a small two-stage VAE on the UCI digits; returns the run folder."""
    out = out or _free_name("vaefast-demo")
    print("vaefast demo: a two-stage VAE on 1,797 handwritten digits (UCI, enlarged to 32x32)")
    train(Request("two-stage", "digits", out, preset_name="demo", seed=seed, device=device, command=command))
    result = evaluate(out, samples=2_000, seed=seed, device=device)
    print_scores(result)
    print(verdict(result))
    print(f"open {Path(out) / 'report.html'}; samples_stage1.png and samples_stage2.png show samples of either stage")
    return Path(out)
