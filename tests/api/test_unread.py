"""An argument that is given and that nothing reads: refused at the door, left out of files that have it and of presets."""

import json

import pytest
import torch
from torch import nn

import vaefast
from vaefast.api.unread import RULES, without_unread
from vaefast.errors import ArgumentError
from vaefast.experiments.presets import PRESETS

IMAGE = {"image_shape": (1, 8, 8), "latent_dim": 2}
LINEAR = {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
          "decoder": nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))}


@pytest.mark.parametrize(("kind", "options", "says"), [
    ("GAMIXVAE", {"second": "flow"}, "second is 'flow', which is of a second stage, and there is none; give second_stage=True"),
    ("GAMIXVAE", {"classes": 3}, "classes is 3"),
    ("GAMIXVAE", {"second_gamma": 0.5}, "second_gamma is 0.5"),
    ("GAMIXVAE", {"second_width": 4}, "second_width is 4"),
    ("GAMIXVAE", {**LINEAR, "norm": "group"}, "norm is 'group', which the gamix networks alone have; leave it out"),
    ("GAMIXVAE", {"nets": "resnet", "norm": "affine"}, "norm is 'affine'"),
    ("GAMIXVAE", {"adversary": None, "adversarial_weight": 5.0}, "adversarial_weight is 5.0, and there is no adversary"),
    ("BigGANVAE", {"adversarial_weight": 2.0}, "adversarial_weight is 2.0"),
    ("VAE", {"adversarial_weight": "adaptive"}, "adversarial_weight is 'adaptive'"),
    ("TwoStageVAE", {"perceptual_weight": 2.0}, "perceptual_weight is 2.0, and perceptual is None; choose one"),
    ("VAE", {"flow_depth": 3}, "flow_depth is 3, and flow is None"),
    ("VAE", {"likelihood": "bernoulli", "gamma": "optimal"}, "gamma is 'optimal', which likelihood='bernoulli' has not"),
    ("TwoStageVAE", {"gamma": 0.5, "gamma_init": 0.1}, "gamma_init is 0.1, which a gamma that is a number has not"),
    ("GeneralVAE", {"gamma": 0.5}, "gamma is 0.5, which a Gaussian or Laplace family alone has; choose family="),
    ("GeneralVAE", {"family": "logistic-mixture", "gamma_init": 0.5}, "gamma_init is 0.5"),
    ("GeneralVAE", {"adversary_width": 8}, "adversary_width is 8, which is of an adversary on the codes, and there is none"),
    ("WAE", {"adversary_depth": 2}, "adversary_depth is 2"),
    ("WAE", {"penalty": "gan", "kernel": "rbf"}, "kernel is 'rbf', which penalty='gan' has not"),
    ("WAE", {"prior_trick": False}, "prior_trick is False, which penalty='mmd' has not"),
    ("GAMIXVAE", {"nets": "resnet", "adversary": None, "width": 9}, "width is 9, and there are neither gamix networks nor a"),
    ("VAE", {**LINEAR, "nets": "bogus"}, "nets is 'bogus', beside an encoder and a decoder of your own; leave it out"),
    ("VAE", {"likelihood": "squared", "gamma": 0.5}, "gamma is 0.5, which likelihood='squared' has not"),
    ("SequentialVAE", {"reveal": 0.5}, "reveal is 0.5, which inference='infusion' alone has"),
    ("BigGAN", {"embedding_dim": 7}, "embedding_dim is 7, and there are no classes; give classes, or leave it out"),
    ("GAN", {"lambda_": 3.0}, "lambda_ is 3.0, the weight of a gradient penalty, and loss='ns' has none by itself; choose a"),
    ("GAN", {"loss": "wgan-gp", "penalty": "none", "lambda_": 3.0}, "lambda_ is 3.0"),
    ("GAN", {"began_clip": True}, "began_clip is True, which loss='ns' has not"),
    ("SecondStage", {"kind": "flow", "gamma": 0.1}, "gamma is 0.1, which a second stage of kind 'flow' has not"),
    ("TableVAE", {"second": None, "second_width": 5}, "second_width is 5, which is of a second stage, and second is None")])
def test_what_nothing_reads_is_refused(kind, options, says):
    shape = {"SecondStage": {"latent_dim": 2}, "TableVAE": {}, "BigGANVAE": {"image_shape": (1, 32, 32), "ch": 2}}
    small = {"GAMIXVAE": {**IMAGE, "width": 4}, "GAN": {"image_shape": (1, 8, 8)},
             "BigGAN": {"image_shape": (1, 32, 32), "ch": 2}, "SequentialVAE": {"image_shape": (1, 16, 16), "width": 0.05}}
    with pytest.raises(ArgumentError, match=says):
        getattr(vaefast, kind)(**{**{**shape, **small}.get(kind, IMAGE), **options})


