"""Networks of one's own: how they are made from a name, kept in a run, loaded again, and scored."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from torch import nn

import vaefast
from vaefast.api.own_networks import networks_from, source_of
from vaefast.cli import main
from vaefast.errors import ArgumentError, CheckpointError

SOURCE = '''
from torch import nn

class Encoder(nn.Module):
    scale_param = "logstd"

    def __init__(self, image_shape, latent_dim, width=8):
        super().__init__()
        pixels = image_shape[0] * image_shape[1] * image_shape[2]
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, 2 * latent_dim))

    def forward(self, x):
        return self.net(x)

class Decoder(nn.Module):
    output = "logits"

    def __init__(self, image_shape, latent_dim, width=8):
        super().__init__()
        self.shape = tuple(image_shape)
        pixels = image_shape[0] * image_shape[1] * image_shape[2]
        self.net = nn.Sequential(nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, pixels))

    def forward(self, z):
        return self.net(z).view(-1, *self.shape)

def build(image_shape, latent_dim, width=8):
    return Encoder(image_shape, latent_dim, width), Decoder(image_shape, latent_dim, width)

def by_name(**options):
    return {"decoder": Decoder(**options), "encoder": Encoder(**options)}

def game(image_shape, latent_dim):
    pixels = image_shape[0] * image_shape[1] * image_shape[2]
    return Decoder(image_shape, latent_dim), nn.Sequential(nn.Flatten(), nn.Linear(pixels, 1))

def one(image_shape):
    return nn.Identity()

def fails(latent_dim):
    raise RuntimeError("no such luck")

def features():
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten())

number = 3
'''
NAMES = ("encoder", "decoder")
FAST = ["--data", "digits", "--steps", "2", "--batch-size", "32", "--device", "cpu"]


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("my_nets", None)


@pytest.mark.parametrize("spec", ["my_nets:build", "my_nets:by_name", "my_nets:Encoder,my_nets:Decoder"])
def test_made_from_a_name(spec):
    made = networks_from(spec, NAMES, (1, 4, 4), 3, {"width": 5})
    assert [type(made[name]).__name__ for name in NAMES] == ["Encoder", "Decoder"] and made["encoder"].net[1].out_features == 5
    assert source_of(made) == {"from": spec, "options": {"width": 5}}


@pytest.mark.parametrize(("spec", "options", "message"), [
    ("my_nets", {}, "MODULE:FUNCTION"), ("nowhere:build", {}, "nowhere cannot be imported"), ("my_nets:nope", {}, "has no nope"),
    ("my_nets:number", {}, "of type int"), ("my_nets:one", {}, "returned Identity"), ("my_nets:fails", {}, "no such luck"),
    ("my_nets:build", {"widht": 3}, "takes no 'widht'"), ("my_nets:one,my_nets:one,my_nets:one", {}, "or 2 of them")])
def test_names_that_cannot_work(spec, options, message):
    with pytest.raises(ArgumentError, match=message):
        networks_from(spec, NAMES, (1, 4, 4), 3, options)


def test_a_model_says_where_its_networks_come_from_and_loads_nothing_unasked(tmp_path):
    sys.path.insert(0, str(tmp_path))
    import my_nets

    shape = (1, 4, 4)
    model = vaefast.VAE(shape, 3, encoder=my_nets.Encoder(shape, 3), decoder=my_nets.Decoder(shape, 3)).eval()
    model.save("m")
    said = json.loads((tmp_path / "m" / "model.json").read_text())["networks"]
    assert said.pop("structure") == {"encoder": str(model.first.encoder), "decoder": str(model.first.decoder)}
    assert said == {"encoder": "my_nets:Encoder", "decoder": "my_nets:Decoder"}
    del sys.modules["my_nets"]
    with pytest.raises(CheckpointError, match="my_nets:Encoder.*pass encoder= and decoder=.*networks='MODULE:FUNCTION'"):
        vaefast.load("m")
    with pytest.raises(CheckpointError, match="pass encoder="):
        vaefast.load("m", networks=True)  # it names classes, but not how they are called
    assert "my_nets" not in sys.modules
    again = vaefast.load("m", networks="my_nets:build")
    z = torch.randn(2, 3)
    assert torch.equal(again.decode(z), model.decode(z))
    again.save("n")
    assert torch.equal(vaefast.load("n", networks=True).decode(z), model.decode(z))
    with pytest.raises(CheckpointError, match="not built with networks of your own"):
        vaefast.load(vaefast.VAE((1, 8, 8), 3).save("o"), networks="my_nets:build")


def test_the_command_line_trains_samples_and_scores_them(tmp_path, capsys, cache, monkeypatch):
    monkeypatch.setattr("vaefast.metrics.classifier._LEAST_STEPS", 20)
    monkeypatch.setattr("vaefast.metrics.classifier._EPOCHS", 0)
    train = ["train", "two-stage", *FAST, "--latent-dim", "4", "--networks", "my_nets:build", "--network-option", "width=6"]
    assert main([*train, "--out", "a run"]) == 0
    assert "vaefast evaluate 'a run' --networks my_nets:build" in capsys.readouterr().out
    config = json.loads((tmp_path / "a run" / "config.json").read_text())
    assert config["networks"] == {"from": "my_nets:build", "options": {"width": 6}}
    assert main(["sample", "a run", "--out", "s.png"]) == 2
    assert "--networks my_nets:build" in capsys.readouterr().err
    own = ["--networks", "my_nets:build", "--device", "cpu"]
    assert main(["sample", "a run", "-n", "4", "--out", "s.png", *own]) == 0 and (tmp_path / "s.png").exists()
    assert main(["evaluate", "a run", "-n", "50", "--features", "my_nets:features", *own]) == 0
    assert json.loads((tmp_path / "a run" / "evaluation.json").read_text())["fd_features/stage1"] > 0
    capsys.readouterr()
    for spec, message in (("my_nets", "features is 'my_nets'; expected MODULE:FUNCTION"), ("my_nets:number", "makes features"),
                          ("my_nets:one", "called without arguments"), ("nowhere:f", "nowhere cannot be imported")):
        assert main(["evaluate", "a run", "--features", spec, *own]) == 2
        assert message in capsys.readouterr().err
    assert main([*train, "--out", "a run", "--resume"]) == 0
    assert main(["train", "gan", *FAST, "--networks", "my_nets:game", "--out", "gan"]) == 0
    capsys.readouterr()
    for words, message in ((["biggan", "--networks", "my_nets:build"], "takes none of your own"),
                           (["sequential", "--networks", "my_nets:build"], "takes none of your own"),
                           (["vae", "--network-option", "width=3"], "without networks"),
                           (["vae", "--networks", "my_nets:nope"], "has no nope")):
        assert main(["train", *words, *FAST, "--out", "bad"]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize("build", [lambda: vaefast.VAE((1, 8, 8), 3), lambda: vaefast.GAN((1, 8, 8), latent_dim=3),
                                   lambda: vaefast.TwoStageVAE((1, 8, 8), 3, second_width=8)])
def test_a_model_at_hand_is_scored_as_a_run_is(build, tmp_path, cache, monkeypatch):
    monkeypatch.setattr("vaefast.metrics.classifier._LEAST_STEPS", 20)
    monkeypatch.setattr("vaefast.metrics.classifier._EPOCHS", 0)
    monkeypatch.setattr("vaefast.metrics.classifier.SMALLEST", 8)
    model = build()
    said: list[str] = []
    images = vaefast.data.as_image_set(torch.rand(40, 1, 8, 8), labels=torch.arange(40) % 2)
    kinds = {"metrics": ["sharpness", "diversity"], "samples": 20, "say": said.append}
    with_floor = vaefast.evaluate(model, images.subset(slice(0, 20)), train=images.subset(slice(20, 40)), **kinds)
    assert not list(tmp_path.glob("*.json")) and "sharpness/test_vs_train" in with_floor
    found = vaefast.evaluate(model, images.images.numpy(), out=tmp_path / "scores", **kinds)
    assert "sharpness/test_vs_train" not in found and found["sharpness/stage1"] > 0
    names = {path.name for path in (tmp_path / "scores").iterdir()}
    assert {"evaluation.json", "report.html", "samples_stage1.png"} <= names
    assert ("latents.png" in names) == ("reconstructions.png" in names) == (not isinstance(model, vaefast.GAN))
    page = (tmp_path / "scores" / "report.html").read_text()
    assert f"{model.kind} on array" in page and "Training" not in page.split("Settings")[0].split("<h2>")[-1]
    with pytest.raises(ArgumentError, match="draws no images"):
        vaefast.evaluate(vaefast.SecondStage(3, width=8), images)
    with pytest.raises(ArgumentError, match="built with image_shape"):
        vaefast.evaluate(model, torch.rand(4, 1, 8, 9))
    with pytest.raises(ArgumentError, match="samples were asked for"):
        vaefast.evaluate(model, images, metrics=["sharpness"], samples=0)


def test_a_run_from_python_goes_on_whatever_its_classes_are_called(tmp_path, stop_at):
    def build():
        return vaefast.VAE((1, 4, 4), 2, encoder=nn.Sequential(nn.Flatten(), nn.Linear(16, 4)),
                           decoder=nn.Sequential(nn.Linear(2, 16), nn.Unflatten(1, (1, 4, 4)), nn.Sigmoid()))

    x, common = torch.rand(16, 1, 4, 4), {"steps": 6, "batch_size": 4, "device": "cpu", "progress": False, "out": tmp_path / "r"}
    with pytest.raises(KeyboardInterrupt):
        build().fit(x, **common, callbacks=[stop_at(3)])
    build().fit(x, **common, resume=True)


@pytest.mark.parametrize("returned", [None, {"mu": 1}, [torch.zeros(4, 8)]])
def test_what_a_network_returns_that_is_no_tensor_is_named(returned):
    class Encoder(nn.Linear):
        def forward(self, x):
            return returned

    class Decoder(nn.Linear):
        def forward(self, z):
            return returned

    model = vaefast.VAE((1, 8, 8), 4, encoder=Encoder(4, 4), decoder=Decoder(4, 4))
    name = type(returned).__name__
    with pytest.raises(ArgumentError, match=rf"Encoder returned a {name}; expected a tensor \[B, 8\]"):
        model.encode(torch.zeros(2, 1, 8, 8))
    for own in (model, vaefast.WAE((1, 8, 8), 4, encoder=Encoder(4, 4), decoder=Decoder(4, 4)),
                vaefast.GAMIXVAE((1, 8, 8), 4, encoder=Encoder(4, 4), decoder=Decoder(4, 4))):
        with pytest.raises(ArgumentError, match=rf"Decoder returned a {name}; expected a tensor \[B, 1, 8, 8\]"):
            own.sample(2)


def test_networks_of_other_data_are_told_the_datas_shape(tmp_path, monkeypatch):
    (tmp_path / "of_vectors.py").write_text(
        "from torch import nn\n\ndef build(data_shape, latent_dim):\n"
        "    return nn.Linear(data_shape[0], 2 * latent_dim), nn.Linear(latent_dim, data_shape[0])\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = networks_from("of_vectors:build", NAMES, (5,), 2)
    model = vaefast.VAE(data_shape=(5,), latent_dim=2, **made)
    model.save(tmp_path / "m")
    again = vaefast.load(tmp_path / "m", networks="of_vectors:build")
    assert again.config()["data_shape"] == [5] and again.sample(3).shape == (3, 5)
