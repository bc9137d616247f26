"""The command line, end to end on the UCI digits, and what it says to bad input."""

from __future__ import annotations

import gzip
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from vaefast import cli
from vaefast.cli import main
from vaefast.cli.wording import for_command

FAST = ["--second", "vae", "--steps", "8", "--batch-size", "32", "--latent-dim", "4", "--device", "cpu"]


def run(*words: str) -> int:
    return main([str(w) for w in words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert run("train", "two-stage", "--data", "digits", "--out", out, *FAST) == 0
    return out


def test_train_leaves_model_pictures_and_report(trained):
    names = {p.name for p in trained.iterdir()}
    assert {"config.json", "metrics.jsonl", "model.json", "model.safetensors", "checkpoints", "samples_stage1.png",
            "samples_stage2.png", "reconstructions.png", "curves.png", "report.html"} <= names
    config = json.loads((trained / "config.json").read_text())
    assert config["preset"] == "quick" and config["command"].startswith("vaefast train two-stage --data digits")
    assert all(stage["steps"] == 8 for stage in config["stages"])


def test_sample(trained, tmp_path, capsys):
    assert run("sample", trained, "-n", "130", "--out", tmp_path / "s.npz", "--device", "cpu") == 0
    with np.load(tmp_path / "s.npz", allow_pickle=False) as file:
        assert file["images"].shape == (130, 1, 32, 32) and file["images"].dtype == np.uint8
        again = file["images"].copy()
    assert Image.open(tmp_path / "s.png").size[0] > 100
    assert run("sample", trained, "-n", "130", "--out", tmp_path / "t.npz", "--device", "cpu") == 0
    with np.load(tmp_path / "t.npz") as file:
        assert np.array_equal(file["images"], again)
    capsys.readouterr()
    assert run("sample", trained, "--out", tmp_path / "s.png") == 2
    assert "exists already" in capsys.readouterr().err
    assert run("sample", trained, "--out", tmp_path / "s.jpg") == 2
    assert run("sample", trained, "-n", "0", "--out", tmp_path / "u.png") == 2


def test_evaluate(trained, capsys, cache, monkeypatch):
    monkeypatch.setattr("vaefast.metrics.classifier._LEAST_STEPS", 20)  # a classifier that has learned little will do
    monkeypatch.setattr("vaefast.metrics.classifier._EPOCHS", 0)
    assert run("evaluate", trained, "-n", "200", "--device", "cpu") == 0
    result = json.loads((trained / "evaluation.json").read_text())
    for key in ("fd_classifier/stage1", "fd_classifier/stage2", "fd_classifier/reconstructions", "mmd/stage1", "mmd/stage2",
                "reconstruction_error", "active_dimensions"):
        assert np.isfinite(result[key])
    assert result["samples"] == 200
    assert "FD-classifier" in capsys.readouterr().out
    assert "fd_classifier" in (trained / "report.html").read_text() or "FD-classifier" in (trained / "report.html").read_text()


def test_a_resumed_run_ends_with_the_same_weights(tmp_path, trained, monkeypatch):
    from vaefast.training import trainer

    words = ["train", "two-stage", "--data", "digits", "--out", tmp_path / "cut", *FAST]
    original = trainer.Trainer._run_stage

    def interrupted(self, number, start, tensors, meta):
        if number == 1:  # as if Ctrl-C came when the second stage began
            signal.raise_signal(signal.SIGINT)
        return original(self, number, start, tensors, meta)

    monkeypatch.setattr(trainer.Trainer, "_run_stage", interrupted)
    assert run(*words) == 130
    monkeypatch.undo()
    assert not (tmp_path / "cut" / "model.json").exists()
    assert run("sample", tmp_path / "cut", "--out", tmp_path / "x.png") == 2
    assert run(*words, "--resume") == 0
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_info(capsys):
    assert run("info") == 0
    out = capsys.readouterr().out
    assert "torch" in out and "on cpu, not cuda (every op): runs on CUDA tensors only" in out
    assert re.search(r"^reparam_kl +(cpp|reference) ", out, re.M)


def bad(capsys, *words: str) -> str:
    """Status 2 and one line on standard error, which is returned."""
    assert run(*words) == 2
    err = capsys.readouterr().err.strip()
    assert err.startswith("vaefast: ") and "\n" not in err and "Traceback" not in err
    return err


def test_bad_input_gets_one_sentence(tmp_path, capsys, trained):
    out = tmp_path / "run"
    train = ("train", "two-stage", "--out", out)
    assert "nothing-there" in bad(capsys, *train, "--data", "mnist", "--data-root", tmp_path / "nothing-there") \
        or "download" in capsys.readouterr().err
    assert "--latent-dim is 0" in bad(capsys, *train, "--data", "digits", "--latent-dim", "0")
    assert "epochs is 0" in bad(capsys, *train, "--data", "digits", "--epochs", "0")
    assert "2 stages" in bad(capsys, *train, "--data", "digits", "--second", "vae", "--epochs", "1,2,3")
    assert "preset is 'tomorrow'" in bad(capsys, *train, "--data", "digits", "--preset", "tomorrow")
    assert "already holds a run" in bad(capsys, "train", "two-stage", "--data", "digits", "--out", trained)
    assert "does not exist" in bad(capsys, *train, "--data", "digits", "--resume")
    assert "no data set 'cifar11'" in bad(capsys, *train, "--data", "cifar11")
    assert f"{tmp_path} is a path; for data of your own choose folder" in bad(capsys, *train, "--data", tmp_path)
    assert "other settings" in bad(capsys, "train", "two-stage", "--data", "digits", "--out", trained, "--resume", "--seed", "4")
    assert "holds no run" in bad(capsys, "evaluate", tmp_path)
    assert "holds no model" in bad(capsys, "sample", tmp_path, "--out", tmp_path / "s.png")
    if not torch.cuda.is_available():
        assert "0 CUDA devices" in bad(capsys, *train, "--data", "digits", "--device", "cuda")
    assert not out.exists()


def test_damaged_data_is_named_and_makes_no_run_folder(tmp_path, capsys):
    root = tmp_path / "mnist"
    root.mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (root / f"{name}.gz").write_bytes(gzip.compress(b"\x00\x00\x08\x03" + b"\x00" * 40))
    message = bad(capsys, "train", "two-stage", "--data", "mnist", "--data-root", root, "--out", tmp_path / "run")
    assert "idx" in message
    assert not (tmp_path / "run").exists()


def test_fd_classifier_needs_labels(tmp_path, capsys, cache):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(40):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (28, 28), dtype=np.uint8)).save(folder / f"{i}.png")
    out = tmp_path / "run"
    assert run("train", "two-stage", "--data", "folder", "--data-root", folder, "--out", out, "--steps", "2",
               "--batch-size", "8", "--latent-dim", "2", "--device", "cpu") == 0
    assert "labels" in bad(capsys, "evaluate", out, "--metrics", "classifier", "-n", "10", "--device", "cpu")


