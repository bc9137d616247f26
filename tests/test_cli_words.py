"""How the command line reads values and answers mistakes, and how it ends when it is cut off."""

from __future__ import annotations

import argparse
import builtins
import os
import signal
import subprocess
import sys

import pytest
import torch

import vaefast.__main__
from vaefast import api, cli
from vaefast.cli import main
from vaefast.cli.arguments import named, value_of
from vaefast.cli.signature import described, hints_of
from vaefast.cli.training import model_of, ramp, read_options
from vaefast.cli.wording import flags_of, for_command
from vaefast.errors import ArgumentError
from vaefast.experiments.demo import verdict
from vaefast.experiments.presets import PRESETS
from vaefast.training.schedule import Ramp

TRAIN = ("train", "vae", "--data", "digits", "--out", "nowhere")


def said(capsys, *words: str) -> str:
    """The last line on standard error of words that the parser refuses, after one line of usage."""
    with pytest.raises(SystemExit) as end:
        main(list(words))
    lines = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2 and len(lines) == 2 and lines[0].startswith("usage: vaefast") and lines[1].startswith("vaefast: ")
    return lines[1]


@pytest.mark.parametrize(("words", "sentence"), [
    ((*TRAIN, "--gamma", "x"), "--gamma is 'x'; expected learned, optimal or a number."),
    ((*TRAIN, "--lr", "fast"), "--lr is 'fast'; expected a number."),
    ((*TRAIN, "--lr", "nan"), "--lr is 'nan'; expected a number."),
    ((*TRAIN, "--batch-size", "1.5"), "--batch-size is '1.5'; expected a whole number."),
    ((*TRAIN, "--epochs", "3,x"), "--epochs is '3,x'; expected a number, or one for each stage, separated by commas."),
    (("train", "gamix", *TRAIN[2:], "--width", "wide"), "--width is 'wide'; expected a whole number."),
    ((*TRAIN, "--likelihood", "gausian"), "expected one of gaussian, bernoulli, squared; did you mean gaussian?"),
    ((*TRAIN, "--ramp", "beta=0:1"), "expected NAME=START:END:STEPS, such as beta=0:1:10000."),
    ((*TRAIN, "--ramp", "beta=0:1:0"), "a ramp has steps 0"),
    ((*TRAIN, "--model-option", "beta"), "--model-option is 'beta'; expected NAME=VALUE."),
    ((*TRAIN, "--latentdim", "3"), "there is no argument --latentdim; did you mean --latent-dim?"),
    ((*TRAIN, "--steps", "3", "--epochs", "1"), "argument --epochs: not allowed with argument --steps."),
    (("train", "vea", "--data", "digits", "--out", "x"), "did you mean vae?"), (("trian",), "did you mean train?"),
    (("train",), "the following arguments are required: MODEL, --data, --out."), ((), "required: {train"),
    (("sample", "x", "-n", "many", "--out", "x.png"), "-n is 'many'; expected a whole number."),
    (("sweep", "vae", "--data", "digits", "--out", "x", "--cpus-per-trial", "all"), "expected a number."),
    (("info", "now"), "there is no argument now of vaefast info.")])
def test_a_mistake_gets_a_line_of_usage_and_a_sentence(words, sentence, capsys):
    if words == ():
        with pytest.raises(SystemExit):
            main([])
        assert "the following arguments are required" in capsys.readouterr().err
    else:
        assert sentence in said(capsys, *words)


@pytest.mark.parametrize("kind", PRESETS)
def test_numbers_become_what_each_model_declares(kind):
    for name, hint in hints_of(model_of(kind)).items():
        if int in hint.plain:
            for value in ("16", "16.0"):
                found = read_options(kind, [(name, value)])[name]
                assert found == 16 and type(found) is int
            with pytest.raises(ArgumentError, match=f"{name.rstrip('_')} is '16.5'; expected .*a whole number"):
                read_options(kind, [(name, "16.5")])
        elif float in hint.plain:
            found = read_options(kind, [(name, "4")])[name]
            assert found == 4.0 and type(found) is float
        elif bool in hint.plain:
            with pytest.raises(ArgumentError, match="expected true or false"):
                read_options(kind, [(name, "1")])


