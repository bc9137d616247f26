"""The command line on NumPy files of vectors, sequences and volumes: trained, drawn and scored as what they are."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import vaefast
from vaefast.cli import main
from vaefast.data.array_files import load_arrays, reads_as_images
from vaefast.errors import ArgumentError, DataError
from vaefast.experiments.pictures.arrays import draw_arrays

FAST = ["--steps", "3", "--batch-size", "16", "--latent-dim", "2", "--device", "cpu"]
R = np.random.default_rng(0)
X = {"vectors": R.normal(size=(90, 6)) * 50 + 10, "sequences": R.normal(size=(60, 17)),
     "volumes": (R.random((60, 1, 5, 7, 9)) * 255).astype(np.uint8), "images": (R.random((60, 8, 8)) * 255).astype(np.uint8)}
SHAPES = {"vectors": (6,), "sequences": (1, 17), "volumes": (1, 5, 7, 9)}


def run(*words) -> int:
    return main([str(w) for w in words])


def trained(folder, kind: str, what: str, *more):
    np.save(folder / f"{what}.npy", X[what])
    assert run("train", kind, "--data", folder / f"{what}.npy", "--out", folder / "run", *FAST, *more) == 0
    return folder / "run"


@pytest.mark.parametrize(("what", "kind", "more"), [
    ("vectors", "two-stage", ["--sample-every", "1", "--mi-every", "1"]), ("sequences", "vae", ["--data-shape", "1,17"]),
    ("volumes", "wae-mmd", [])])
def test_train_sample_and_evaluate(what, kind, more, tmp_path, capsys):
    path, shape = trained(tmp_path, kind, what, *more), SHAPES[what]
    config = json.loads((path / "config.json").read_text())
    assert config["data_name"] == "arrays" and config["data"]["data_shape"] == list(shape) == config["model"]["data_shape"]
    assert {"samples_stage1.png", "reconstructions.png", "latents.png", "report.html"} <= {p.name for p in path.iterdir()}
    assert run("sample", path, "-n", "20", "--out", tmp_path / "s.npz", "--device", "cpu") == 0
    with np.load(tmp_path / "s.npz", allow_pickle=False) as file:
        assert file["x"].shape == (20, *shape) and file["x"].dtype == np.float32
    assert Image.open(tmp_path / "s.png").size[0] > 200
    capsys.readouterr()
    assert run("evaluate", path, "-n", "30", "--device", "cpu") == 0
    told = capsys.readouterr().out
    assert "scores of images (FID and its kin, sharpness) are left out" in told and "left out" in told
    scores = json.loads((path / "evaluation.json").read_text())
    assert {"sliced_values/stage1", "sliced_values/test_vs_train", "value_error", "unexplained", "mmd/stage1"} <= set(scores)
    assert all(np.isfinite(v) for v in scores.values() if isinstance(v, float)) and not any("fid" in key for key in scores)
    assert "sliced Wasserstein of the values" in (path / "report.html").read_text().replace("Sliced", "sliced")
    if what == "vectors":
        assert "samples_stage2.png" in {p.name for p in path.iterdir()} and list((path / "samples").iterdir())
        assert run("train", kind, "--data", tmp_path / "vectors.npy", "--out", path, *FAST, *more, "--resume") == 0
        assert run("evaluate", path, "--metrics", "fid") == 2
        assert "metrics are given for data of shape (6,), which are no images" in capsys.readouterr().err


def test_in_python_too(tmp_path):
    x = torch.from_numpy(X["vectors"])
    model = vaefast.VAE(data_shape=(6,), latent_dim=2)
    model.fit(x[:60], steps=2, batch_size=16, device="cpu", progress=False)
    said: list[str] = []
    scores = vaefast.evaluate(model, x[60:], train=x[:60], out=tmp_path / "e", samples=40, say=said.append)
    assert scores["real"] == 30 and scores["gamma_values"] > 0 and "left out" in said[0]
    assert json.loads((tmp_path / "e/evaluation.json").read_text())["about"]["kind"] == "vae"
    with pytest.raises(ArgumentError, match="metrics are given for data of shape"):
        vaefast.evaluate(model, x, metrics=["fid"])


def test_images_of_a_file_stay_images(tmp_path):
    path = trained(tmp_path, "vae", "images")
    config = json.loads((path / "config.json").read_text())
    assert config["data_name"] == "npz" and config["model"]["image_shape"] == [1, 8, 8]
    assert reads_as_images(tmp_path / "images.npy")


def test_files_with_parts_and_labels(tmp_path):
    np.savez(tmp_path / "p.npz", x_train=X["vectors"][:50], x_test=X["vectors"][50:], y_train=np.arange(50) % 3)
    train, test = (load_arrays(tmp_path / "p.npz", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (50, 40) and train.labels.tolist() == (np.arange(50) % 3).tolist() and test.labels is None
    np.save(tmp_path / "v.npy", X["vectors"])
    parts = [load_arrays(tmp_path / "v.npy", split) for split in ("train", "test", "all")]
    assert len(parts[0]) + len(parts[1]) == len(parts[2]) == 90
    assert load_arrays(tmp_path / "v.npy", "all", data_shape=(1, 6)).data_shape == (1, 6)
    np.save(tmp_path / "nan.npy", np.full((4, 3), np.nan))
    with pytest.raises(DataError, match="nan.npy: row 0 holds NaN"):
        load_arrays(tmp_path / "nan.npy", "all")
    np.save(tmp_path / "pickled.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="pickled"):
        load_arrays(tmp_path / "pickled.npy", "all")


@pytest.mark.parametrize(("words", "message"), [
    (["vae", "--data", "vectors.npy", "--data-shape", "1,28,28"], "data_shape|--data-shape"),
    (["vae", "--data", "vectors.npy", "--data-shape", "5"], r"shape \(6,\)"),
    (["vae", "--data", "missing.npy"], "missing.npy does not exist"),
    (["vae", "--data", "digits", "--data-shape", "5"], "for examples of a NumPy file"),
    (["vae", "--data", "vectors.npy", "--data-root", "."], "a file already; leave it out"),
    (["vae", "--data", "vectors.npy", "--score-every", "1"], "it scores images"),
    (["vae", "--data", "vectors.npy", "--data-option", "crop=5"], "crop is an option of images"),
    (["vae", "--data", "vectors.npy", "--nets", "infogan"], "expected 'residual'"),
    (["gan", "--data", "vectors.npy"], "gan takes images, and these are examples of shape")])
def test_bad_input_gets_one_sentence(words, message, tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "vectors.npy", X["vectors"])
    monkeypatch.chdir(tmp_path)
    assert run("train", *words, "--out", "run", "--steps", "1", "--device", "cpu") == 2
    err = capsys.readouterr().err
    assert re.search(message, err), err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("shape", [(1,), (3,), (9,), (1, 1), (6, 17), (1, 1, 5, 4), (1, 2, 2, 2, 2)])
@pytest.mark.parametrize("beside", [False, True])
def test_pictures_of_every_rank(shape, beside, tmp_path):
    path = draw_arrays(tmp_path / "p.png", torch.randn(5, *shape), torch.randn(7, *shape) if beside else None)
    assert Image.open(path).size[0] > 100
