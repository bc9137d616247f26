"""`vaefast train gan` from the command line to scores, on a few digits."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vaefast import api, data
from vaefast.cli import main
from vaefast.experiments.presets import preset
from vaefast.experiments.run import build


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the runs lie, with the data and a classifier that has learned little."""
    folder = tmp_path_factory.mktemp("gans")
    digits = data.load("digits", split="all")
    np.savez(folder / "digits.npz", images=digits.images[:64, :, 2:30, 2:30].numpy(), labels=digits.labels[:64].numpy())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEFAST_CACHE", str(folder / "cache"))
        patch.setattr("vaefast.metrics.classifier._LEAST_STEPS", 10)
        patch.setattr("vaefast.experiments.scoring.score_curve.SAMPLES", 50)
        yield folder


def train(folder, out, *words):
    fast = ["--data", "npz", "--data-root", str(folder / "digits.npz"), "--steps", "4", "--batch-size", "16",
            "--latent-dim", "4", "--device", "cpu", "--log-every", "2", "--out", str(folder / out)]
    return main(["train", "gan", *fast, *words])


@pytest.fixture(scope="module")
def run(folder):
    words = ["--loss", "wgan-gp", "--disc-iters", "2", "--penalty", "dragan-v3", "--lambda", "3", "--beta1", "0.25",
             "--model-option", "weight_penalty=0.5", "--model-option", "batch_norm=true", "--score-every", "0.5",
             "--sample-every", "0.5"]
    assert train(folder, "run", *words) == 0
    return folder / "run"


def test_settings_reach_the_model(run):
    model = api.load(run)
    config = model.config()
    assert (config["loss"], config["disc_iters"], config["penalty"], config["lambda_"]) == ("wgan-gp", 2, "dragan-v3", 3.0)
    assert config["weight_penalty"] == 0.5 and config["batch_norm"] is True
    stage = json.loads((run / "config.json").read_text())["stages"][0]
    assert stage["lr"] == 1e-4 and stage["betas"] == [0.25, 0.999] and stage["steps"] == 4


def test_a_run_leaves_samples_curves_and_the_best_weights(run):
    assert (run / "samples_stage1.png").is_file() and (run / "curves.png").is_file()
    assert not (run / "reconstructions.png").exists() and list((run / "samples").glob("*.png"))
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    scores = [r["fd_classifier"] for r in records if "fd_classifier" in r]
    assert len(scores) == 3 and all(np.isfinite(scores))  # three iterations an epoch: after 2, 3 and 4, whatever is logged
    assert (run / "checkpoints" / "best-stage1.safetensors").is_file()
    text = (run / "report.html").read_text()
    assert "generative adversarial network" in text and "N(0, I)" not in text


