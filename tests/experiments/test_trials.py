"""Several seeds of one run."""

from __future__ import annotations

import json
import statistics

import pytest

from vaefast.cli import main
from vaefast.experiments.trials import seed_of

FAST = ["--data", "digits", "--steps", "6", "--preset", "demo", "--second", "vae", "--second-width", "32"]


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


@pytest.mark.slow
def test_trials_at_once_are_those_one_after_the_other(trials, tmp_path, capfd):
    words = ["train", "two-stage", *FAST, "--out", str(tmp_path / "run"), "--trials", "2", "--log-every", "2", "--at-once"]
    assert main([*words, "2"]) == 0
    assert "trial-02: stage1: 6 steps" in capfd.readouterr().out
    one, other = (json.loads((folder / "trials.json").read_text()) for folder in (trials, tmp_path / "run"))
    assert one["seeds"] == other["seeds"]
    losses = [summary["terms"]["stage1/loss"]["values"] for summary in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)  # fewer threads round differently
    assert main([*words, "0"]) == 2


def test_a_failing_trial_is_named_and_the_others_are_kept(tmp_path, capfd):
    (tmp_path / "run" / "trial-01").mkdir(parents=True)
    (tmp_path / "run" / "trial-01" / "config.json").write_text("nothing")
    words = ["--trials", "2", "--at-once", "2", "--resume"]
    assert main(["train", "two-stage", *FAST, "--out", str(tmp_path / "run"), *words]) == 2
    said = capfd.readouterr()
    assert "trial-01 failed" in said.err and "trial-01: vaefast: " in said.out
    assert json.loads((tmp_path / "run" / "trials.json").read_text())["trials"] == 1


def test_trials_go_on(trials, capsys):
    words = ["train", "two-stage", *FAST, "--out", str(trials), "--log-every", "2", "--sample-every", "0.1", "--trials"]
    assert main([*words, "2"]) == 2
    assert "is not empty" in capsys.readouterr().err
    before = (trials / "trial-01" / "model.safetensors").stat().st_mtime_ns
    assert main([*words, "3", "--resume"]) == 0
    assert json.loads((trials / "trials.json").read_text())["trials"] == 3
    assert (trials / "trial-01" / "model.safetensors").stat().st_mtime_ns == before
    assert main([*words, "0"]) == 2
    assert main([*words, "2", "--resume", "--steps", "6,9"]) == 0  # the second stage can be longer
    for trial in ("trial-01", "trial-02"):
        last = [json.loads(line) for line in (trials / trial / "metrics.jsonl").read_text().splitlines()][-1]
        assert (last["stage"], last["step"]) == ("stage2", 9)
    assert json.loads((trials / "trials.json").read_text())["trials"] == 2  # the third is shorter
    for other, said in ((["--lr", "0.5"], "lr was 0.002, is now 0.5"), (["--latent-dim", "3"], "latent-dim was 12, is now 3"),
                        (["--seed", "1"], "seed was 0, is now 1"), (["--validation", "0.1"], "validation was None"),
                        (["--augment", "flip"], "augment was None"), (["--precision", "bf16"], "precision was 'fp32'")):
        assert main([*words, "2", "--resume", "--steps", "6,9", *other]) == 2
        assert said in capsys.readouterr().err