def test_options_of_several_values():
    assert read_options("vae", [("net_options.width", "32"), ("net_options.norm", "group"), ("beta", "2")]) == {
        "net_options": {"width": 32, "norm": "group"}, "beta": 2.0}
    assert read_options("sequential", [("rungs", "2,3,4,5")]) == {"rungs": [2, 3, 4, 5]}
    assert read_options("wae-mmd", [("image_range", "-1,1")]) == {"image_range": [-1.0, 1.0]}
    assert read_options("general-vae", [("regularizer", "none"), ("family", "none")]) == {"regularizer": "none", "family": None}
    assert read_options("vae", [("gamma", "optimal")]) == {"gamma": "optimal"}
    assert read_options("vae", [("gamma", "2")]) == {"gamma": 2.0}
    for kind, name, text, words in (
            ("vae", "net_options", "3", r"net_options.KEY=VALUE"), ("vae", "encoder", "resnet18", "Python"),
            ("sequential", "rungs", "a,b", "separated by commas"), ("vae", "beta", "high", "a number"),
            ("vae", "latent_dim", "none", "a whole number"), ("gan", "spectral_norm", "yes", "true or false"),
            ("vae", "likelihood", "gausian", "gaussian, bernoulli, squared"),
            ("vae", "gamma", "x", "learned, optimal or a number")):
        with pytest.raises(ArgumentError, match=words):
            read_options(kind, [(name, text)])


def test_the_model_is_found_among_the_words():
    names, switches = ("vae", "gan"), ("--flip",)
    for words, right in ((["train", "--data", "gan", "vae"], "vae"), (["train", "--data=gan", "vae"], "vae"),
                         (["train", "--flip", "gan"], "gan"), (["train", "--no-flip", "gan"], "gan"), (["--out", "vae"], None)):
        assert named(words, names, switches) == right
    assert value_of(["--preset", "paper"], "--preset") == value_of(["--preset=paper"], "--preset") == "paper"
    assert value_of(["--preset"], "--preset") == "" and value_of([], "--preset") is None


def test_ramps_are_read():
    assert ramp("beta=0:4:100") == ("beta", Ramp(0.0, 4.0, 100))
    assert ramp("kl_weight=1:0:10:exponential:50") == ("kl_weight", Ramp(1.0, 0.0, 10, 50, "exponential"))
    assert ramp("beta=0:1:10:20") == ("beta", Ramp(0.0, 1.0, 10, 20))


@pytest.mark.parametrize("kind", api.MODELS)
def test_every_argument_is_in_the_docstring(kind):
    model = api.MODELS[kind]
    missing = [name for name, hint in hints_of(model).items() if hint.given and not described(model).get(name)]
    assert not missing


@pytest.mark.parametrize(("words", "shown"), [
    (["train", "gamix", "--help"], ["--width N", "(default: 32)", "--kl-weight X", "--nets", "preset quick", "--ramp"]),
    (["train", "--preset", "paper", "gan", "--help"], ["--disc-iters", "preset paper", "--loss", "--z {uniform,normal}"]),
    (["train", "two-stage", "--preset", "short", "--help"],
     ["--second-width N", "(default: 512)", "--lr X", "--adversary", "--epochs"]),
    (["train", "--help"], ["two-stage", "vaefast train MODEL --help", "--dry-run"])])
def test_help_is_of_the_model_with_the_presets_defaults(words, shown, capsys):
    with pytest.raises(SystemExit):
        main(words)
    said = " ".join(capsys.readouterr().out.split())
    assert all(one in said for one in shown), said


@pytest.mark.parametrize(("kind", "words"), [
    ("gamix", ["--width", "4"]), ("sequential", ["--width", "0.03125", "--chain-steps", "2"]),
    ("biggan", ["--ch", "4", "--model-option", "latent_dim=8.0"]),
    ("vae", ["--nets", "gamix", "--model-option", "net_options.width=4", "--beta", "2"])])
def test_such_numbers_train(kind, words, tmp_path):
    assert main(["train", kind, "--data", "digits", "--steps", "1", "--batch-size", "8", "--device", "cpu", *words,
                 "--out", str(tmp_path / "run")]) == 0


