"""`vaefast train gamix` on the digits: its options, its page, and a second stage."""

from __future__ import annotations

import json

import pytest

from vaefast.cli import main
from vaefast.cli.arguments import option
from vaefast.experiments.scoring.evaluate import evaluate


def test_options_are_numbers_where_they_can_be():
    assert option("memory=10") == ("memory", 10) and option("individual_weight=2e1") == ("individual_weight", 20.0)
    assert option("norm=affine") == ("norm", "affine") and option("checkpoint=true") == ("checkpoint", True)


def test_train_by_the_command_line(tmp_path, capsys):
    out = tmp_path / "run"
    words = ["train", "gamix-two-stage", "--data", "digits", "--steps", "2,3", "--batch-size", "16", "--latent-dim", "6",
             "--flip", "--model-option", "width=4", "--model-option", "individual_weight=2.5", "--model-option", "norm=affine",
             "--precision", "fp32", "--out", str(out)]
    assert main(words) == 0
    config = json.loads((out / "config.json").read_text())
    assert [stage["flip"] for stage in config["stages"]] == [True, False]
    assert config["model"]["individual_weight"] == 2.5 and config["model"]["norm"] == "affine"
    assert {"latents.json", "latents.png", "samples_stage2.png"} <= {p.name for p in out.iterdir()}
    assert "active dimensions" in json.dumps(json.loads((out / "latents.json").read_text())).replace("_", " ")
    assert "Codes and posteriors of" in (out / "report.html").read_text()
    assert main(["train", "gamix", "--data", "digits", "--model-option", "colour=red", "--out", str(tmp_path / "no")]) == 2
    assert "colour is 'red'; gamix has no such setting" in capsys.readouterr().err


@pytest.mark.slow
def test_evaluation_writes_the_latents_of_test_images(tmp_path, cache):
    out = tmp_path / "run"
    assert main(["train", "gamix", "--data", "digits", "--steps", "2", "--batch-size", "16", "--latent-dim", "6",
                 "--model-option", "width=4", "--out", str(out)]) == 0
    evaluate(str(out), samples=100, which=["classifier"], say=lambda line: None)
    assert json.loads((out / "latents.json").read_text())["images"] < 1000
