"""What a model was built with is read off its signature: nothing is left out, and it builds the same model again."""

from __future__ import annotations

import copy
import inspect
import json

import numpy as np
import pytest
import torch
from torch import nn

import vaefast
from vaefast import api

SHAPE = (1, 8, 8)
BUILT = {
    "two-stage": lambda: api.TwoStageVAE(SHAPE, 4, second_width=8, adversary="patchgan"),
    "vae": lambda: api.VAE(np.array(SHAPE), 4, nets="gamix", net_options={"width": 8}, flow="iaf", beta=np.float32(2)),
    "wae": lambda: api.WAE(torch.Size(SHAPE), latent_dim=4, penalty="gan", adversary_width=8, image_range=(-1, 1)),
    "general": lambda: api.GeneralVAE(SHAPE, 4, nets="pixelcnn", decoder_options={"layers": 2, "width": 8}),
    "gamix": lambda: api.GAMIXVAE(SHAPE, 4, width=8, second_stage=True, second_width=8),
    "gan": lambda: api.GAN(SHAPE, "wgan", 4, image_range=(-1, 1)),
    "biggan": lambda: api.BigGAN(SHAPE, "normal", 4, 4, classes=3), "biggan-vae": lambda: api.BigGANVAE(SHAPE, "normal", 4, 4),
    "second-stage": lambda: api.SecondStage(4, width=8), "sequential": lambda: api.SequentialVAE(SHAPE, 2, width=1 / 32),
    "table": lambda: api.TableVAE.of({"a": [0.5, 1.5], "w": ["x", "y"]}, latent_dim=2, width=8, second="vae", second_width=8)}


def own(k: int = 4) -> dict[str, nn.Module]:
    return {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(64, 2 * k)),
            "decoder": nn.Sequential(nn.Linear(k, 64), nn.Unflatten(1, SHAPE), nn.Sigmoid())}


@pytest.mark.parametrize("kind", api.MODELS)
def test_a_config_holds_every_argument_and_builds_the_same_model(kind):
    torch.manual_seed(0)
    model = BUILT[kind]()
    config = json.loads(json.dumps(model.config()))
    taken = set(inspect.signature(type(model)).parameters)
    assert set(config) == taken - set(model.networks)
    torch.manual_seed(0)
    again = type(model)(**config)
    assert again.config() == model.config() and again.defaults == model.defaults
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_what_a_model_settles_and_what_is_the_users_own():
    assert api.BigGAN(SHAPE, "normal", latent_dim=4).config()["ch"] == 96 and api.SequentialVAE(
        SHAPE, variant="single", width=1 / 32).config()["steps"] == 1
    assert api.GAMIXVAE(SHAPE, 4, width=8, adversarial_weight=0).config()["adversary"] is None
    judge = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    config = api.VAE(SHAPE, 4, **own(), adversary=judge, net_options={}).config()
    assert (config["nets"], config["adversary"], config["net_options"]) == ("custom", "custom", None) and "encoder" not in config
    assert api.GAN(SHAPE, latent_dim=4, generator=own()["decoder"], discriminator=judge).config()["nets"] == "custom"
    assert api.GeneralVAE(SHAPE, 4, regularizer=lambda mu, scale, z: mu.sum(1)).config()["regularizer"] == "custom"


class Narrow(api.VAE):
    """A subclass of a user's, with arguments of its own."""

    def __init__(self, side: int) -> None:
        super().__init__((1, side, side), 2, beta=0.5)


def test_a_users_subclass_is_saved_as_what_it_is_of(tmp_path):
    model = copy.deepcopy(Narrow(8))
    assert model.config()["image_shape"] == [1, 8, 8] and model.config()["beta"] == 0.5
    model.save(tmp_path / "model")
    again = vaefast.load(tmp_path / "model")
    assert type(again) is api.VAE and torch.equal(again.decode(torch.ones(1, 2)), model.eval().decode(torch.ones(1, 2)))
