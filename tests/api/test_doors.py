"""Every model reads what it is given at its doors alike: as forgiving as `fit`, and with its sentences."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import vaefast
from vaefast.errors import ArgumentError, DataError, VaefastError

SHAPE = (1, 8, 8)
SMALL = {"width": 8}
AUTOENCODERS = {
    "vae": lambda: vaefast.VAE(SHAPE, 4), "two-stage": lambda: vaefast.TwoStageVAE(SHAPE, 4, second_width=8),
    "wae": lambda: vaefast.WAE(SHAPE, 4), "general": lambda: vaefast.GeneralVAE(SHAPE, 4),
    "gamix": lambda: vaefast.GAMIXVAE(SHAPE, 4, **SMALL), "biggan-vae": lambda: vaefast.BigGANVAE(SHAPE, "normal", 4, 4),
    "sequential": lambda: vaefast.SequentialVAE(SHAPE, 2, width=1 / 32),
    "infusion": lambda: vaefast.SequentialVAE(SHAPE, 2, width=1 / 32, inference="infusion")}
GANS = {"gan": lambda: vaefast.GAN(SHAPE, latent_dim=4), "biggan": lambda: vaefast.BigGAN(SHAPE, "normal", 4, 4)}
BAD = {"of 0 to 255": torch.rand(4, *SHAPE) * 255, "of -1 to 1": torch.rand(4, *SHAPE) * 2 - 1,
       "with NaN": torch.full((4, *SHAPE), torch.nan), "with infinity": np.full((4, *SHAPE), np.inf, np.float32),
       "a little too large": torch.linspace(0, 1.01, 4 * math.prod(SHAPE)).view(4, *SHAPE).half()}


def losses(model):
    """The ways to a loss of images."""
    if isinstance(model, tuple(type(GANS[name]()) for name in GANS)):
        return [model.first.discriminator_loss, model.first.generator_loss]
    return [model.first, model.first.loss] + ([] if isinstance(model, vaefast.TwoStageVAE) else [model])


@pytest.mark.parametrize("kind", [*AUTOENCODERS, *GANS])
def test_images_on_another_scale_are_refused_by_the_words_of_fit(kind):
    """But for `value_range`, which `fit` takes, and by which it tells images of -1 to 1 itself."""
    model = {**AUTOENCODERS, **GANS}[kind]()
    calls = losses(model) + ([model.encode, model.reconstruct, model.first.encode] if kind in AUTOENCODERS else [])
    for name, x in BAD.items():
        with pytest.raises(DataError) as of_fit:
            model.fit(x, steps=1, batch_size=2, device="cpu", progress=False,
                      **({"value_range": (0, 1)} if name == "of -1 to 1" else {}))
        words, _, more = str(of_fit.value).partition(" Or give value_range=")
        assert bool(more) == ("with" not in name), name
        for call in calls:
            with pytest.raises(DataError) as found:
                call(x)
            assert str(found.value) == words, (name, call)


@pytest.mark.parametrize("kind", AUTOENCODERS)
def test_forms_that_fit_takes_are_taken_everywhere(kind):
    model = AUTOENCODERS[kind]()
    x = torch.randint(0, 256, (4, *SHAPE), dtype=torch.uint8)
    floats = x.float() / 255
    expected = _mean(model, floats)
    forms = [x, x[:, 0], x.numpy(), x.numpy()[:, 0], np.moveaxis(x.numpy(), 1, 3), floats.double(), floats.numpy().astype(">f4"),
             floats.numpy()[::-1][::-1], list(floats), vaefast.data.as_image_set(x)]
    for form in forms:
        torch.testing.assert_close(_mean(model, form), expected, atol=1e-5, rtol=1e-4)
    assert model.reconstruct(x.numpy()[:, 0]).shape == (4, *SHAPE)
    again = model.decode(np.zeros((3, model.latent_dim)))
    assert again.shape == (3, *SHAPE) and torch.equal(again, model.decode([[0] * model.latent_dim] * 3))


def _mean(model, x):
    found = model.encode(x)
    return found.mean if hasattr(found, "mean") else torch.stack([q.x for q in found.steps])


@pytest.mark.parametrize("kind", [*AUTOENCODERS, *GANS])
def test_shapes_and_types_that_do_not_fit(kind):
    model = {**AUTOENCODERS, **GANS}[kind]()
    k = model.latent_dim
    for z, message in ((torch.zeros(3, k + 1), rf"\[3, {k + 1}\]; this model takes \[B, {k}\]"), (np.zeros(k), r"z\[None\]"),
                       (torch.zeros(3, k, dtype=torch.complex64), "real numbers"), ("words", "of type str"),
                       (np.array([["a"] * k]), "an array of <U1")):
        with pytest.raises(ArgumentError, match=message):
            model.decode(z)
    call = losses(model)[0]
    for x, message in ((torch.zeros(4, 3, 8, 8), r"shape \(3, 8, 8\); this model was built with image_shape=\(1, 8, 8\)"),
                       (torch.zeros(*SHAPE)[0], r"x\[None\]"), (torch.zeros(4, 8, 8, 1), "permute"),
                       (torch.zeros(4, *SHAPE, dtype=torch.long), "dtype int64"), (torch.zeros(0, *SHAPE), "nothing in it")):
        with pytest.raises(VaefastError, match=message):
            call(x)


def test_gradients_reach_the_images_and_a_compiled_step_has_no_break():
    model = vaefast.VAE(SHAPE, 4)
    x = torch.rand(4, *SHAPE, requires_grad=True)
    model.encode(x).mean.sum().backward()
    assert x.grad is not None
    compiled = torch.compile(model.first, fullgraph=True, backend="eager")
    assert torch.isfinite(compiled(x.detach())["loss"])
    assert torch.isfinite(torch.compile(model, fullgraph=True, backend="eager")(x.detach())["loss"])
    per_example = torch.func.vmap(lambda one: model.eval().first.encoder(one[None])[0])(x.detach())
    assert len(per_example) == 4


def test_chains_go_on_from_states_outside_and_data_are_read_as_elsewhere():
    model = vaefast.GeneralVAE(SHAPE, 4, family="gaussian", gamma=0.5)
    assert model.chain(3, 2, pixel_noise=True).shape == (3, *SHAPE)
    assert model.chain(2, 1, "data", data=np.zeros((4, 8, 8), np.uint8)).shape == (2, *SHAPE)
    with pytest.raises(DataError, match="divide by 255"):
        model.chain(2, 1, "data", data=torch.rand(4, *SHAPE) * 255)


@pytest.mark.parametrize(("build", "words"), [
    (AUTOENCODERS["two-stage"], "model.first"), (GANS["gan"], "discriminator_loss"), (GANS["biggan"], "generator_loss"),
    (lambda: vaefast.GAN(SHAPE, latent_dim=4).first, "discriminator_loss"),
    (lambda: vaefast.models.TwoStageVAE(vaefast.VAE(SHAPE, 4).first, vaefast.SecondStage(4, width=8).second), "model.first")])
def test_a_model_of_several_losses_says_so_when_it_is_called(build, words):
    with pytest.raises(ArgumentError, match=words):
        build()(torch.rand(2, *SHAPE))


class Linear(nn.Module):
    """A decoder that says nothing of its output."""

    def __init__(self, scale: float = 3.0):
        super().__init__()
        self.net = nn.Linear(4, 64)
        self.scale = scale

    def forward(self, z):
        return self.scale * self.net(z).view(-1, *SHAPE)


def _encoder():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8))


@pytest.mark.parametrize("build", [vaefast.VAE, vaefast.TwoStageVAE, vaefast.WAE])
def test_pixels_that_are_clipped_are_told_of_once(build):
    model = build(SHAPE, 4, encoder=_encoder(), decoder=Linear())
    with pytest.warns(UserWarning, match=r"Linear returned pixels from -.* to .* clipped to \[0, 1\].*output = \"logits\""):
        images = model.decode(torch.randn(50, 4))
    assert images.min() == 0 and images.max() == 1
    said = Linear()
    said.output = "image"
    within = nn.Sequential(nn.Linear(4, 64), nn.Sigmoid(), nn.Unflatten(1, SHAPE))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.decode(torch.randn(50, 4))
        build(SHAPE, 4, encoder=_encoder(), decoder=said).decode(torch.randn(50, 4))
        build(SHAPE, 4, encoder=_encoder(), decoder=within).decode(torch.randn(50, 4))
        build(SHAPE, 4).decode(torch.randn(50, 4))


def test_a_generators_pixels_too():
    model = vaefast.GAN(SHAPE, latent_dim=4, generator=Linear(), discriminator=nn.Sequential(nn.Flatten(), nn.Linear(64, 1)))
    with pytest.warns(UserWarning, match="Linear returned pixels"):
        assert model.sample(50).max() == 1


@pytest.mark.parametrize(("name", "given", "message"), [
    ("encoder", "resnet18", "encoder is 'resnet18'; expected a torch.nn.Module"),
    ("encoder", nn.Identity, "an instance: Identity"),
    ("decoder", lambda z: z, "decoder is of type function"), ("decoder", {"a": 1}, "decoder is of type dict")])
def test_what_is_no_network_is_refused_at_once(name, given, message):
    own = {"encoder": nn.Identity(), "decoder": nn.Identity(), name: given}
    for build in (vaefast.VAE, vaefast.TwoStageVAE, vaefast.WAE, vaefast.GeneralVAE, vaefast.GAMIXVAE):
        with pytest.raises(ArgumentError, match=message):
            build(SHAPE, 4, **own)
    with pytest.raises(ArgumentError, match=message.replace("encoder", "generator").replace("decoder", "generator")):
        vaefast.GAN(SHAPE, generator=given, discriminator=nn.Identity())


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 48, 3)])
def test_the_order_of_an_image_shape(shape):
    with pytest.raises(ArgumentError, match=r"the order is \(channels, height, width\)"):
        vaefast.VAE(shape)


def test_a_model_is_saved_as_a_folder(tmp_path):
    model = vaefast.SecondStage(4, width=8)
    for name in ("modelfile.pt", "model.SAFETENSORS"):
        with pytest.raises(ArgumentError, match="saved as a folder"):
            model.save(tmp_path / name)
    assert not any(tmp_path.iterdir())
    vaefast.load(model.save(tmp_path / "run-v0.1"))


@pytest.mark.parametrize("build", [vaefast.models.VAE, vaefast.models.WAE, vaefast.models.GeneralVAE, vaefast.models.GAMIXVAE])
def test_nor_is_it_a_network_of_the_plain_modules(build):
    for own in ({"encoder": "resnet18", "decoder": nn.Identity()}, {"encoder": nn.Identity(), "decoder": nn.Identity}):
        with pytest.raises(ArgumentError, match="resnet18|Identity"):
            build(**own, data_shape=SHAPE, latent_dim=4)


def test_sparse_tensors_are_refused_in_words():
    model = vaefast.VAE((1, 8, 8), 4)
    images, codes = torch.rand(2, 1, 8, 8), torch.rand(2, 4)
    for door, given in ((model.encode, images), (model.decode, codes), (model.first, images), (model.reconstruct, images)):
        with pytest.raises(ArgumentError, match=r"layout sparse_coo; pass a dense one \(x.to_dense\(\)\)"):
            door(given.to_sparse())


def test_info_does_not_stand_for_what_a_run_says_of_itself(tmp_path):
    """Once a run was resumed with another seed and rate, as the user's words were compared with themselves."""
    model, images = vaefast.VAE((1, 8, 8), 2), torch.rand(16, 1, 8, 8)
    with pytest.raises(ArgumentError, match="info holds model, seed, which config.json has of the run itself"):
        model.fit(images, steps=1, batch_size=8, device="cpu", progress=False, out=tmp_path / "run",
                  info={"seed": 1, "model": "mine"})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("given", "words"), [
    ({"out": "afile"}, "afile is a file; the scores need a folder"), ({"seed": 1.5}, "seed is 1.5"),
    ({"seed": "a"}, "seed is 'a'"),
    ({"features": 3}, "features is of type int"), ({"features": lambda x: x.sum()}, r"features made float32 \[\] of"),
    ({"features": lambda x: x.flatten(1).numpy()}, "features made ndarray of"),
    ({"features": lambda x: x.flatten(1).to(torch.complex64)}, "features made complex64"),
    ({"metrics": "fidd"}, "metrics are fidd; expected")], ids=lambda part: part if isinstance(part, str) else next(iter(part)))
