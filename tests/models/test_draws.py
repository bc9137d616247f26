"""What holds for every model: it can be pickled and copied, in half precision it draws, and its samples are no graph."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import vaefast
from vaefast.errors import ArgumentError
from vaefast.models.draws import Draws
from vaefast.models.gan_losses import LOSSES
from vaefast.models.gradient_penalty import PENALTIES
from vaefast.models.player import players_of

S = (1, 16, 16)
MODELS = {
    "vae": lambda: vaefast.VAE(S, 4), "radial": lambda: vaefast.VAE(S, 4, flow="radial"),
    "planar": lambda: vaefast.VAE(S, 4, flow="planar"), "iaf": lambda: vaefast.VAE(S, 4, flow="iaf"),
    "two-stage": lambda: vaefast.TwoStageVAE(S, 4, second_width=8),
    "wae": lambda: vaefast.WAE(S, 4, penalty="gan"), "gan": lambda: vaefast.GAN(S),
    "gamix": lambda: vaefast.GAMIXVAE(S, 4, width=8, second_stage=True, second_width=8),
    "biggan": lambda: vaefast.BigGAN((3, 16, 16), ch=4), "biggan-vae": lambda: vaefast.BigGANVAE((3, 16, 16), ch=4),
    "general": lambda: vaefast.GeneralVAE(S, 4, family="logistic-mixture"),
    "pixelcnn": lambda: vaefast.GeneralVAE((1, 8, 8), 4, nets="pixelcnn", decoder_options={"layers": 2, "width": 4}),
    "sequential": lambda: vaefast.SequentialVAE(S, width=0.1), "second": lambda: vaefast.SecondStage(4, width=8),
}
models = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


@models
def test_samples_of_any_number_without_a_graph(make):
    model = make()
    shape = tuple(getattr(model, "image_shape", (4,)))
    for n in (2, 0):
        x = model.sample(n)
        assert x.shape == (n, *shape) and not x.requires_grad and x.numpy() is not None
    for n in (-1, 2.0, True, "3"):
        with pytest.raises(ArgumentError, match="expected a whole number, 0 or more"):
            model.sample(n)
    if hasattr(model, "sample_codes"):
        codes = model.sample_codes(0)
        assert not model.sample_codes(2).requires_grad and model.decode(codes).shape == (0, *shape)
    if hasattr(model, "encode") and not isinstance(model, vaefast.SequentialVAE):  # which normalises by its batch
        assert model.encode(torch.zeros(0, *shape)).mean.shape[0] == 0 and model.reconstruct(torch.zeros(0, *shape)).shape[0] == 0
    if hasattr(model, "first") and not isinstance(model, vaefast.SecondStage):
        assert not model.first.sample(2).requires_grad


@models
def test_models_are_pickled_and_copied(make):
    model = make()
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))


@pytest.mark.parametrize("loss", LOSSES)
def test_gans_of_every_loss_are_pickled(loss):
    pickle.dumps(vaefast.GAN((1, 28, 28), loss=loss))


def test_what_losses_and_penalties_hold_is_pickled():
    assert pickle.loads(pickle.dumps((LOSSES, PENALTIES))) == (LOSSES, PENALTIES)


@models
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_models_of_any_precision_draw_and_infer(make, dtype):
    model = make().to(dtype)
    assert torch.isfinite(model.sample(2)).all()
    if hasattr(model, "encode"):
        x = torch.rand(3, *getattr(model, "image_shape", (4,)))
        assert torch.isfinite(model.encode(x).sample()).all() and torch.isfinite(model.reconstruct(x)).all()
    if hasattr(model, "sample_codes"):
        assert torch.isfinite(model.decode(torch.randn(*model.sample_codes(2).shape))).all()


@models
def test_terms_are_floats(make):
    model = make()
    x = torch.rand(4, *getattr(model, "image_shape", (4,)))
    for module in (model.second, model.first) if hasattr(model, "first") and getattr(model, "second", None) else (
            getattr(model, "first", None) or model.second,):
        data = x if module is getattr(model, "first", None) or x.ndim == 2 else torch.randn(4, 4)
        for player in players_of(module):
            assert all(t.is_floating_point() and t.ndim == 0 for t in player.loss(data).values())


def test_posteriors_are_short_to_read():
    assert repr(vaefast.VAE(S, 4).encode(torch.rand(3, *S))) == "DiagonalGaussian(3 x 4, torch.float32, cpu)"
    flow = vaefast.VAE(S, 4, flow="iaf").encode(torch.rand(3, *S))
    assert repr(flow) == "FlowPosterior(DiagonalGaussian(3 x 4, torch.float32, cpu), Flow)"


def test_a_sampler_of_ones_own_is_held_to_it_too():
    class Own(Draws, nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def sample(self, n, generator=None):
            """n rows."""
            return self.scale * torch.randn(n, 3, generator=generator)

    assert not Own().sample(4).requires_grad and Own.sample.__doc__ == "n rows."


def test_one_image_under_batch_norm_is_refused_in_a_sentence():
    model = vaefast.GeneralVAE((1, 28, 28), 4, nets="infogan")
    with pytest.raises(ArgumentError, match="batch norm in train mode was given a batch of shape .* batch_size .* of 2 or more"):
        model.train()(torch.rand(1, 1, 28, 28))
    with pytest.raises(ArgumentError, match="2 or more"):
        model.fit(torch.rand(8, 1, 28, 28), steps=1, batch_size=1, device="cpu", progress=False)


@pytest.mark.parametrize("given", [5, "cpu", torch.float32])
def test_what_is_no_generator_is_refused_in_words(given):
    model = vaefast.VAE((1, 8, 8), 4)
    for draw in (lambda: model.sample(2, generator=given), lambda: model.sample(2, given), lambda: model.sample_codes(2, given)):
        with pytest.raises(ArgumentError, match="expected a torch.Generator"):
            draw()
