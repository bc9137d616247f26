"""`vaefast.TwoStageVAE(..., joint=True)`: training, resumption, files, the command line."""

from __future__ import annotations

import json

import pytest
import torch

import vaefast
from vaefast.cli import main
from vaefast.errors import ArgumentError
from vaefast.experiments.presets import preset


def small(**options) -> vaefast.TwoStageVAE:
    torch.manual_seed(0)
    width = {} if options.get("second") == "mixture" else {"second_width": 16}
    return vaefast.TwoStageVAE((1, 8, 8), 4, joint=True, **width, **options)


def images() -> torch.Tensor:
    return torch.randint(0, 256, (48, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def fit(model: vaefast.TwoStageVAE, **options):
    return model.fit(images(), epochs=3, batch_size=8, lr=1e-3, device="cpu", precision="fp32", progress=False, **options)


def test_one_stage_trains_both_and_a_run_that_was_cut_off_goes_on_with_the_same_bits(tmp_path, stop_at):
    whole, cut = small(), small()
    before = {name: p.clone() for name, p in whole.named_parameters()}
    history = fit(whole, out=tmp_path / "whole")
    assert {r["stage"] for r in history.records} == {"joint"} and history.last("joint")["step"] == 18
    assert {"reconstruction", "kl", "kl_u", "gamma", "gamma_z"} <= history.last("joint").keys()
    assert all(not torch.equal(before[name], p) for name, p in whole.named_parameters())
    with pytest.raises(KeyboardInterrupt):
        fit(cut, out=tmp_path / "cut", callbacks=[stop_at(7)])
    assert not torch.equal(cut.second.log_gamma, whole.second.log_gamma)
    fit(again := small(), out=tmp_path / "cut", resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))
    loaded = vaefast.load(tmp_path / "whole")
    assert loaded.joint and loaded.config()["joint"] and not loaded.training
    draws = [m.sample(5, torch.Generator().manual_seed(1)) for m in (whole, loaded)]
    assert torch.equal(*draws) and list(loaded.samplers("joint")) == ["prior", "second"]
    assert loaded(images())["loss"].ndim == 0 and loaded.score(images()) < 0


def test_held_out_data_and_data_that_are_no_images():
    history = fit(small(), validation=0.25)
    assert "validation/loss" in history.last("joint")
    vectors = vaefast.TwoStageVAE(data_shape=(5,), latent_dim=2, second_width=8, joint=True)
    vectors.fit(100 * torch.randn(64, 5), steps=4, batch_size=16, device="cpu", progress=False)
    assert vectors.sample(3).shape == (3, 5) and 50 < vectors.first.standardiser.std.mean() < 200


@pytest.mark.parametrize(("options", "says"), [
    ({"second": "mixture"}, "kind Mixture has no part in; choose second='vae'"), ({"second": "flow"}, "kind FlowMatching"),
    ({"adversary": "patchgan"}, "the first stage has an adversary; leave that out"),
    ({"second": "flow", "classes": 3, "conditioned": "both"}, "joint trains both stages")])
def test_what_cannot_be_trained_together_is_told_at_the_door(options, says):
    with pytest.raises(ArgumentError, match=says):
        small(**options)


@pytest.mark.parametrize("name", ["paper", "short", "quick"])
def test_presets_train_it_as_long_as_the_first_stage(name):
    chosen = preset("two-stage", name)
    assert chosen.stages_of(small()) == chosen.stages[:1]


def test_from_the_command_line(tmp_path, capsys):
    words = ["train", "two-stage", "--data", "digits", "--latent-dim", "4", "--steps", "3", "--batch-size", "16", "--joint",
             "--out", str(tmp_path / "run")]
    assert main(words) == 2 and "joint trains both stages by one ELBO" in capsys.readouterr().err
    assert main([*words, "--second", "vae", "--second-width", "8"]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"]["joint"] and len(config["stages"]) == 1
    assert (tmp_path / "run" / "report.html").is_file() and (tmp_path / "run" / "samples_stage2.png").is_file()