@pytest.mark.parametrize(("kind", "options"), [
    ("GAMIXVAE", {"width": 4, "adversarial_weight": 0}), ("GAMIXVAE", {"width": 4, "second_stage": True, "second": "flow"}),
    ("GAMIXVAE", {"width": 4, "norm": "group"}), ("VAE", {"gamma": "optimal", "gamma_init": 0.1}),
    ("GAMIXVAE", {"nets": "residual", "width": 4}), ("GeneralVAE", {"family": "laplace", "gamma": 0.5}),
    ("BigGAN", {"image_shape": (1, 32, 32), "ch": 2, "classes": 2, "embedding_dim": 7}),
    ("GeneralVAE", {"regularizer": "adversarial", "adversary_width": 8}), ("WAE", {"penalty": "gan", "prior_trick": False}),
    ("WAE", {"kernel": "rbf"}), ("GAN", {"loss": "dragan", "lambda_": 3.0}), ("GAN", {"penalty": "r1", "lambda_": 3.0}),
    ("GAN", {"loss": "began", "began_gamma": 0.5})])
def test_what_is_read_is_taken(kind, options):
    config = getattr(vaefast, kind)(**{**IMAGE, **options}).config()
    assert config.items() >= {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}.items()


def test_a_learning_rate_of_gamma_needs_one_that_is_learned():
    x = torch.rand(8, 1, 8, 8)
    once = {"steps": 1, "batch_size": 4, "progress": False}
    for kind, options in (("VAE", {"gamma": "optimal"}), ("VAE", {"likelihood": "bernoulli"}), ("WAE", {})):
        with pytest.raises(ArgumentError, match="gamma_lr_factor is 10.0, but no gamma"):
            getattr(vaefast, kind)(**IMAGE, **options).fit(x, gamma_lr_factor=10.0, **once)
    vaefast.VAE(**IMAGE).fit(x, gamma_lr_factor=10.0, **once)
    vaefast.TwoStageVAE(**IMAGE, gamma="optimal").fit(x, gamma_lr_factor=10.0, **once)  # of the second stage
    vaefast.WAE(**IMAGE).fit(x, gamma_lr_factor=1.0, **once)


def test_vectors_have_a_gaussian_family_and_so_gamma():
    assert float(vaefast.GeneralVAE(data_shape=(3,), latent_dim=2, gamma=0.5).first.gamma) == 0.5


@pytest.mark.parametrize(("model", "given"), [
    (lambda: vaefast.GAMIXVAE(**IMAGE, width=4), {"second": "flow", "classes": 3, "second_gamma": 0.5, "second_width": 4}),
    (lambda: vaefast.GAMIXVAE(**IMAGE, nets="residual"), {"norm": "group"}),
    (lambda: vaefast.VAE(**IMAGE, likelihood="bernoulli"), {"gamma": "optimal", "adversarial_weight": 3.0, "flow_depth": 3}),
    (lambda: vaefast.GAN((1, 8, 8)), {"lambda_": 3.0, "began_gamma": 0.5}),
    (lambda: vaefast.TableVAE(second=None), {"second_width": 512})])
def test_a_file_that_has_it_still_loads(tmp_path, model, given):
    made = model()
    if isinstance(made, vaefast.TableVAE):
        made.fit({"a": [0.0, 1.0] * 8}, steps=1, batch_size=4, progress=False)
    made.save(tmp_path / "model")
    meta = json.loads((tmp_path / "model" / "model.json").read_text())
    meta["config"] |= given
    (tmp_path / "model" / "model.json").write_text(json.dumps(meta))
    again = vaefast.load(tmp_path / "model")
    assert again.config() == made.config()
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), made.state_dict().values()))


def test_a_cross_entropy_that_counted_batches_of_a_closed_form_still_loads(tmp_path):
    made = vaefast.VAE(**IMAGE, likelihood="bernoulli")
    made.first.register_buffer("gamma_batches", torch.tensor(7))
    made.save(tmp_path / "model")
    meta = json.loads((tmp_path / "model" / "model.json").read_text())
    meta["config"]["gamma"] = "optimal"
    (tmp_path / "model" / "model.json").write_text(json.dumps(meta))
    again = vaefast.load(tmp_path / "model").state_dict()
    assert {**again, "first.gamma_batches": torch.tensor(7)}.keys() == made.state_dict().keys()
    with pytest.raises(RuntimeError, match="gamma_batches"):  # a learned gamma is another model
        vaefast.VAE(**IMAGE).load_state_dict(made.state_dict())


@pytest.mark.parametrize(("name", "overrides", "gone"), [
    ("vae", {"likelihood": "bernoulli"}, "gamma"), ("wae-gan", {"penalty": "mmd"}, "adversary_width"),
    ("gamix-two-stage", {"second_stage": False}, "second_width")])
def test_a_preset_gives_way(name, overrides, gone):
    preset = PRESETS[name]["quick"]
    assert gone in preset.model
    assert gone not in preset.arguments(overrides)
    assert preset.arguments(overrides).items() >= overrides.items()


@pytest.mark.parametrize("name", ["kind", "second", "loss", "penalty", "family", "likelihood", "nets", "regularizer"])
@pytest.mark.parametrize("value", [[], {}, [[]], 3, True])
def test_a_file_may_hold_anything(name, value):
    assert isinstance(without_unread({**{n: 0.5 for rule in RULES for n in rule.names}, name: value}), dict)
