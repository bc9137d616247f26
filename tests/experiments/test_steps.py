"""The Sequential VAE from the command line: pictures of its chain, and scores step by step."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vaefast import api, data
from vaefast.cli import main
from vaefast.experiments.scoring.codes import aggregate, in_batches
from vaefast.experiments.scoring.latent_page import posteriors
from vaefast.experiments.scoring.steps import columns, save_gif

Image = pytest.importorskip("PIL.Image")
DEVICE = ["--device", "cpu"]
TINY = ["--steps", "6", "--batch-size", "12", "--width", "0.09", "--chain-steps", "3", "--log-every", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of the digits in 28x28, without their labels, that has learned little."""
    folder = tmp_path_factory.mktemp("steps")
    digits = data.load("digits", split="all")
    np.savez(folder / "digits.npz", images=digits.images[:120, :, 2:30, 2:30].numpy())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEFAST_CACHE", str(folder / "cache"))
        patch.setenv("TORCH_HOME", str(folder / "torch"))
        assert main(["train", "sequential", "--data", "npz", "--data-root", str(folder / "digits.npz"), "--out",
                     str(folder / "run"), *TINY, *DEVICE]) == 0
        yield folder


def scores(folder):
    return json.loads((folder / "run" / "steps.json").read_text())


def test_the_codes_of_any_number_of_images_can_be_had(folder):
    model, images = api.load(folder / "run"), data.load("digits", split="all").images[:21, :, 2:30, 2:30]
    found = aggregate(model, images, batch_size=10)
    assert found.codes.shape == (21, model.latent_dim) and torch.isfinite(found.std).all()
    assert len(posteriors(model, images, batch_size=20).mean) == 21
    assert [len(batch) for batch in in_batches(images, 20)] == [21] and len(in_batches(images[:1])) == 1


def test_a_run_shows_its_chain(folder):
    run = folder / "run"
    found = scores(folder)
    assert found["split"] == "training" and found["batch"] == 12 and 100 <= found["images"] == found["samples"] <= 120
    for name in ("sharpness_samples", "sharpness_reconstructions", "reconstruction_error"):
        assert len(found[name]) == 3 and all(v > 0 for v in found[name])
    assert found["sharpness_data"] > 0
    width, height = Image.open(run / "samples_steps.png").size
    assert (width, height) == (3 * (2 * 28 + 2) + 2, 8 * 58 + 2)  # 8 rows of 3 steps
    assert Image.open(run / "reconstructions_steps.png").size == (4 * 58 + 2, 8 * 58 + 2)
    gif = Image.open(run / "samples_steps.gif")
    assert gif.n_frames == 3 and gif.size == (6 * 58 + 2, 6 * 58 + 2)
    report = (run / "report.html").read_text()
    assert "data:image/gif" in report and "A Sequential VAE" in report and "steps.png" not in report
    assert (run / "steps.png").is_file() and (run / "steps.svg").is_file()


def test_scores_of_test_images_without_labels(folder, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(folder / "torch"))
        patch.setenv("VAEFAST_CACHE", str(folder / "cache"))
        patch.setattr("vaefast.metrics.exemplars._STEPS", 10)
        assert main(["evaluate", str(folder / "run"), "-n", "40", *DEVICE]) == 0
    result = json.loads((folder / "run" / "evaluation.json").read_text())
    found = scores(folder)
    assert found["split"] == "test"
    assert [result[f"step_error/step{t}"] for t in range(1, 4)] == found["reconstruction_error"]
    assert [result[f"step_sharpness/step{t}"] for t in range(1, 4)] == found["sharpness_samples"]
    assert result["fd_exemplar/stage1"] > 0
    assert "Reconstruction error by step" in (folder / "run" / "report.html").read_text()


def test_scores_follow_the_definitions(folder):
    from vaefast.experiments.scoring.steps import score_steps
    from vaefast.metrics import sharpness

    model = api.load(folder / "run")
    images = data.load("npz", folder / "digits.npz", "train").images[:26]  # two batches of 12, and a part
    found = score_steps(model, images, split="some", seed=3)
    assert found["images"] == 26
    assert found["sharpness_data"] == pytest.approx(sharpness(images).mean().item())
    generator = torch.Generator().manual_seed(3)
    x, errors = images.float() / 255, []
    with torch.no_grad():
        for batch, new in ((x[:12], 12), (x[12:24], 12), (x[14:], 2)):
            model.steps(12, generator)
            errors.append((model.reconstruct_steps(batch, generator) - batch).square().mean((2, 3, 4))[:, -new:])
    torch.testing.assert_close(torch.tensor(found["reconstruction_error"]), torch.cat(errors, 1).mean(1))


def test_samples_of_a_run(folder, tmp_path):
    assert main(["sample", str(folder / "run"), "-n", "30", "--out", str(tmp_path / "s.npz"), *DEVICE]) == 0
    with np.load(tmp_path / "s.npz") as file:
        assert file["images"].shape == (30, 1, 28, 28)


def test_infusion_has_no_codes_to_fit_a_mixture_to(tmp_path, capsys):
    torch.manual_seed(0)
    api.SequentialVAE((1, 8, 8), 2, width=0.09, inference="infusion").save(tmp_path / "m")
    assert main(["sample", str(tmp_path / "m"), "-n", "4", "--out", str(tmp_path / "x.png"), *DEVICE]) == 0
    words = ["sample", str(tmp_path / "m"), "--sampler", "mixture", "--out", str(tmp_path / "y.png"), *DEVICE]
    assert main(words) == 2
    assert "a sequential model has prior." in capsys.readouterr().err


@pytest.mark.parametrize("words, message", [
    (["sequential", "--latent-dim", "4"], "sequential has no such setting"),
    (["vae", "--width", "0.5"], "vae has no such setting"),
    (["sequential", "--width", "0"], "width is 0")])
def test_settings_that_do_not_fit(words, message, tmp_path, capsys):
    assert main(["train", *words, "--data", "digits", "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("channels", [1, 3])
def test_a_column_a_step_and_a_frame_a_step(channels, tmp_path):
    chains = torch.arange(6).view(3, 2, 1, 1, 1).expand(3, 2, channels, 48, 48) / 6  # 3 steps of 2 samples
    picture = columns(chains)
    assert picture.shape == (2 * 50 + 2, 3 * 50 + 2, channels)
    assert [picture[10, 10 + 50 * t, 0] for t in range(3)] == [round(255 * 2 * t / 6) for t in range(3)]
    gif = Image.open(save_gif(tmp_path / "a.gif", chains))
    assert gif.n_frames == 3
    gif.seek(2)
    assert gif.info["duration"] == 2000
