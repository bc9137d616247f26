"""The public model: arguments, own networks, save and load."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import vaefast
from vaefast.errors import ArgumentError, CheckpointError, RunFolderError


def small(**options) -> vaefast.TwoStageVAE:
    return vaefast.TwoStageVAE((1, 8, 8), 4, second_width=16, **options)


def own() -> dict[str, nn.Module]:
    return {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(30, 8)),
            "decoder": nn.Sequential(nn.Linear(4, 30), nn.Sigmoid(), nn.Unflatten(1, (1, 5, 6)))}


def test_the_papers_defaults():
    model = vaefast.TwoStageVAE((1, 28, 28))
    assert sum(p.numel() for p in model.first.parameters()) == 13_331_586
    assert sum(p.numel() for p in model.second.parameters()) == 2_305_152 + 2_235_457
    assert model.config()["latent_dim"] == 64 and model.config()["gamma"] == "learned"


@pytest.mark.parametrize("arguments", [
    {"latent_dim": 0}, {"latent_dim": -3}, {"latent_dim": 2.5}, {"latent_dim": True}, {"nets": "resnet-900"},
    {"encoder": nn.Identity()}, {"image_shape": (8, 8)}, {"image_shape": (8, 8), **own()},
    {"second_width": 0}, {"gamma": "maybe"}])
def test_arguments_that_cannot_work_are_refused(arguments):
    with pytest.raises(ArgumentError):
        vaefast.TwoStageVAE(**{"image_shape": (1, 8, 8), "latent_dim": 4, **arguments})


def test_save_and_load(tmp_path):
    model = small(gamma=0.25)
    model.save(tmp_path / "m")
    loaded = vaefast.load(tmp_path / "m")
    assert loaded.config() == model.config() and not loaded.training
    g = torch.Generator().manual_seed(1)
    a = model.sample(5, generator=g)
    g.manual_seed(1)
    assert torch.equal(a, loaded.sample(5, generator=g))
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["model.json", "model.safetensors"]
    with pytest.raises(CheckpointError, match="not built with networks of your own"):
        vaefast.load(tmp_path / "m", **own())


def test_save_does_not_overwrite_unless_asked(tmp_path):
    small().save(tmp_path / "m")
    before = (tmp_path / "m" / "model.json").read_bytes()
    with pytest.raises(RunFolderError, match="already holds a model"):
        small().save(tmp_path / "m")
    assert (tmp_path / "m" / "model.json").read_bytes() == before
    small().save(tmp_path / "m", overwrite=True)


def test_own_networks(tmp_path):
    model = vaefast.TwoStageVAE((1, 5, 6), 4, **own(), second_width=8)
    history = model.fit(torch.rand(32, 1, 5, 6), epochs=(2, 3), batch_size=8, device="cpu", progress=False)
    assert history.last("stage2")["step"] == 12
    assert model.sample(3).shape == (3, 1, 5, 6)
    model.save(tmp_path / "m")
    with pytest.raises(CheckpointError, match="pass encoder= and decoder="):
        vaefast.load(tmp_path / "m")
    again = vaefast.load(tmp_path / "m", **own())
    x = torch.rand(2, 1, 5, 6)
    assert torch.equal(again.encode(x).mean, model.encode(x).mean)


def test_loading_what_is_not_a_model(tmp_path):
    with pytest.raises(CheckpointError, match="holds no model"):
        vaefast.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has not finished"):
        vaefast.load(tmp_path)
    small().save(tmp_path / "m")
    meta = json.loads((tmp_path / "m" / "model.json").read_text())
    for change, message in (({"kind": "none"}, "kind 'none'"), ({"format": 99}, "format 99"),
                            ({"config": {**meta["config"], "latent_dim": 5}}, "belongs to another model: .* has shape")):
        (tmp_path / "m" / "model.json").write_text(json.dumps({**meta, **change}))
        with pytest.raises(CheckpointError, match=message):
            vaefast.load(tmp_path / "m")
    (tmp_path / "m" / "model.json").write_text(json.dumps(meta))
    tensors = tmp_path / "m" / "model.safetensors"
    whole = tensors.read_bytes()
    tensors.write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match="checksum"):
        vaefast.load(tmp_path / "m")
    tensors.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        vaefast.load(tmp_path / "m")
    (tmp_path / "m" / "model.json").write_text("{ not json")
    with pytest.raises(CheckpointError, match="damaged"):
        vaefast.load(tmp_path / "m")


@pytest.mark.slow
def test_precisions_agree_on_the_course_of_training():
    x = torch.rand(64, 1, 8, 8)
    losses = {}
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        model = small()
        history = model.fit(x, steps=50, batch_size=16, lr=1e-3, device="cpu", precision=precision, progress=False)
        losses[precision] = history.last("stage1")["loss"]
        assert model.first.log_gamma.dtype == torch.float32
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


def test_options_of_the_named_networks(tmp_path):
    model = vaefast.TwoStageVAE((3, 16, 16), 4, nets="gamix", net_options={"width": 4, "norm": "group"}, second_width=8)
    assert model.first.encoder.mean.in_features == 2 * 16
    model.save(tmp_path / "model")
    again = vaefast.load(tmp_path / "model")
    assert torch.equal(again.first.encoder.mean.weight, model.first.encoder.mean.weight)
    assert vaefast.VAE((3, 16, 16), 4, nets="gamix", net_options={"width": 4}).first.encoder.mean.in_features == 2 * 16
    assert vaefast.WAE((3, 16, 16), 4, nets="wae-stride2", net_options={"width": 4}).first.encoder.mean.in_features == 8 * 4
    general = vaefast.GeneralVAE((3, 16, 16), 4, family="gaussian", nets="gamix", net_options={"width": 4})
    assert general.first.encoder.mean.in_features == 2 * 16
    with pytest.raises(ArgumentError, match="net_options has 'width', which 'infogan' does not take"):
        vaefast.VAE((1, 28, 28), 4, net_options={"width": 4})
    with pytest.raises(ArgumentError, match="net_options go to the networks that nets names"):
        vaefast.VAE((3, 16, 16), 4, encoder=model.first.encoder, decoder=model.first.decoder, net_options={"width": 4})
