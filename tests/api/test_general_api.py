"""`vaefast.GeneralVAE`: settings, saving, members."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import vaefast
from vaefast.errors import ArgumentError, CheckpointError

SHAPE = (1, 8, 8)


def images(n: int = 64, channels: int = 1) -> torch.Tensor:
    return torch.randint(0, 256, (n, channels, 8, 8), dtype=torch.uint8)


def fitted(validation=None, **options):
    model = vaefast.GeneralVAE(options.pop("shape", SHAPE), 3, **options)
    model.fit(images(channels=model.image_shape[0]), steps=2, batch_size=16, device="cpu", progress=False,
              validation=validation)
    return model


@pytest.mark.parametrize("options", [
    {"family": "logistic-mixture", "shape": (3, 8, 8)}, {"family": "categorical"}, {"family": "gaussian", "gamma": "optimal"},
    {"regularizer": "adversarial", "adversary_width": 8, "adversary_depth": 1, "posterior": "deterministic"},
    {"regularizer": "info", "alpha": 0.5, "lambda_": 3.0, "kernel": "rbf"}, {"regularizer": "center", "reduction": "mean"}])
def test_a_saved_model_is_the_same_model(options, tmp_path):
    shape = options.get("shape", SHAPE)
    model = fitted(**options).eval()
    model.save(tmp_path / "m")
    loaded = vaefast.load(tmp_path / "m")
    assert isinstance(loaded, vaefast.GeneralVAE) and loaded.config() == model.config()
    g = [torch.Generator().manual_seed(1) for _ in range(2)]
    a, b = model.sample(4, g[0]), loaded.sample(4, g[1])
    assert torch.equal(a, b) and a.shape == (4, *shape) and a.min() >= 0 and a.max() <= 1
    assert model.reconstruct(images(3, shape[0])).shape == (3, *shape)
    assert model.chain(2, 2).shape == (2, *shape)


def test_a_regulariser_of_ones_own_is_not_saved(tmp_path):
    model = fitted(regularizer=lambda mu, scale, z: mu.square().sum(1))
    model.save(tmp_path / "m")
    loaded = vaefast.load(tmp_path / "m")
    assert loaded.config()["regularizer"] == "custom" and loaded.sample(2).shape == (2, *SHAPE)
    with pytest.raises(ArgumentError, match="regularizer of your own"):
        loaded(images(4))
    with pytest.raises(ArgumentError, match="with parameters"):
        vaefast.GeneralVAE(SHAPE, 3, regularizer=nn.Bilinear(3, 3, 1))


def test_a_pixelcnn_draws_images_pixel_by_pixel(tmp_path):
    model = fitted(nets="pixelcnn", decoder_options={"layers": 2, "width": 4}, regularizer="none").eval()
    assert model.first.likelihood == "bernoulli" and model.first.autoregressive
    model.save(tmp_path / "m")
    loaded = vaefast.load(tmp_path / "m")
    g = [torch.Generator().manual_seed(1) for _ in range(6)]
    a = model.sample(4, g[0])
    assert torch.equal(a, loaded.sample(4, g[1])) and set(a.unique().tolist()) <= {0.0, 1.0}
    z = torch.randn(4, 3)
    assert torch.equal(model.decode(z, g[2]), model.decode(z, g[3]))
    assert torch.equal(model.chain(3, 2, generator=g[4]), loaded.chain(3, 2, generator=g[5]))
    colour = fitted(shape=(3, 8, 8), nets="pixelcnn++", decoder_options={"filters": 4, "blocks": 1})
    assert colour.first.likelihood == "logistic-mixture" and colour.chain(2, 1).shape == (2, 3, 8, 8)


def test_weight_normed_layers_begin_with_the_data(monkeypatch, tmp_path):
    """As Zhao et al.'s code of CIFAR-10: what each puts out has mean 0 and its deviation over the images that training begins
    with; not of a run that goes on, or begins with other weights."""
    from vaefast.api import general
    monkeypatch.setattr(general, "INITIAL_IMAGES", 64)
    x = (torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 200 + 50).to(torch.uint8)
    options = {"nets": "pixelcnn++", "decoder_options": {"filters": 4, "blocks": 1, "dropout": 0.0}}
    model = vaefast.GeneralVAE((3, 8, 8), 2, **options)
    model.fit(x, steps=1, lr=1e-12, device="cpu", progress=False)
    conv = model.first.encoder.convs[0]
    y = conv(x / 127.5 - 1)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(64), rtol=0, atol=1e-3)
    torch.testing.assert_close(y.std((0, 2, 3)), torch.ones(64), rtol=1e-2, atol=0)
    raw = model.first.decoder(model.first.encode(x).mean, x)
    torch.testing.assert_close(raw.std((0, 2, 3)), torch.ones(raw.shape[1]), rtol=0.1, atol=0)
    model.save(tmp_path / "m")
    again = vaefast.GeneralVAE((3, 8, 8), 2, **options)
    again.fit(255 - x, steps=1, lr=1e-12, device="cpu", progress=False, start_from=tmp_path / "m")
    torch.testing.assert_close(again.first.encoder.convs[0].bias, conv.bias)


def test_total_correlation_knows_the_size_of_the_data():
    assert fitted(regularizer="tc").first.regularizer.dataset_size == 64


def test_total_correlation_of_held_out_data_has_the_training_sets_size():
    x = torch.rand(64, *SHAPE)
    model = fitted(regularizer="tc", validation=0.25)
    assert model.first.regularizer.dataset_size == 48
    model.score(x[:8])
    assert model.first.regularizer.dataset_size == 48


def test_an_adversary_has_its_own_settings():
    model = fitted(regularizer="adversarial", adversary_width=8, adversary_depth=1)
    assert "adversary" in model.defaults[0].players


def test_own_networks(tmp_path):
    def pair():
        decoder = nn.Sequential(nn.Linear(3, 64), nn.Unflatten(1, SHAPE))
        decoder.output = "logits"
        return {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(64, 6)), "decoder": decoder}

    model = vaefast.GeneralVAE(SHAPE, 3, **pair())
    model.save(tmp_path / "m")
    assert torch.equal(vaefast.load(tmp_path / "m", **pair()).first.encoder[1].weight, model.first.encoder[1].weight)
    with pytest.raises(CheckpointError):
        vaefast.load(tmp_path / "m")


@pytest.mark.parametrize(("options", "message"), [
    ({"family": "poisson"}, "family is"), ({"regularizer": "kl"}, "regularizer is"), ({"alpha": 0.5}, "only beta"),
    ({"family": "categorical", "image_shape": (3, 8, 8)}, "grey images"), ({"nets": "mlp"}, "nets is 'mlp'"),
    ({"nets": "pixelcnn", "family": "gaussian"}, "has its own"), ({"decoder_options": {"depth": 3}}, "does not take")])
def test_what_cannot_work(options, message):
    with pytest.raises(ArgumentError, match=message):
        vaefast.GeneralVAE(**{"image_shape": SHAPE, "latent_dim": 3, **options})
