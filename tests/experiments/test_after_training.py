"""What follows a training, and looks at one from outside: pictures, reports, scores of a stage, and their seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

import vaefast
from vaefast.experiments import run as runs
from vaefast.experiments.pictures.snapshots import SampleGrids
from vaefast.experiments.request import Request
from vaefast.experiments.scoring.draws import sampling_seed
from vaefast.experiments.scoring.score_curve import ScoreCurve

FAST = {"kind": "vae", "data_name": "digits", "device": "cpu", "steps": (2,),
        "model_overrides": {"nets": "residual", "net_options": {"width": 4}, "latent_dim": 4}}


def test_figures_are_drawn_under_the_backend_of_a_notebook(tmp_path):
    code = ("import os, sys; from pathlib import Path; from vaefast.experiments.pictures.figures import panels, save_figure\n"
            "f, (a,) = panels(1); a.plot([1, 2]); print(len(save_figure(f, Path(sys.argv[1]) / 'x')), os.environ['MPLBACKEND'])")
    for named in ("module://matplotlib_inline.nowhere", "no-such-backend", "agg"):
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True,
                              env={**os.environ, "MPLBACKEND": named})
        assert done.stdout.split() == ["2", named], done.stderr


@pytest.mark.parametrize("fails", ["write_report", "draw_curves", "save_png"])
def test_a_picture_that_fails_costs_no_model(tmp_path, monkeypatch, capsys, fails):
    def broken(*arguments, **options):
        raise ValueError("no such font")

    monkeypatch.setattr(runs, fails, broken)
    model, run = runs.train(Request(out=str(tmp_path / "run"), **FAST), progress=False)
    said = capsys.readouterr().err
    assert "could not be made (ValueError: no such font); what was trained is safe in" in said
    assert torch.equal(next(vaefast.load(run.path).parameters()), next(model.parameters()))


@pytest.mark.parametrize("make", [lambda: vaefast.TwoStageVAE((1, 16, 16), 4, second_width=8),
                                  lambda: vaefast.GAMIXVAE((1, 16, 16), 4, width=8, second_stage=True, second_width=8)])
def test_the_first_of_two_stages_is_sampled_by_the_prior(make, tmp_path, monkeypatch):
    model, drawn = make(), []
    curve = ScoreCurve.__new__(ScoreCurve)
    monkeypatch.setattr("vaefast.experiments.scoring.score_curve.metrics.classifier_statistics", lambda network, x: x)
    curve.name, curve.network, curve.seed = "fd", torch.nn.Identity(), 1
    curve.real = type("Real", (), {"distance": lambda self, x: drawn.append(x) or 0.0})()
    monkeypatch.setattr("vaefast.experiments.scoring.score_curve.SAMPLES", 4)
    curve(model, "stage1")
    curve(model, "stage2")
    g = torch.Generator().manual_seed(1)
    right = model.sample(4, generator=g, stage=1).mul(255).round().to(torch.uint8)
    assert torch.equal(drawn[0], right) and not torch.equal(drawn[1], right)
    assert list(model.samplers("stage1")) == ["prior"] and list(model.samplers()) == ["prior", "second"]


def test_seeds_of_pictures_follow_the_runs(tmp_path, monkeypatch):
    grids = []
    monkeypatch.setattr("vaefast.experiments.run.SampleGrids", lambda every, seed: grids.append(seed) or SampleGrids(every, seed))
    pictures = {}
    for seed in (0, 5):
        _, run = runs.train(Request(out=str(tmp_path / str(seed)), seed=seed, sample_every=100, **FAST), progress=False)
        pictures[seed] = (run.path / "samples_stage1.png").read_bytes()
        assert json.loads((run.path / "config.json").read_text())["seed"] == seed
    assert grids == [1, 6] == [sampling_seed(0), sampling_seed(5)]
    assert (tmp_path / "0" / "samples").is_dir() and pictures[0] != pictures[5]
