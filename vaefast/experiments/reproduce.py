"""Experiments by name: each trains, scores and writes its table, so that a documented figure is one command away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaefast.experiments.evaluate import evaluate
from vaefast.experiments.run import train
from vaefast.experiments.tables import markdown_scores, print_scores


@dataclass(frozen=True)
class Experiment:
    """A training command, and a line that says what it shows."""

    about: str
    settings: dict[str, Any]


EXPERIMENTS = {
    f"two-stage-{data}-{preset}": Experiment(
        f"the two-stage VAE on {data}, preset {preset}, scored over 10,000 samples",
        {"kind": "two-stage", "data_name": data, "preset_name": preset})
    for data in ("mnist", "fashion-mnist") for preset in ("quick", "paper")
}


def reproduce(name: str, *, data_root: str, out: str, seed: int = 0, device: str = "auto", command: str = "") -> Path:
    """Run experiment `name` into folder `out`: the run, evaluation.json, scores.md, pictures and report.html."""
    settings = EXPERIMENTS[name].settings
    train(data_root=data_root, out=out, seed=seed, device=device, command=command, **settings)
    result = evaluate(out, seed=seed, device=device)
    print_scores(result)
    (Path(out) / "scores.md").write_text(markdown_scores(result), encoding="utf-8")
    return Path(out)
