"""Every kind of autoencoder that `vaefast train` knows, from the command line to scores, on a few digits."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
import torch

from vaefast import api, data
from vaefast.cli import main
from vaefast.experiments.presets import PRESETS, preset
from vaefast.experiments.run import build

FAST = ["--data", "npz", "--steps", "6", "--batch-size", "32", "--latent-dim", "4", "--device", "cpu", "--log-every", "3"]
KINDS = {"two-stage": ["--second", "vae"], "vae": ["--likelihood", "bernoulli"],
         "vae-flow": ["--flow", "radial", "--sample-every", "0.2"], "wae-mmd": ["--lambda", "10"], "wae-gan": ["--lr", "2e-3"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the runs lie, with the data and a classifier that has learned little."""
    folder = tmp_path_factory.mktemp("kinds")
    digits = data.load("digits", split="all")
    np.savez(folder / "digits.npz", images=digits.images[:400, :, 2:30, 2:30].numpy(), labels=digits.labels[:400].numpy())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEFAST_CACHE", str(folder / "cache"))
        patch.setattr("vaefast.metrics.classifier._LEAST_STEPS", 10)
        yield folder


@pytest.fixture(scope="module")
def fast(folder):
    return [*FAST, "--data-root", str(folder / "digits.npz")]


@pytest.fixture(scope="module")
def runs(folder, fast):
    found = {}
    for kind, words in KINDS.items():
        found[kind] = folder / kind
        assert main(["train", kind, *fast, *words, "--out", str(found[kind])]) == 0
    return found


def test_every_kind_has_both_presets():
    assert set(KINDS) <= set(PRESETS)
    for presets in PRESETS.values():
        assert {"paper", "quick"} <= set(presets) and all(p.kind in api.MODELS and p.about for p in presets.values())
    for kind in KINDS:
        for name in ("paper", "short", "quick"):
            chosen = preset(kind, name)
            assert len(chosen.stages) == (2 if kind == "two-stage" and name != "quick" else 1)
            budget = chosen.stages[0]
            assert chosen.arguments({}, (3, 64, 64))["latent_dim"] == (96 if name == "quick" else chosen.model["latent_dim"])
            first = PRESETS["two-stage"][name].stages[0]
            assert (budget.epochs, budget.batch_size, budget.lr, budget.schedule) == \
                (first.epochs, first.batch_size, first.lr, first.schedule)
            assert chosen.model["latent_dim"] == PRESETS["two-stage"][name].model["latent_dim"]


def test_a_run_of_classes_is_scored_by_them(folder, fast):
    out = folder / "classes"
    assert main(["train", "two-stage", *fast, "--second", "mixture", "--condition", "labels", "--out", str(out)]) == 0
    assert main(["evaluate", str(out), "-n", "40", "--device", "cpu"]) == 0
    result = json.loads((out / "evaluation.json").read_text())
    assert 0 <= result["class_accuracy"] <= 1 and (result["class_accuracy"] * 40).is_integer()
    assert "samples of the class asked for" in (out / "report.html").read_text().lower()


def test_fewer_samples_than_test_images_are_compared_with_all_classes(folder, fast, tmp_path, monkeypatch):
    """Of a set that is sorted by class, as folders are."""
    with np.load(folder / "digits.npz") as file:
        order = np.argsort(file["labels"], kind="stable")
        np.savez(tmp_path / "sorted.npz", images=file["images"][order], labels=file["labels"][order])
    seen = []
    monkeypatch.setattr("vaefast.experiments.scoring.evaluate.ImageScores", lambda real, *a, **k: seen.append(real.labels) or
                        (lambda images: {"fd_classifier": 1.0}))
    out = tmp_path / "run"
    words = [str(tmp_path / "sorted.npz") if word == fast[-1] else word for word in fast]
    assert main(["train", "two-stage", *words, "--second", "mixture", "--out", str(out)]) == 0
    assert main(["evaluate", str(out), "-n", "30", "--device", "cpu"]) == 0
    labels = seen[0]
    assert len(labels) == 30 and (labels.min(), labels.max()) == (0, 9) and len(labels.unique()) > 6