def test_image_size_makes_a_folder_of_mixed_sizes_usable(tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(40):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (30 + i % 3, 28), dtype=np.uint8)).save(folder / f"{i}.png")
    words = ("train", "two-stage", "--data", "folder", "--data-root", folder, "--out", tmp_path / "run", "--steps", "2",
             "--batch-size", "8", "--latent-dim", "2", "--device", "cpu")
    assert "size" in bad(capsys, *words)
    assert "no option 'centre'" in bad(capsys, *words, "--data-option", "centre=20")
    assert run(*words, "--image-size", "28", "--data-option", "crop=20", "--data-option", "filter=box") == 0
    options = json.loads((tmp_path / "run" / "config.json").read_text())["data_options"]
    assert options == {"size": 28, "crop": 20, "filter": "box"}


def test_advice_is_in_the_words_of_the_command_line(tmp_path, capsys):
    """Bad files of all splits are named before training, with what the command itself takes against them."""
    for i in range(12):
        for part in ("train", "test"):
            (tmp_path / "in" / part).mkdir(parents=True, exist_ok=True)
            Image.new("L", (28 + i % 2, 28), 20 * i).save(tmp_path / "in" / part / f"{i}.png")
    (tmp_path / "in" / "test" / "x.png").write_text("x")
    out = tmp_path / "a run"
    train = ("train", "two-stage", "--data", "folder", "--data-root", tmp_path / "in", "--out", out, "--steps", "2",
             "--batch-size", "8", "--latent-dim", "2", "--device", "cpu")
    assert "pass --image-size N" in bad(capsys, *train)
    said = bad(capsys, *train, "--size", "28")
    assert "test/x.png is not an image" in said and "pass --on-bad skip" in said and not out.exists()
    assert run(*train, "--size", "28", "--on-bad", "skip") == 0
    assert f"vaefast evaluate '{out}'" in capsys.readouterr().out
    weights = ("--inception-weights", tmp_path / "none.pth", "--device", "cpu")
    assert "does not exist" in bad(capsys, "fid", tmp_path / "nowhere", tmp_path / "in", *weights)


