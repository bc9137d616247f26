"""Several seeds of one run."""

from __future__ import annotations

import json
import statistics

import pytest

from vaefast.cli import main
from vaefast.experiments.trials import seed_of

FAST = ["--data", "digits", "--steps", "6", "--preset", "demo"]


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    out = tmp_path_factory.mktemp("trials") / "run"
    words = ["--trials", "2", "--log-every", "2", "--sample-every", "0.1"]
    assert main(["train", "two-stage", *FAST, "--out", str(out), *words]) == 0
    return out


def test_trials_differ_and_are_summed_up(trials):
    summary = json.loads((trials / "trials.json").read_text())
    assert summary["seeds"] == {"trial-01": 0, "trial-02": seed_of(0, 2)} and summary["trials"] == 2
    loss = summary["terms"]["stage1/loss"]
    assert len(set(loss["values"])) == 2
    assert loss["mean"] == pytest.approx(statistics.fmean(loss["values"]))
    assert loss["std"] == pytest.approx(statistics.stdev(loss["values"]))
    assert (trials / "trial-01" / "samples" / "stage1-00000006.png").is_file()
    assert (trials / "trial-02" / "samples" / "stage2-00000006.png").is_file()


def test_trials_go_on(trials, capsys):
    words = ["train", "two-stage", *FAST, "--out", str(trials), "--log-every", "2", "--sample-every", "0.1", "--trials"]
    assert main([*words, "2"]) == 2
    assert "is not empty" in capsys.readouterr().err
    before = (trials / "trial-01" / "model.safetensors").stat().st_mtime_ns
    assert main([*words, "3", "--resume"]) == 0
    assert json.loads((trials / "trials.json").read_text())["trials"] == 3
    assert (trials / "trial-01" / "model.safetensors").stat().st_mtime_ns == before
    assert main([*words, "0"]) == 2