def test_a_flow_that_knows_classes_is_scored_with_guidance_too(folder, fast, runs, tmp_path, capsys):
    out = folder / "guided"
    words = ["--second", "flow", "--second-width", "8", "--ema", "0.1", "--warmup-steps", "1", "--condition", "labels"]
    assert main(["train", "two-stage", *fast, *words, "--out", str(out)]) == 0
    results = []
    for words in ([], ["--guidance", "1"], ["--guidance", "300"]):
        assert main(["evaluate", str(out), "-n", "40", "--device", "cpu", *words]) == 0
        results.append(json.loads((out / "evaluation.json").read_text()))
    plain, one, far = results
    assert not any("guid" in name for name in plain) and [r["guidance"] for r in results[1:]] == [1, 300]
    key = "fd_classifier"
    assert one[f"{key}/guided"] == one[f"{key}/stage2"] == far[f"{key}/stage2"] == plain[f"{key}/stage2"]  # of the same noise
    assert far[f"{key}/guided"] != one[f"{key}/guided"]
    assert far["limit_ratio"] == pytest.approx(far[f"{key}/guided"] / far[f"{key}/reconstructions"])
    page = (out / "report.html").read_text()
    assert "guided to their classes" in page and "have a guidance of 300" in page
    guided = api.load(out).sample(3, torch.Generator().manual_seed(0), guidance=300.0)
    assert main(["sample", str(out), "-n", "3", "--guidance", "300", "--out", str(tmp_path / "g.npz"), "--device", "cpu"]) == 0
    assert np.array_equal(np.load(tmp_path / "g.npz")["images"], guided.mul(255).round().byte().numpy())
    for command in (["evaluate"], ["sample", "--out", str(tmp_path / "no.npz")]):
        assert main([*command, str(runs["two-stage"]), "--guidance", "2", "--device", "cpu"]) == 2
        assert "guidance is 2.0, but this model knows no classes" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_scored_and_sampled(kind, runs, tmp_path, capsys):
    out = runs[kind]
    assert (out / "samples_stage1.png").is_file() and (out / "reconstructions.png").is_file()
    assert (out / "samples_stage2.png").is_file() == (kind == "two-stage")
    assert (out / "samples").is_dir() == (kind == "vae-flow")
    assert main(["evaluate", str(out), "-n", "40", "--device", "cpu"]) == 0
    result = json.loads((out / "evaluation.json").read_text())
    assert (out / "nearest.png").is_file()
    best = "stage2" if kind == "two-stage" else "stage1"
    assert result["limit_ratio"] == pytest.approx(result[f"fd_classifier/{best}"] / result["fd_classifier/reconstructions"])
    keys = {"fd_classifier/stage1", "fd_classifier/reconstructions", "fd_classifier/test_vs_train", "reconstruction_error",
            "mmd/stage1", "mmd/reference", "latent_dim"}
    if kind == "two-stage":
        perfect = result["fd_classifier/training_reconstructions"]
        assert result["codes_ratio"] == pytest.approx(result["fd_classifier/stage2"] / perfect)
    both = {"codes_ratio", "fd_classifier/stage2",
            "fd_classifier/mixture", "fd_classifier/reconstructions_both_stages", "mmd/stage2", "gamma_z"}
    assert keys <= set(result) and all(np.isfinite(result[key]) for key in keys)
    assert both <= set(result) if kind == "two-stage" else not both & set(result)
    assert ("gamma_x" in result) == (kind in ("two-stage", "vae-flow"))
    assert ("active_dimensions" in result) == ("mutual_information" in result) == (not kind.startswith("wae"))
    assert "A run of vaefast" not in (out / "report.html").read_text()
    capsys.readouterr()
    samplers = ("prior", "mixture", "second") if kind == "two-stage" else ("prior", "mixture")
    images = []
    for sampler in samplers:
        path = tmp_path / f"{sampler}.npz"
        assert main(["sample", str(out), "-n", "12", "--sampler", sampler, "--out", str(path), "--device", "cpu"]) == 0
        with np.load(path) as file:
            images.append(file["images"])
    assert len({i.tobytes() for i in images}) == len(samplers)
    if kind != "two-stage":
        assert main(["sample", str(out), "--sampler", "second", "--out", str(tmp_path / "x.npz"), "--device", "cpu"]) == 2
        assert "has prior, mixture" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["vae-flow", "wae-gan"])
def test_a_resumed_run_ends_with_the_same_weights(kind, runs, fast, tmp_path, monkeypatch):
    from vaefast.training import trainer

    words = ["train", kind, *fast, *KINDS[kind], "--out", str(tmp_path / "cut")]
    original = trainer.Trainer._call

    def interrupted(self, name, *arguments):
        if name == "step" and self.done == 4:  # as if Ctrl-C came here
            signal.raise_signal(signal.SIGINT)
        return original(self, name, *arguments)

    monkeypatch.setattr(trainer.Trainer, "_call", interrupted)
    assert main(words) == 130
    monkeypatch.undo()
    assert main([*words, "--resume"]) == 0
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (runs[kind] / "model.safetensors").read_bytes()


def test_settings_reach_the_model(runs):
    models = {kind: api.load(path) for kind, path in runs.items()}
    assert models["vae"].config()["likelihood"] == "bernoulli" and models["vae-flow"].config()["flow"] == "radial"
    assert models["wae-mmd"].config()["lambda_"] == 10.0 and models["wae-gan"].config()["penalty"] == "gan"
    stage = json.loads((runs["wae-gan"] / "config.json").read_text())["stages"][0]
    assert stage["lr"] == 2e-3 and stage["players"]["adversary"]["lr"] == pytest.approx(1e-3)