def test_paths_that_are_no_utf8(tmp_path, capsys):
    odd = tmp_path / b"caf\xe9".decode("utf-8", "surrogateescape")
    odd.mkdir()
    for i in range(12):
        Image.new("L", (28, 28), 20 * i).save(odd / f"{i}.png")
    assert run("train", "two-stage", "--data", "folder", "--data-root", odd, "--out", odd / "run", "--steps", "2", "--batch-size",
               "8", "--latent-dim", "2", "--device", "cpu") == 0
    assert (odd / "run" / "report.html").is_file()


@pytest.mark.parametrize("command, text, right", [
    ("fid", 'different sizes; pass size= to resize them all.', "different sizes; pass --size N to resize them all."),
    ("train", 'or pass on_bad="skip" to leave', "or pass --on-bad skip to leave"),
    ("train", "or pass verify=False to use", "or pass --data-option verify=false to use"),
    ("evaluate", 'pass on_bad="skip" to', "pass --on-bad skip to"),
    ("sample", 'pass on_bad="skip" to', 'pass on_bad="skip" to'),
    ("train", "crop=(1, 2) and a=b stay", "crop=(1, 2) and a=b stay"),
    ("train", "build it with classes=None.", "build it with --classes none."),
    ("train", "build it with spectral_norm=False.", "build it with --no-spectral-norm."),
    ("train", "build it with no_such=3.", "build it with no_such=3."),
    ("train", "go on with it (resume=True), or choose another out.", "go on with it (--resume), or choose another --out."),
    ("evaluate", "go on with it first (resume=True).", "go on with it first (--resume)."),
    ("train", "start a run with start_from='a b/last-good'.", "start a run with --start-from 'a b/last-good'."),
    ("train", "lr is 0.0; expected", "--lr is 0.0; expected"), ("train", "steps is -1; expected", "--steps is -1; expected"),
    ("train", "embedding_dim is -1; expected", "--embedding-dim is -1; expected"),
    ("train", "lambda_ is -1; expected", "--lambda is -1; expected"), ("evaluate", "loss is 3;", "loss is 3;"),
])
def test_wording(command, text, right):
    words = {"train": ["train", "biggan", "--data", "cifar10", "--out", "x"], "fid": ["fid", "a", "b"], "sample":
             ["sample", "x", "--out", "y"]}.get(command, [command, "x"])
    assert for_command(text, cli._parsed(words)) == right


def test_images_that_the_network_cannot_take(tmp_path, capsys):
    np.savez(tmp_path / "odd.npz", images=np.zeros((20, 30, 30), dtype=np.uint8))
    assert "multiples of 4" in bad(capsys, "train", "two-stage", "--data", "npz", "--data-root", tmp_path / "odd.npz",
                                   "--nets", "infogan", "--out", tmp_path / "run")
    np.savez(tmp_path / "nan.npz", images=np.full((20, 28, 28), np.nan, dtype=np.float32))
    assert "holds nan" in bad(capsys, "train", "two-stage", "--data", "npz", "--data-root", tmp_path / "nan.npz",
                        "--out", tmp_path / "run")


def test_as_a_process():
    done = subprocess.run([sys.executable, "-m", "vaefast", "sample", "no-such-run", "--out", "x.png"],
                          capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "no-such-run" in done.stderr


@pytest.mark.slow
def test_demo(tmp_path, monkeypatch, capsys, cache):
    monkeypatch.chdir(tmp_path)
    assert run("demo", "--device", "cpu") == 0
    assert (tmp_path / "vaefast-demo" / "evaluation.json").exists()
    assert "open" in capsys.readouterr().out
