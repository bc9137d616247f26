"""Experiments by name: each trains, scores and writes its table, so that a documented figure is one command away."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaefast.experiments.pictures.grids import read_png, save_png, side_by_side
from vaefast.experiments.request import Request
from vaefast.experiments.run import train
from vaefast.experiments.scoring.evaluate import evaluate
from vaefast.experiments.scoring.tables import markdown_scores, print_scores
from vaefast.files import write_atomically
from vaefast.training.run_folder import RunFolder


@dataclass(frozen=True)
class Experiment:
    """A training command, and a line that says what it shows."""

    about: str
    settings: dict[str, Any]


EXPERIMENTS = {
    f"two-stage-{data}-{preset}": Experiment(
        f"the two-stage VAE on {data}, preset {preset}, scored over 10,000 samples",
        {"kind": "two-stage", "data_name": data, "preset_name": preset})
    for data in ("mnist", "fashion-mnist") for preset in ("quick", "short", "paper")
}


def reproduce(name: str, *, data_root: str, out: str, seed: int = 0, device: str = "auto", command: str = "") -> Path:
    """Run experiment `name` into folder `out`: a run with evaluation.json, and `scores.md` and `stages.png` for a page.

    A folder that holds this experiment already is gone on with: training that was cut off resumes, finished training is
    only scored again.
    """
    train(Request(data_root=data_root, out=out, seed=seed, device=device, command=command,
                  resume=(Path(out) / "config.json").exists(), **EXPERIMENTS[name].settings))
    result = evaluate(out, seed=seed, device=device)
    print_scores(result)
    run = RunFolder.open(out)
    write_atomically(run.path / "scores.md", _page(name, run, result).encode("utf-8", "backslashreplace"))
    grids = [read_png(run.path / f"samples_stage{stage}.png") for stage in (1, 2)]
    save_png(run.path / "stages.png", side_by_side(grids, ["stage 1", "stage 2"]))
    return run.path


def _page(name: str, run: RunFolder, result: dict[str, Any]) -> str:
    """The scores with all that they depend on."""
    minutes = run.read_metrics()[-1]["seconds"] / 60
    config = run.config
    return (f"`vaefast reproduce {name} --data-root DIR --out RUN --seed {config['seed']}`, on {config['device']} "
            f"({os.cpu_count()} cores) in {config['precision']}, torch {config['versions']['torch']}: trained in {minutes:.1f} "
            f"minutes; {result['samples']:,} samples against {result['real']:,} test images; classifier "
            f"{result['classifier/version']}, accuracy {result['classifier/test_accuracy']:.2%}.\n\n{markdown_scores(result)}")