def test_what_cannot_fit_into_memory_is_refused_before_a_folder_is_made(tmp_path, capsys):
    for size in ("1000000000", "100000000000000"):
        assert main(["train", "vae", "--data", "digits", "--latent-dim", size, "--out", str(tmp_path / "run")]) == 2
        assert "memory; choose" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_a_training_takes_is_said(tmp_path, capsys, monkeypatch):
    words = ["train", "vae", "--preset", "short", "--data", "digits", "--steps", "1", "--latent-dim", "4", "--device", "cpu",
             "--out", str(tmp_path / "run")]
    monkeypatch.setattr("vaefast.api.footprint.memory_of", lambda device: (10**8, 10**9))
    assert main(words) == 0
    said = capsys.readouterr()
    assert "100 MB of memory free; training may run out of it" in said.err
    assert "vae: 17.1 million parameters; with gradients and Adam's moments about 273 MB, and the data 1.48 MB" in said.out
    monkeypatch.setattr("vaefast.api.footprint.memory_of", lambda device: (10**8, 2 * 10**8))
    assert main([*words[:-1], str(tmp_path / "other")]) == 2
    assert "cpu has 200 MB of memory; choose a smaller model" in capsys.readouterr().err and not (tmp_path / "other").exists()


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_version_and_help_import_no_torch(words):
    code = (f"import sys; sys.argv = ['vaefast', *{words!r}]; from vaefast.__main__ import run\n"
            "try: run()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules and 'numpy' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "vaefast" in done.stdout, done.stderr


def test_ctrl_c_at_any_moment_ends_in_a_line(monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.train, "add", stopped)  # while a command's arguments, and so torch, are imported
    assert main(list(TRAIN)) == 130
    monkeypatch.setattr(cli, "_run", stopped)
    assert main(["info"]) == 130
    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *rest: stopped() if name == "vaefast.cli" else original(name, *rest))
    assert vaefast.__main__.run() == 130
    assert capsys.readouterr().err == 3 * "\nvaefast: stopped\n"


@pytest.mark.parametrize("words", [
    ["info"], ["train", "vae", "--data", "digits", "--steps", "3", "--device", "cpu", "--latent-dim", "2", "--out", "run"]])
def test_a_pipe_that_closes_leaves_no_traceback_and_stops_no_training(words, tmp_path):
    process = subprocess.Popen([sys.executable, "-m", "vaefast", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, cwd=tmp_path)
    process.stdout.close()
    error = process.stderr.read()
    assert process.wait() == 141 and "Traceback" not in error and "Broken" not in error
    assert (tmp_path / "run" / "report.html").exists() == (words[0] == "train")


def test_the_demos_verdict_goes_by_its_numbers():
    scores = {"fd_classifier/stage1": 14.0, "fd_classifier/stage2": 6.67, "fd_classifier/mixture": 3.77}
    assert verdict(scores).startswith("nearest to real digits here are samples with codes of a Gaussian mixture (FD-classifier "
                                      "3.77)")
    assert "of the second stage (FD-classifier 2" in verdict({**scores, "fd_classifier/stage2": 2.0})
    assert "mixture" not in verdict({"fd_classifier/stage1": 3.0, "fd_classifier/stage2": 2.0})


def test_settings_are_named_as_flags_and_a_refused_run_leaves_no_folder(tmp_path, capsys):
    out = tmp_path / "run"
    words = ["train", "vae", "--data", "digits", "--steps", "2", "--latent-dim", "2", "--device", "cpu", "--out", str(out)]
    assert main([*words, "--batch-size", "100000"]) == 2
    error = capsys.readouterr().err
    assert "--batch-size is 100000" in error and "lower --batch-size" in error and not out.exists()
    assert main([*words, "--batch-size", "8"]) == 0
    assert main([*words, "--batch-size", "100000", "--resume"]) == 2 and (out / "model.safetensors").exists()


def flags(*words):
    return flags_of(next(a for a in cli.parser(words)._actions if isinstance(a, argparse._SubParsersAction)).choices[words[0]])


def test_names_of_settings_in_paths_stay():
    args = argparse.Namespace(command="train", flags=flags("train", "vae"))
    for text in ("/x/batch_size/a.png is bad", "batch_size.png", "my-batch_size", "--data-root batch_size/"):
        assert for_command(text, args) == text
    assert for_command("lower batch_size, or data_root.", args) == "lower --batch-size, or --data-root."


def test_ctrl_c_while_libraries_are_imported_ends_at_once(tmp_path):
    """Where a library catches all that is raised while it imports another, an exception would be lost."""
    (tmp_path / "torch.py").write_text("import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n"
                                       "    pass\nraise ImportError('half there')\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run([sys.executable, "-m", "vaefast", *TRAIN], capture_output=True, text=True, cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": path}, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert done.returncode == 130 and done.stderr == "\nvaefast: stopped\n"


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1, 10**22])
def test_seeds_have_64_bits(seed, tmp_path, capsys):
    assert "--seed is" in said(capsys, *TRAIN, f"--seed={seed}")
    with pytest.raises(ArgumentError, match="seed is"):
        api.VAE((1, 8, 8), 2).fit(torch.zeros(9, 1, 8, 8, dtype=torch.uint8), steps=1, seed=seed, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