def test_what_scores_cannot_be_taken_of_is_said(given, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").touch()
    model, images = vaefast.VAE((3, 16, 16), 4), (torch.rand(40, 3, 16, 16) * 255).to(torch.uint8)
    usual = {"samples": 30, "metrics": "features", "features": lambda x: x.flatten(1)[:, :20], "say": lambda text: None}
    with pytest.raises(VaefastError, match=words):
        vaefast.evaluate(model, images, **{**usual, **given})


def test_a_run_of_another_machine_goes_on_in_its_precision(tmp_path, monkeypatch):
    """"auto" is fp32 there and bf16 here, say: `--resume` alone goes on, as nothing was asked for that differs."""
    images, usual = torch.rand(32, 1, 8, 8), {"batch_size": 16, "device": "cpu", "progress": False, "out": tmp_path / "run"}
    monkeypatch.setattr("vaefast.training.device.multiplies_in_bf16", lambda: False)
    vaefast.VAE((1, 8, 8), 2).fit(images, steps=2, **usual)
    monkeypatch.setattr("vaefast.training.device.multiplies_in_bf16", lambda: True)
    history = vaefast.VAE((1, 8, 8), 2).fit(images, steps=4, resume=True, **usual)
    assert history.records[-1]["step"] == 4
    with pytest.raises(VaefastError, match="precision was 'fp32', is now 'bf16'"):
        vaefast.VAE((1, 8, 8), 2).fit(images, steps=6, resume=True, precision="bf16", **usual)