@pytest.mark.parametrize("words, message", [
    (["two-stage", "--flow", "planar"], "two-stage has no such setting"),
    (["vae", "--lambda", "3"], "vae has no such setting"),
    (["wae-mmd", "--gamma", "1"], "wae-mmd has no such setting"), (["vae", "--epochs", "1,2"], "1 stage: give 1."),
    (["vae", "--nets", "resnet", "--likelihood", "bernoulli", "--preset", "demo"],
     "preset is 'demo'; vae has paper, short, quick")])
def test_settings_that_a_kind_does_not_have(words, message, tmp_path, capsys):
    assert main(["train", *words, "--data", "digits", "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_default_sampler_and_the_older_way_to_choose(runs, tmp_path):
    def images(kind, *words):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npz"
        assert main(["sample", str(runs[kind]), "-n", "5", *words, "--out", str(path), "--device", "cpu"]) == 0
        with np.load(path) as file:
            return file["images"].tobytes()

    assert images("two-stage") == images("two-stage", "--stage", "2") == images("two-stage", "--sampler", "second")
    assert images("two-stage", "--stage", "1") == images("two-stage", "--sampler", "prior") != images("two-stage")
    assert images("vae") == images("vae", "--sampler", "prior")


def test_a_second_stage_draws_no_images(tmp_path, capsys):
    api.SecondStage(3, width=8).save(tmp_path / "m")
    assert main(["sample", str(tmp_path / "m"), "--out", str(tmp_path / "x.png")]) == 2
    assert "draws no images" in capsys.readouterr().err


def test_a_mixture_needs_the_runs_data(tmp_path, capsys):
    torch.manual_seed(0)
    api.VAE((1, 8, 8), 2).save(tmp_path / "m")
    assert main(["sample", str(tmp_path / "m"), "--sampler", "mixture", "--out", str(tmp_path / "x.png")]) == 2
    assert "holds no run" in capsys.readouterr().err


@pytest.mark.parametrize("kind, stages", [("vae", [(None, 2345), (140, None)]), ("flow", [(None, 2345), (None, 4000)]),
                                          ("mixture", [(None, 2345)])])
def test_a_second_stage_of_another_kind_has_settings_of_its_own(kind, stages):
    model = api.TwoStageVAE((1, 32, 32), 4, second=kind)
    assert [(s.epochs, s.steps) for s in preset("two-stage", "quick").stages_of(model)] == stages


CONDITIONED = {"vae": ["vae", "--validation", "0.2", "--mi-every", "0.3"],
               "two-stage": ["two-stage", "--second", "mixture", "--conditioned", "both"]}


@pytest.mark.parametrize("name", ["quick", "paper"])
@pytest.mark.parametrize(("kind", "named", "overrides"), [
    ("wae-mmd", "wae-gan", {"penalty": "gan"}), ("wae-gan", "wae-mmd", {"penalty": "mmd"}),
    ("general-vae", "wae-gan", {"regularizer": "adversarial"})])
def test_an_adversary_by_a_flag_is_trained_as_the_kind_that_has_it(name, kind, named, overrides):
    flagged = build(kind, preset(kind, name), (1, 8, 8), {**overrides, "latent_dim": 2})
    asked = preset(kind, name).stages_of(flagged)
    assert asked == preset(named, name).stages_of(build(named, preset(named, name), (1, 8, 8), {"latent_dim": 2}))
    assert asked[0].players.keys() == flagged.defaults[0].players.keys()


def test_a_gamix_model_with_a_flag_for_a_second_stage_has_settings_for_it():
    model = build("gamix", preset("gamix", "quick"), (1, 8, 8), {"second_stage": True, "latent_dim": 2})
    assert preset("gamix", "quick").stages_of(model)[1:] == model.defaults[1:]


@pytest.mark.parametrize("name", CONDITIONED)
def test_a_run_whose_networks_are_told_the_class_is_scored_by_labels(folder, fast, name):
    kind, *words = CONDITIONED[name]
    out = folder / f"conditioned-{name}"
    assert main(["train", kind, *fast, *words, "--condition", "labels", "--out", str(out)]) == 0
    for picture in ("samples_classes", "reconstructions", "latents"):
        assert (out / f"{picture}.png").is_file()
    assert main(["evaluate", str(out), "-n", "40", "--device", "cpu"]) == 0
    result = json.loads((out / "evaluation.json").read_text())
    assert 0 <= result["class_accuracy"] <= 1 and np.isfinite(result["likelihood_bound"])
    assert result["reconstruction_error"] > 0
    npz = out / "threes.npz"
    assert main(["sample", str(out), "-n", "6", "--condition", "3,7", "--out", str(npz), "--device", "cpu"]) == 0
    assert np.load(npz)["labels"].tolist() == [3, 7] * 3
    mixed = out / "mixed.npz"
    assert main(["sample", str(out), "-n", "6", "--sampler", "mixture", "--out", str(mixed), "--device", "cpu"]) == 0
