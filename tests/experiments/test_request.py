"""What a training is asked for: a request, a run's config.json in its place, and what it would come to."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from vaefast.cli import main
from vaefast.errors import ArgumentError
from vaefast.experiments.config_file import read_config
from vaefast.experiments.request import Request
from vaefast.training.schedule import Ramp
from vaefast.training.settings import PlayerSettings, StageSettings

FAST = ["--data", "digits", "--device", "cpu", "--batch-size", "16"]


def test_a_request_survives_json():
    asked = Request("gan", "digits", "out", steps=(3,), stage_overrides={
        "ramps": {"beta": Ramp(0.0, 1.0, 5)}, "players": {"generator": PlayerSettings(lr=1e-3)}})
    again = Request(**json.loads(json.dumps(asked.as_dict())))
    base = (StageSettings(epochs=1),)
    assert again.stages_from(base) == asked.stages_from(base)
    assert again.stages_from(base)[0].ramps == {"beta": Ramp(0.0, 1.0, 5)} and again.stages_from(base)[0].steps == 3


def test_files_hold_settings_that_nothing_reads(tmp_path):
    """A run's config.json has all of a stage's settings; the same by hand are refused."""
    stage = {**StageSettings(steps=1).as_dict(), "optimizer": "sgd", "eps": 1e-7, "schedule": "cosine", "halve_every": 2.0}
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, "kind": "vae", "stages": [stage]}))
    stages, base = read_config(str(tmp_path))["stages"], (StageSettings(epochs=1),)
    (settings,) = Request("vae", "digits", "out", stages=stages).stages_from(base)
    assert (settings.optimizer, settings.schedule) == ("sgd", "cosine")
    (tmp_path / "config.json").write_text(json.dumps({"stages": {"schedule": "cosine", "halve_every": 2.0}}))
    with pytest.raises(ArgumentError, match="halve_every is 2.0, which schedule='cosine' has not"):
        Request("vae", "digits", "out", stages=read_config(str(tmp_path))["stages"]).stages_from(base)


def test_a_dry_run_is_of_what_is_trained(tmp_path, capsys):
    words = ["train", "vae", *FAST, "--epochs", "2", "--latent-dim", "2", "--nets", "infogan", "--dry-run",
             "--out", str(tmp_path / "o")]
    assert main([*words, "--validation", "0.5", "--trials", "4"]) == 0
    said = capsys.readouterr().out
    assert "on 721 images" in said and "90 steps of 16 (2 epochs)" in said and "4 trials, one after the other" in said
    np.save(tmp_path / "v.npy", np.random.default_rng(0).random((40, 6)))
    vectors = ["train", "vae", "--data", str(tmp_path / "v.npy"), "--steps", "3", "--batch-size", "16", "--device", "cpu",
               "--out", str(tmp_path / "o")]
    for flags in (["--augment", "flip"], ["--score-every", "1"]):
        assert main([*vectors, *flags]) == main([*vectors, *flags, "--dry-run"]) == 2
    capsys.readouterr()
    assert main([*words[:-3], "--out", str(tmp_path / "o"), "--at-once", "2"]) == 2
    assert "--at-once is 2, which is of trials; give --trials" in capsys.readouterr().err
    assert main(["train", "gan", *FAST, "--steps", "2", "--mi-every", "1", "--out", str(tmp_path / "o")]) == 2
    assert "--mi-every is 1.0; it is of codes with a density" in capsys.readouterr().err


def test_a_file_by_hand_drops_nothing(tmp_path):
    file = tmp_path / "own.json"

    def read(**entries):
        file.write_text(json.dumps(entries))
        return read_config(str(file))

    assert read(kind="vae", keep_best=True)["keep_best"] is True
    assert read(kind="vae", networks={"from": "mine:make"})["model_overrides"] == {"networks": "mine:make"}
    with pytest.raises(ArgumentError, match="networks of its own; leave one of the two out"):
        read(kind="vae", networks={"from": "mine:make"}, model={"nets": "residual"})
    for name in ("device", "workers", "value_range"):
        with pytest.raises(ArgumentError, match=f"has '{name}'"):
            read(kind="vae", **{name: "cpu"})


def test_what_concerns_images_is_of_the_first_stage_and_ramps_join_the_presets():
    base = (StageSettings(epochs=1, ramps={"kl_weight": Ramp()}), StageSettings(epochs=2))
    asked = Request("two-stage", "digits", "out", stages=[{"lr": 1e-2}, {"batch_size": 7}],
                    stage_overrides={"flip": True, "lr": 1e-3, "ramps": {"beta": Ramp()}})
    first, second = asked.stages_from(base)
    assert (first.flip, second.flip) == (True, False) and first.lr == second.lr == 1e-3 and second.batch_size == 7
    assert set(first.ramps) == {"kl_weight", "beta"} and not second.ramps
    for wrong in ({"stages": [{}]}, {"steps": (1, 2, 3)}, {"stage_overrides": [{}] * 3}):
        with pytest.raises(ArgumentError, match="two-stage has 2 stages: give"):
            Request("two-stage", "digits", "out", **wrong).stages_from(base)


def test_a_share_of_the_length_has_the_halvings_at_the_same_share_of_the_way():
    base = (StageSettings(epochs=400), StageSettings(epochs=800, halve_every=30.0), StageSettings(steps=5))
    first, second, third = Request("two-stage", "digits", "out", share=0.1).stages_from(base)
    assert (first.epochs, second.epochs, second.halve_every, third.steps) == (40, 80, 3, 1)
    assert first.halve_every is None  # a share of its own epochs
    assert Request("two-stage", "digits", "out", share=3).stages_from(base)[2].steps == 15
    for wrong in (0, -1, math.inf, math.nan):
        with pytest.raises(ArgumentError, match="share is"):
            Request("two-stage", "digits", "out", share=wrong)


@pytest.mark.parametrize(("config", "said"), [
    ({"modle": {}}, "did you mean 'model'?"), ({"stages": [{"lrate": 1}]}, "'lrate'"), ([], "holds list"),
    ({"kind": "second-stage"}, "does not train"), ({"kind": "vae", "model": {"adversary": "custom"}}, "adversary of its own"),
    ({"kind": "vae", "model": {"nets": "custom"}}, "networks of its own"),
    ({"kind": "vae", "augment": ["flip", "custom"]}, "augment of its own")])
def test_a_file_that_asks_for_something_else_is_named(tmp_path, config, said):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArgumentError, match=re.escape(said)):
        read_config(str(tmp_path / "config.json"))
    with pytest.raises(ArgumentError, match="expected a run's config.json"):
        read_config(str(tmp_path / "none.json"))


@pytest.mark.parametrize(("config", "kind"), [
    ({"kind": "vae", "preset": "quick", "model": {"flow": "planar", "latent_dim": 16, "gamma": "optimal"}}, "vae-flow"),
    ({"kind": "vae", "preset": "quick", "model": {"flow": None, "latent_dim": 16, "gamma": "optimal"}}, "vae"),
    ({"kind": "gamix", "preset": "quick", "model": {"second_stage": True}, "stages": [{}, {}]}, "gamix-two-stage"),
    ({"kind": "wae", "preset": "quick", "model": {"penalty": "gan"}}, "wae-gan"), ({"kind": "beta-vae"}, "beta-vae")])
def test_the_kind_of_a_config(tmp_path, config, kind):
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert read_config(str(tmp_path / "c.json"))["kind"] == kind


def test_a_runs_config_makes_the_same_run_again_and_a_dry_run_makes_none(tmp_path, capsys):
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    words = ["--steps", "2", "--latent-dim", "3", "--seed", "5", "--nets", "gamix", "--net-options", "width=8", "--beta", "0.5",
             "--ramp", "beta=0:0.5:2"]
    assert main(["train", "vae", *FAST, *words, "--out", str(first)]) == 0
    config = json.loads((first / "config.json").read_text())
    assert config["stages"][0]["ramps"]["beta"]["steps"] == 2 and config["model"]["net_options"] == {"width": 8}
    assert main(["train", "--config", str(first), "--device", "cpu", "--out", str(again)]) == 0
    assert (again / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()
    capsys.readouterr()
    (tmp_path / "part.json").write_text(json.dumps({"model": {"latent_dim": 2}, "stages": {"lr": 0.002}, "seed": 1}))
    assert main(["train", "two-stage", "--config", str(tmp_path / "part.json"), *FAST, "--steps", "3,40", "--out", str(other),
                 "--dry-run", "--second", "vae", "--second-width", "8", "--nets", "gamix", "--net-options", "width=8"]) == 0
    said = capsys.readouterr().out
    assert not other.exists() and "two-stage, preset quick, on 1,442 images of 1x32x32 of digits" in said
    assert "stage1: encoder GAMIXEncoder" in said and "stage2: 40 steps of 16" in said and "lr 0.002 cosine; about" in said
    assert "with gradients and Adam's moments about" in said and "in all about" in said


def test_a_files_argument_that_nothing_reads_gives_way_to_the_command_line_and_is_refused_by_itself(tmp_path, capsys):
    def asked(config: dict, *words: str) -> int:
        (tmp_path / "c.json").write_text(json.dumps(config))
        return main(["train", "vae", "--config", str(tmp_path / "c.json"), *FAST, "--steps", "2", "--dry-run", "--out",
                     str(tmp_path / "none"), *words])

    gamma = {"model": {"gamma": 0.5}}
    assert asked(gamma) == 0
    assert asked(gamma, "--likelihood", "bernoulli") == 0
    both = {"model": {"gamma": 0.5, "likelihood": "bernoulli"}}
    assert asked(both) == 2
    assert "gamma is 0.5, which --likelihood bernoulli has not" in capsys.readouterr().err
    assert asked({"format": 1, "kind": "vae", **both}) == 0  # a run's, of an earlier version
