"""`vaefast.GAMIXVAE`, and the adversary of the other models, as users meet them."""

from __future__ import annotations

import signal

import pytest
import torch

import vaefast
from vaefast.errors import ArgumentError, CheckpointError
from vaefast.experiments.presets import preset
from vaefast.experiments.run import build
from vaefast.nets import PatchGAN
from vaefast.training import StageSettings

SHAPE = (3, 8, 8)


def images(n: int = 24) -> torch.Tensor:
    return torch.randint(0, 256, (n, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def small(**options) -> vaefast.GAMIXVAE:
    sizes = {"second_width": 8, "second_depth": 1} if options.get("second_stage") else {}
    return vaefast.GAMIXVAE(SHAPE, 4, **{"width": 8, **sizes, **options})


def test_trainable_parameters_at_256_pixels():
    with torch.device("meta"):
        model = vaefast.GAMIXVAE((3, 256, 256))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 9_908_140 + 1_049_600 + 411_075


@pytest.mark.parametrize("options", [{}, {"norm": "affine", "var": "mixture", "memory": 2, "checkpoint": True},
                                     {"adversary": None, "nets": "infogan", "individual_weight": 20.0, "width": 128}])
def test_fit_sample_save_load(tmp_path, options):
    model = small(**options)
    model.fit(images(), steps=3, batch_size=8, out=tmp_path / "run", progress=False, precision="fp32")
    assert model.sample(5).shape == (5, *SHAPE) and model.sample(5).min() >= 0 and model.sample(5).max() <= 1
    x = images(4)
    assert model.reconstruct(x).shape == x.shape and model.encode(x).std.shape == (4, 4)
    again = vaefast.load(tmp_path / "run")
    assert again.config() == model.config()
    assert torch.equal(again.encode(x).mean, model.encode(x).mean)
    for a, b in zip(model.state_dict().values(), again.state_dict().values()):
        assert torch.equal(a, b)


def test_a_second_stage_is_one_switch(tmp_path):
    model = small(second_stage=True)
    settings = [StageSettings(steps=2, batch_size=8, flip=True), StageSettings(steps=3, batch_size=8)]
    history = model.fit(images(), settings=settings, out=tmp_path / "run", progress=False)
    assert history.last("stage2")["step"] == 3
    again = vaefast.load(tmp_path / "run")
    assert again.sample(3).shape == again.sample(3, stage=1).shape == (3, *SHAPE)
    assert again.recode(again.sample_codes(2)).shape == (2, 4)
    with pytest.raises(ArgumentError, match="stage is 2; expected 1"):
        small().sample(2, stage=2)
    with pytest.raises(ArgumentError, match="flip is set for stage2"):
        model.fit(images(), settings=[settings[0], settings[0]], progress=False)


def test_a_run_is_continued_bit_by_bit(tmp_path):
    whole, cut = (small(memory=2) for _ in range(2))
    cut.load_state_dict(whole.state_dict())
    again = small(memory=2)
    again.load_state_dict(whole.state_dict())
    options = {"steps": 6, "batch_size": 8, "progress": False, "checkpoint_seconds": 0.0, "log_every": 1}

    class Stopping(vaefast.training.Callback):
        def step(self, trainer) -> None:
            if trainer.done == 3:
                signal.raise_signal(signal.SIGINT)

    whole.fit(images(), **options, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        cut.fit(images(), **options, out=tmp_path / "cut", callbacks=[Stopping()])
    again.fit(images(), **options, out=tmp_path / "cut", resume=True)
    for a, b in zip(whole.state_dict().values(), again.state_dict().values()):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", [vaefast.VAE, vaefast.TwoStageVAE, vaefast.BigGANVAE])
def test_other_models_take_a_patchgan(kind, tmp_path):
    own = {vaefast.TwoStageVAE: {"second_width": 8, "second_depth": 1}, vaefast.BigGANVAE: {"ch": 4}}.get(kind, {})
    model = kind(SHAPE, latent_dim=4, adversary="patchgan", adversarial_weight=5.0, **own)
    history = model.fit(images(), steps=2, batch_size=8, progress=False, out=tmp_path / "run")
    assert {"autoencoder/adversarial", "discriminator/accuracy"} <= set(history.last("stage1"))
    again = vaefast.load(tmp_path / "run")  # in another memory order, perhaps
    torch.testing.assert_close(again.decode(torch.zeros(1, 4)), model.decode(torch.zeros(1, 4)))
    with pytest.raises(ArgumentError, match="adversary is 'stylegan'"):
        kind(SHAPE, latent_dim=4, adversary="stylegan", **own)


def test_an_adversary_of_ones_own(tmp_path):
    model = vaefast.VAE(SHAPE, 4, adversary=PatchGAN(3, width=4))
    model.save(tmp_path)
    with pytest.raises(CheckpointError, match="pass adversary="):
        vaefast.load(tmp_path)
    again = vaefast.load(tmp_path, adversary=PatchGAN(3, width=4))
    assert torch.equal(again.first.adversary.discriminator.convs[0].weight, model.first.adversary.discriminator.convs[0].weight)
    vaefast.VAE(SHAPE, 4).save(tmp_path / "plain")
    with pytest.raises(CheckpointError, match="load it without adversary="):
        vaefast.load(tmp_path / "plain", adversary=PatchGAN(3))


def test_convolutions_in_nhwc_on_a_cpu_where_torch_bears_it():
    assert vaefast.GAMIXVAE((3, 32, 32), 8, width=16).channels_last_on_cpu
    assert not vaefast.GAMIXVAE((3, 32, 32), 8, width=8).channels_last_on_cpu
    assert not vaefast.GAMIXVAE((1, 28, 28), 8, nets="infogan").channels_last_on_cpu


def test_networks_of_ones_own(tmp_path):
    named = small()
    own = {"encoder": named.first.encoder, "decoder": named.first.decoder}
    model = small(**own)
    model.fit(images(), steps=1, batch_size=8, progress=False, precision="fp32")
    model.save(tmp_path / "model")
    assert model.config()["nets"] == "custom" and vaefast.load(tmp_path / "model", **own).sample(2).shape == (2, *SHAPE)
    with pytest.raises(ArgumentError, match="input_norm is False"):
        small(**own, input_norm=False)


def test_bad_settings_are_refused():
    for options, message in (({"second_stage": 1}, "second_stage is 1"), ({"input_norm": 1}, "input_norm is 1"),
                             ({"norm": "layer"}, "norm is 'layer'"),
                             ({"nets": "infogan", "checkpoint": True}, "checkpoint is True"),
                             ({"nets": "infogan", "input_norm": False}, "input_norm is False"), ({"var": "x"}, "var is 'x'")):
        with pytest.raises(ArgumentError, match=message):
            small(**options)


@pytest.mark.parametrize("kind", ["gamix", "gamix-two-stage"])
@pytest.mark.parametrize("name", ["paper", "quick"])
def test_presets(kind, name):
    chosen = preset(kind, name)
    with torch.device("meta"):
        model = build(kind, chosen, (3, 32, 32), {"norm": "group"})
    assert model.kind == "gamix" and len(chosen.stages) == len(model.defaults) == (2 if "two" in kind else 1)
    assert chosen.stages[0].betas == (0.5, 0.999) and chosen.stages[0].eps == 1e-7


def test_images_of_a_linear_decoder_are_clipped():
    for model in (small(), vaefast.VAE(SHAPE, 4, nets="gamix"), vaefast.WAE(SHAPE, 4, nets="gamix")):
        images = model.decode(50 * torch.randn(4, 4))
        assert images.min() == 0 and images.max() == 1
