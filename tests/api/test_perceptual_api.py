"""Perceptual terms by name, by file and by module: trained, resumed, saved, loaded, refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import vaefast
from vaefast.errors import ArgumentError, CheckpointError, DataError, DataNotFoundError
from vaefast.metrics import exemplars
from vaefast.training.callbacks import Callback

SHAPE = (1, 28, 28)
SMALL = {"nets": "residual", "net_options": {"width": 4, "hidden": 16}}


@pytest.fixture
def images(cache, monkeypatch):
    monkeypatch.setattr("vaefast.metrics.classifier._LEAST_STEPS", 12)
    monkeypatch.setattr("vaefast.metrics.classifier._EPOCHS", 0)
    monkeypatch.setattr(exemplars, "_STEPS", 10)
    return vaefast.data.load("digits", size=28).subset(slice(0, 96))


@pytest.mark.parametrize("perceptual", ["exemplar", "classifier"])
def test_a_network_of_the_images_by_name(images, perceptual, tmp_path):
    model = vaefast.VAE(SHAPE, 3, perceptual=perceptual, adversary="patchgan", adversarial_weight="adaptive", **SMALL)
    history = model.fit(images, steps=4, batch_size=16, log_every=1, out=tmp_path / "run", device="cpu")
    assert all(record["autoencoder/perceptual"] > 0 for record in history.records)
    loaded = vaefast.load(tmp_path / "run")
    z = torch.randn(5, 3)
    assert torch.equal(loaded.decode(z), model.decode(z)) and loaded.config()["perceptual"] == perceptual
    assert not any("perceptual" in name for name in model.state_dict())


def test_a_resumed_run_ends_with_the_same_weights(images, tmp_path):
    def build():
        torch.manual_seed(3)
        return vaefast.TwoStageVAE(SHAPE, 3, perceptual="exemplar", perceptual_weight=20.0, second="mixture", **SMALL)

    class Stop(Callback):
        def step(self, trainer):
            if trainer.done == 2:
                trainer.stop()

    whole = build()
    whole.fit(images, steps=6, batch_size=16, out=tmp_path / "whole", device="cpu")
    build().fit(images, steps=6, batch_size=16, out=tmp_path / "parts", device="cpu", callbacks=[Stop()], log_every=1)
    again = build()
    again.fit(images, steps=6, batch_size=16, out=tmp_path / "parts", device="cpu", resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.first.state_dict().values(), again.first.state_dict().values()))


def test_a_module_of_ones_own(images, tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    model = vaefast.VAE(SHAPE, 3, perceptual=network, **SMALL)
    model.fit(images, steps=2, batch_size=16, out=tmp_path / "run", device="cpu")
    loaded = vaefast.load(tmp_path / "run")
    with pytest.raises(ArgumentError, match=r"call model.first.perceptual.use\(network\)"):
        loaded.fit(images, steps=1, batch_size=16, device="cpu")
    loaded.first.perceptual.use(network)
    loaded.fit(images, steps=1, batch_size=16, device="cpu")


def test_what_cannot_work_is_said_before_a_folder_is_made(images, tmp_path):
    unlabelled = images.images
    (tmp_path / "text.pth").write_text("no weights")
    cases = [("classifier", unlabelled, DataError, "no labels to learn from; choose 'exemplar'"),
             ("vgg16.pth", images, DataNotFoundError, "vgg16.pth is not there; expected 'classifier', 'exemplar'"),
             (str(tmp_path / "text.pth"), images, CheckpointError, "cannot be read as a file of weights"),
             ("exemplar", TensorDataset(images.images), None, "")]
    for perceptual, given, error, words in cases:
        model = vaefast.VAE(SHAPE, 3, perceptual=perceptual, **SMALL)
        if error is None:
            model.fit(given, steps=1, batch_size=16, device="cpu")
            continue
        with pytest.raises(error, match=words):
            model.fit(given, steps=1, out=tmp_path / "run", device="cpu")
        assert not (tmp_path / "run").exists()

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(images.images)

    with pytest.raises(ArgumentError, match="held whole; pass materialize=True"):
        vaefast.VAE(SHAPE, 3, perceptual="exemplar", **SMALL).fit(Stream(), steps=1, batch_size=16, device="cpu")
    with pytest.raises(ArgumentError, match="perceptual is 'exemplar', which is for images"):
        vaefast.VAE(data_shape=(5,), perceptual="exemplar")
    with pytest.raises(ArgumentError, match="perceptual is of type int"):
        vaefast.VAE(SHAPE, 3, perceptual=3)
    with pytest.raises(ArgumentError, match="perceptual_weight is -1"):
        vaefast.VAE(SHAPE, 3, perceptual="exemplar", perceptual_weight=-1)
