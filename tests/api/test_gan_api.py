"""`vaefast.GAN`: the authors' settings, fit, resume, save and load, own networks."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import vaefast
from vaefast.api.gan import AUTHORS
from vaefast.errors import ArgumentError, CheckpointError, RunFolderError
from vaefast.nets import BatchNorm, BEGANDiscriminator
from vaefast.training import StageSettings

X = torch.randint(0, 256, (64, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
FAST = {"steps": 6, "batch_size": 16, "device": "cpu", "progress": False, "log_every": 2}


def make(loss: str = "ns", **options) -> vaefast.GAN:
    torch.manual_seed(0)
    return vaefast.GAN((1, 4, 4), loss, 4, **options)


@pytest.mark.parametrize(("loss", "lr", "beta1", "disc_iters", "norm", "clip", "penalty"), [
    ("mm", 5e-5, 0.0, 1, True, None, "none"), ("ns", 5e-5, 0.0, 1, True, None, "none"),
    ("lsgan", 2e-4, 0.5, 1, True, None, "none"),
    ("wgan", 5e-5, 0.5, 5, True, 0.01, "none"), ("wgan-gp", 1e-4, 0.5, 5, False, None, "gp"),
    ("dragan", 1e-4, 0.5, 1, True, None, "dragan"), ("began", 1e-4, 0.5, 5, False, None, "none")])
def test_each_loss_brings_its_authors_settings(loss, lr, beta1, disc_iters, norm, clip, penalty):
    model = make(loss)
    settings = model.defaults[0]
    assert (settings.steps, settings.batch_size) == (15_625, 64)
    for player in ("discriminator", "generator"):
        own = settings.of(player)
        assert (own.lr, own.betas, own.eps, own.schedule) == (lr, (beta1, 0.999), 1e-8, "constant")
        assert own.weight_clip == (clip if player == "discriminator" else None)
    assert model.first.disc_iters == disc_iters and model.first.penalty == penalty
    assert any(isinstance(m, BatchNorm) for m in model.first.discriminator.modules()) == norm
    assert isinstance(model.first.discriminator, BEGANDiscriminator) == (loss == "began")
    assert float(model.first.lambda_) == 10 and (model.first.began_lambda, model.first.began_gamma) == (1e-3, 0.75)
    assert set(AUTHORS) >= {loss}


@pytest.mark.parametrize("options", [{"loss": "wgan"}, {"loss": "ns", "weight_clip": 0.02}])
def test_the_clip_is_the_models_whatever_the_settings(options):
    model = make(**options)
    given = StageSettings(steps=2, batch_size=16, lr=1e-2, schedule="constant")
    model.fit(X, settings=given, device="cpu", progress=False)
    clip = options.get("weight_clip", 0.01)
    assert max(float(p.detach().abs().max()) for p in model.first.discriminator.parameters()) <= clip * (1 + 1e-6)
    assert max(float(p.detach().abs().max()) for p in model.first.generator.parameters()) > clip


@pytest.mark.parametrize("loss", ["ns", "wgan-gp", "began"])
def test_train_use_save_load_and_resume(loss, tmp_path, stop_at):
    whole = make(loss)
    history = whole.fit(X, out=tmp_path / "whole", **FAST)
    assert history.last("stage1")["step"] == 6 and "generator/diversity" in history.records[0]
    assert whole.image_shape == (1, 4, 4) and whole.latent_dim == 4
    images = whole.train().sample(5)
    assert images.shape == (5, 1, 4, 4) and 0 <= images.min() and images.max() <= 1 and whole.training
    z = whole.sample_codes(2)
    torch.testing.assert_close(whole.decode(z), torch.cat([whole.decode(z[:1]), whole.decode(z[1:])]))  # moving statistics

    loaded = vaefast.load(tmp_path / "whole")
    assert type(loaded) is vaefast.GAN and loaded.config() == whole.config() and not loaded.training
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), whole.state_dict().values()))
    if loss == "began":
        assert loaded.first.k_t != 0

    with pytest.raises(KeyboardInterrupt):
        make(loss).fit(X, out=tmp_path / "cut", callbacks=[stop_at(3)], **FAST)
    again = make(loss)
    again.fit(X, out=tmp_path / "cut", resume=True, **FAST)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), whole.state_dict().values()))


def test_own_networks(tmp_path):
    def own() -> dict[str, nn.Module]:
        return {"generator": nn.Sequential(nn.Linear(4, 16), nn.Unflatten(1, (1, 4, 4)), nn.Sigmoid()),
                "discriminator": nn.Sequential(nn.Flatten(), nn.Linear(16, 1))}

    torch.manual_seed(0)
    model = vaefast.GAN((1, 4, 4), "hinge", 4, **own(), penalty="r1")
    model.fit(X, **FAST)
    model.save(tmp_path / "m")
    with pytest.raises(CheckpointError, match="pass generator= and discriminator=, or networks="):
        vaefast.load(tmp_path / "m")
    z = model.sample_codes(3)
    torch.testing.assert_close(vaefast.load(tmp_path / "m", **own()).decode(z), model.decode(z))
    make().save(tmp_path / "plain")
    with pytest.raises(CheckpointError, match="load it without generator= and discriminator="):
        vaefast.load(tmp_path / "plain", **own())


def test_scores_as_training_goes_and_the_best_is_kept(tmp_path):
    scores = iter([5.0, 1.0, 3.0, 4.0])
    model = make()
    seen = []

    def score(stage: str) -> dict[str, float]:
        seen.append((stage, model.training))
        return {"score": next(scores)}

    history = model.fit(X, out=tmp_path / "run", evaluate=score, evaluate_every=0.5, best="score", **{**FAST, "steps": 8})
    assert seen == [("stage1", False)] * 4
    assert [r.get("score") for r in history.records] == [5.0, 1.0, 3.0, 4.0]
    best = json.loads((tmp_path / "run" / "checkpoints" / "best-stage1.json").read_text())
    assert best["step"] == 4


def test_what_cannot_work_is_refused():
    with pytest.raises(ArgumentError, match="loss is 'gan'; expected one of mm, ns"):
        make("gan")
    with pytest.raises(ArgumentError, match="go together"):
        make(generator=nn.Linear(4, 64))
    with pytest.raises(ArgumentError, match="nets is 'wae'"):
        make(nets="wae")
    with pytest.raises(ArgumentError, match="yours is as you built it"):
        make(generator=nn.Linear(4, 64), discriminator=nn.Linear(64, 1), spectral_norm=True)
    with pytest.raises(ArgumentError, match="spectral_norm is True"):
        make("began", spectral_norm=True)
    with pytest.raises(ArgumentError, match="weight_clip"):
        make("wgan", weight_clip=-1.0)
    with pytest.raises(ArgumentError, match="the images have shape"):
        make().fit(X[:, :, :2, :2], **FAST)


def test_a_run_from_before_an_argument_was_added_goes_on(tmp_path):
    make("began").fit(X, out=tmp_path / "run", **FAST)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    del config["model"]["began_clip"], config["stages"][0]["flip"], config["stages"][0]["ema"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    make("began").fit(X, out=tmp_path / "run", resume=True, **FAST)
    with pytest.raises(RunFolderError, match=r"other settings \(began_clip was False, is now True\)"):
        make("began", began_clip=True).fit(X, out=tmp_path / "run", resume=True, **FAST)
    with pytest.raises(RunFolderError, match=r"other settings \(.*ema was None, is now 0.9"):
        make("began").fit(X, out=tmp_path / "run", resume=True, **FAST, ema=0.9)


def test_a_run_from_before_a_players_setting_was_added_goes_on(tmp_path):
    make("wgan").fit(X, out=tmp_path / "run", **FAST)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    del config["stages"][0]["players"]["discriminator"]["plateau_factor"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    make("wgan").fit(X, out=tmp_path / "run", resume=True, **FAST)
