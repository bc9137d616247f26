"""VAE and WAE as users meet them: the same words for every kind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import vaefast
from vaefast.errors import ArgumentError, CheckpointError

KINDS = {
    "vae": (vaefast.VAE, {}),
    "vae-bernoulli": (vaefast.VAE, {"likelihood": "bernoulli"}),
    "vae-flow": (vaefast.VAE, {"flow": "planar", "flow_depth": 3, "gamma": "optimal"}),
    "vae-iaf": (vaefast.VAE, {"flow": "iaf", "flow_depth": 2}),
    "wae-mmd": (vaefast.WAE, {"penalty": "mmd", "prior_std": 2.0}),
    "wae-gan": (vaefast.WAE, {"penalty": "gan", "adversary_width": 16}),
    "wae-pretrained": (vaefast.WAE, {"pretrain": True, "posterior": "gaussian"}),
    "two-stage": (vaefast.TwoStageVAE, {"second_width": 16}),
}
X = torch.rand(72, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def make(kind: str):
    model, options = KINDS[kind]
    torch.manual_seed(3)
    return model((1, 8, 8), 4, **options)


def fit(model, **options):
    usual = {"steps": 6, "batch_size": 16, "lr": 1e-3, "device": "cpu", "progress": False, "log_every": 2}
    return model.fit(X, **{**usual, **options})


@pytest.mark.parametrize("kind", KINDS)
def test_train_use_save_load_and_resume(kind, tmp_path, stop_at):
    whole = make(kind)
    history = fit(whole, out=tmp_path / "whole")
    assert history.last("stage1")["step"] == 6
    assert all(p.isfinite().all() for p in whole.parameters())
    assert whole.image_shape == (1, 8, 8) and whole.latent_dim == 4 and whole.device.type == "cpu"

    with torch.no_grad():
        z = whole.encode(X[:5]).sample()
        for images in (whole.sample(5), whole.decode(z), whole.reconstruct(X[:5])):
            assert images.shape == (5, 1, 8, 8) and images.min() >= 0 and images.max() <= 1

    loaded = vaefast.load(tmp_path / "whole")
    assert type(loaded) is type(whole) and loaded.config() == whole.config() and not loaded.training
    g = [torch.Generator().manual_seed(5) for _ in range(2)]
    with torch.no_grad():
        assert torch.equal(loaded.sample(7, generator=g[0]), whole.sample(7, generator=g[1]))

    with pytest.raises(KeyboardInterrupt):
        fit(make(kind), out=tmp_path / "cut", callbacks=[stop_at(3)])
    resumed = make(kind)
    fit(resumed, out=tmp_path / "cut", resume=True)
    state = resumed.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in whole.state_dict().items())


@pytest.mark.parametrize("kind", ["vae-flow", "wae-gan"])
def test_calls_use_eval_mode_and_change_nothing(kind):
    model = make(kind)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    model.train()
    with torch.no_grad():
        together = model.encode(X[:6]).mean
        alone = torch.cat([model.encode(row[None]).mean for row in X[:6]])
        model.sample(3), model.reconstruct(X[:3])
    torch.testing.assert_close(together, alone)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items()) and model.first.training


def test_a_model_is_a_module_for_any_loop():
    model = make("vae").train()
    terms = model(X[:16])
    terms["loss"].backward()
    assert set(terms) >= {"loss", "reconstruction", "kl"}
    assert all(p.grad is not None for p in model.parameters())


def test_the_adversary_has_settings_of_its_own():
    model = make("wae-gan")
    assert model.defaults[0].players["adversary"].lr == pytest.approx(5e-5)
    record = fit(model, lr=4e-3, schedule="constant").last("stage1")
    assert record["autoencoder/lr"] == 4e-3 and record["adversary/lr"] == pytest.approx(2e-3)
    assert make("wae-mmd").defaults[0].players == {}


def test_pretraining_matches_the_prior(tmp_path):
    def moments(model):
        model.first.train()  # batch statistics, as in pretraining: the moving ones have seen few batches
        with torch.no_grad():
            z = model.first.encode(X).mean
        return z.mean(0).square().mean() + (z.T.cov() - torch.eye(4)).square().mean()

    plain, pretrained = (vaefast.WAE((1, 8, 8), 4, pretrain=p) for p in (False, True))
    fit(plain, steps=1, lr=1e-9), fit(pretrained, steps=1, lr=1e-9)
    assert moments(pretrained) < 0.5 * moments(plain)


def test_own_networks(tmp_path):
    def own():
        return {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
                "decoder": nn.Sequential(nn.Linear(4, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))}

    model = vaefast.WAE((1, 8, 8), 4, **own())
    fit(model)
    assert model.config()["nets"] == "custom"
    model.save(tmp_path / "m")
    with pytest.raises(CheckpointError, match="pass encoder= and decoder="):
        vaefast.load(tmp_path / "m")
    assert torch.equal(vaefast.load(tmp_path / "m", **own()).encode(X[:2]).mean, model.encode(X[:2]).mean)


@pytest.mark.parametrize("model, arguments, message", [
    (vaefast.VAE, {"flow": "glow"}, "flow is 'glow'"), (vaefast.VAE, {"flow_depth": 0}, "flow_depth"),
    (vaefast.VAE, {"nets": "vgg"}, "nets is"), (vaefast.VAE, {"beta": -1.0}, "beta"),
    (vaefast.VAE, {"encoder": nn.Identity()}, "go together"), (vaefast.WAE, {"penalty": "hinge"}, "penalty"),
    (vaefast.WAE, {"lambda_": -1.0}, "lambda_"), (vaefast.WAE, {"adversary_width": 0}, "adversary_width"),
    (vaefast.WAE, {"pretrain": 200}, "pretrain"), (vaefast.WAE, {"latent_dim": 0}, "latent_dim")])
def test_arguments_that_cannot_work_are_refused(model, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        model(**{"image_shape": (1, 8, 8), "latent_dim": 4, **arguments})


def test_settings_are_given_once():
    settings = vaefast.StageSettings(steps=1, batch_size=8)
    model = make("vae")
    with pytest.raises(ArgumentError, match="settings and lr"):
        model.fit(X, settings=settings, lr=1e-3)
    with pytest.raises(ArgumentError, match="holds 2 StageSettings; expected 1"):
        model.fit(X, settings=[settings, settings])
    with pytest.raises(ArgumentError, match="image_shape"):
        model.fit(torch.rand(4, 1, 12, 12))
    assert model.fit(X, settings=settings, device="cpu", progress=False).last("stage1")["step"] == 1


def test_a_vae_is_the_two_stage_models_first_stage():
    alone, both = make("vae"), make("two-stage")
    fit(alone), fit(both, steps=(6, 1))
    state = both.first.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in alone.first.state_dict().items())
