"""The objective family from the command line: settings, mutual information while training, scores, chains."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vaefast import api, data
from vaefast.cli import main
from vaefast.experiments.presets import PRESETS, preset

KINDS = ("general-vae", "beta-vae", "tc-vae", "info-vae")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("general")
    digits = data.load("digits", split="all")
    np.savez(folder / "digits.npz", images=digits.images[:200, :, 2:30, 2:30].numpy(), labels=digits.labels[:200].numpy())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEFAST_CACHE", str(folder / "cache"))
        patch.setattr("vaefast.metrics.classifier._LEAST_STEPS", 10)
        yield folder


@pytest.fixture(scope="module")
def run(folder):
    out = folder / "run"
    assert main(["train", "general-vae", "--data", "npz", "--data-root", str(folder / "digits.npz"), "--steps", "4",
                 "--batch-size", "32", "--latent-dim", "4", "--device", "cpu", "--log-every", "2", "--regularizer", "none",
                 "--family", "gaussian", "--mi-every", "0.2", "--out", str(out)]) == 0
    return out


def test_the_members_presets_build_their_regularisers():
    for kind in KINDS:
        for name in ("paper", "quick"):
            chosen, two_stage = preset(kind, name), PRESETS["two-stage"][name]
            assert chosen.kind == "general" and chosen.about and chosen.stages == two_stage.stages[:1]
            assert chosen.model["latent_dim"] == two_stage.model["latent_dim"]
    first = {kind: api.GeneralVAE((1, 8, 8), **PRESETS[kind]["quick"].model).first for kind in KINDS}
    assert first["beta-vae"].regularizer.beta == 4 and first["tc-vae"].regularizer.beta == 6
    assert (first["info-vae"].regularizer.alpha, first["info-vae"].regularizer.lambda_) == (0, 100)
    assert first["general-vae"].regularizer.beta == 1 and first["general-vae"].likelihood == "bernoulli"


def test_settings_reach_the_model_and_the_mutual_information_is_logged(run):
    config = api.load(run).config()
    assert (config["regularizer"], config["family"], config["latent_dim"]) == ("none", "gaussian", 4)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(-0.01 < r["mutual_information"] <= r["mutual_information_ceiling"] + 1e-9 for r in records)
    count = json.loads((run / "config.json").read_text())["data"]["count"]
    assert records[-1]["mutual_information_ceiling"] == pytest.approx(np.log(count))
    assert (run / "curves.png").is_file()


def test_scores_state_the_ceiling(run, capsys):
    assert main(["evaluate", str(run), "-n", "30", "--device", "cpu"]) == 0
    result = json.loads((run / "evaluation.json").read_text())
    assert result["mutual_information"] <= result["mutual_information_ceiling"] == pytest.approx(np.log(30))
    assert result["mutual_information_images"] == 30 and "gamma_x" in result
    assert f"log N = {np.log(30):.4g}" in capsys.readouterr().out and "What a code tells" in (run / "report.html").read_text()


def test_chains_of_a_run(run, tmp_path, capsys):
    def images(*words):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npz"
        assert main(["sample", str(run), "-n", "6", *words, "--out", str(path), "--device", "cpu"]) == 0
        with np.load(path) as file:
            return file["images"]

    found = [images(), images("--chain", "3"), images("--chain", "3", "--start", "data"), images("--chain", "3", "--pixel-noise")]
    assert found[1].shape == (6, 1, 28, 28) and len({a.tobytes() for a in found}) == 4
    assert main(["sample", str(run), "--chain", "2", "--out", str(run / "samples_chain.png"), "--device", "cpu"]) == 0
    page = (run / "report.html").read_text()
    assert page.index("Stage 1 samples") < page.index("Chain samples")
    capsys.readouterr()
    assert main(["sample", str(run), "--start", "data", "--out", str(tmp_path / "x.npz")]) == 2
    assert "without a chain" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "message"), [
    (["general-vae", "--regularizer", "none", "--beta", "2"], "has no settings"), (["beta-vae", "--alpha", "1"], "alpha is 1.0"),
    (["vae", "--family", "laplace"], "vae has no such setting"), (["wae-mmd", "--mi-every", "1"], "deterministic encoder"),
    (["general-vae", "--mi-every", "0"], "--mi-every is 0.0")])
def test_settings_that_cannot_work(words, message, tmp_path, capsys):
    assert main(["train", *words, "--data", "digits", "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