def test_it_is_scored_and_sampled(run, tmp_path, capsys):
    assert main(["evaluate", str(run), "-n", "40", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "FD-classifier, samples" in printed and "N(0, I)" not in printed
    result = json.loads((run / "evaluation.json").read_text())
    assert {"fd_classifier/stage1", "fd_classifier/test_vs_train"} <= set(result)
    assert not {"reconstruction_error", "mmd/stage1", "latent_dim"} & set(result)
    images = []
    for words in ([], ["--sampler", "prior"]):
        path = tmp_path / f"{len(images)}.npz"
        assert main(["sample", str(run), "-n", "7", *words, "--out", str(path), "--device", "cpu"]) == 0
        with np.load(path) as file:
            images.append(file["images"])
    assert images[0].shape == (7, 1, 28, 28) and (images[0] == images[1]).all()
    for sampler in ("mixture", "second"):
        assert main(["sample", str(run), "--sampler", sampler, "--out", str(tmp_path / "x.npz"), "--device", "cpu"]) == 2
        assert "has no encoder" in capsys.readouterr().err


def test_a_run_of_classes_is_scored_and_sampled_by_them(folder, tmp_path, capsys):
    for out, words in (("labels", ["--condition", "labels"]), ("classes", ["--classes", "10"])):
        assert train(folder, out, *words) == 0
        assert api.load(folder / out).classes == 10 and (folder / out / "samples_classes.png").is_file()
    weights = [(folder / out / "model.safetensors").read_bytes() for out in ("labels", "classes")]
    assert weights[0] == weights[1]
    run = str(folder / "labels")
    assert main(["evaluate", run, "-n", "40", "--device", "cpu"]) == 0
    result = json.loads((folder / "labels" / "evaluation.json").read_text())
    assert 0 <= result["class_accuracy"] <= 1 and (result["class_accuracy"] * 40).is_integer()
    path = tmp_path / "some.npz"
    assert main(["sample", run, "-n", "5", "--condition", "3,7", "--out", str(path), "--device", "cpu"]) == 0
    with np.load(path) as file:
        assert file["images"].shape == (5, 1, 28, 28) and file["labels"].tolist() == [3, 7, 3, 7, 3]
    for words, message in ((["--condition", "10"], "this model knows 0 to 9"),
                           (["--condition", "3", "--guidance", "2"], "guidance is for a second stage that is a flow")):
        assert main(["sample", run, *words, "--out", str(tmp_path / "x.npz"), "--device", "cpu"]) == 2
        assert message in capsys.readouterr().err
    assert train(folder, "began", "--loss", "began", "--condition", "labels") == 2
    assert "classes is 10; BEGAN's discriminator" in capsys.readouterr().err


def test_scores_come_every_so_many_epochs(folder, capsys):
    assert train(folder, "never", "--score-every", "0") == 2
    assert "--score-every is 0.0" in capsys.readouterr().err
    assert train(folder, "never", "--keep-best") == 2
    assert "--keep-best was given without --score-every" in capsys.readouterr().err


def test_scores_do_not_change_the_training(folder):
    assert train(folder, "without") == 0 and train(folder, "with", "--score-every", "1") == 0
    assert (folder / "without" / "model.safetensors").read_bytes() == (folder / "with" / "model.safetensors").read_bytes()


def test_a_two_stage_model_is_scored_as_it_trains_too(folder):
    words = ["--preset", "short", "--data", "npz", "--data-root", str(folder / "digits.npz"), "--steps", "4",
             "--batch-size", "16", "--latent-dim", "4", "--device", "cpu", "--score-every", "0.5", "--out", str(folder / "two")]
    assert main(["train", "two-stage", *words]) == 0
    records = [json.loads(line) for line in (folder / "two" / "metrics.jsonl").read_text().splitlines()]
    assert {r["stage"] for r in records if "fd_classifier" in r} == {"stage1", "stage2"}


def test_settings_that_a_gan_does_not_have(folder, capsys):
    assert train(folder, "x", "--gamma", "1") == 2
    assert "gan has no such setting" in capsys.readouterr().err
    assert train(folder, "x", "--model-option", "z=cauchy") == 2
    assert "z is 'cauchy'" in capsys.readouterr().err and not (folder / "x").exists()


def test_short_runs_of_ns_and_began_have_other_settings_than_their_authors():
    for loss, name, steps, lr, beta1 in (("ns", "paper", 15_625, 5e-5, 0.0), ("ns", "quick", 3_750, 2e-4, 0.5),
                                         ("began", "quick", 3_750, 5e-5, 0.5), ("wgan-gp", "quick", 7_500, 1e-4, 0.5)):
        settings, = preset("gan", name).stages_of(api.GAN((1, 28, 28), loss))
        assert (settings.steps, settings.lr, settings.betas[0]) == (steps, lr, beta1)


def test_a_short_run_of_began_has_another_balance_and_a_slower_discriminator():
    authors, short = (build("gan", preset("gan", name), (1, 28, 28), {"loss": "began"}) for name in ("paper", "quick"))
    assert authors.config() == api.GAN((1, 28, 28), "began").config()
    own = {"batch_norm": True, "disc_iters": 1, "began_lambda": 0.3, "began_gamma": 1.0, "began_clip": True}
    assert short.config() == api.GAN((1, 28, 28), "began", **own).config()
    settings, = preset("gan", "quick").stages_of(short)
    generator, discriminator = (settings.of(player) for player in ("generator", "discriminator"))
    assert (generator.lr, discriminator.lr) == (1e-3, 5e-5)
    assert (generator.betas, generator.schedule) == (discriminator.betas, discriminator.schedule) == ((0.5, 0.999), "cosine")
    model = build("gan", preset("gan", "quick"), (1, 28, 28), {"loss": "began", "weight_clip": 0.1})
    clipped, = preset("gan", "quick").stages_of(model)
    assert (d := clipped.of("discriminator")).weight_clip == 0.1
    assert (d.lr, d.betas, d.schedule) == (discriminator.lr, discriminator.betas, discriminator.schedule)
    assert clipped.of("generator") == generator
    given = build("gan", preset("gan", "quick"), (1, 28, 28), {"loss": "began", "disc_iters": 5})
    assert (given.config()["disc_iters"], given.config()["batch_norm"]) == (5, True)
