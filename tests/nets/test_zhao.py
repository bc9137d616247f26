"""The encoders of the PixelCNN experiments, and weight normalisation with its initialisation from data."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from vaefast.errors import ArgumentError
from vaefast.models import DiagonalGaussian
from vaefast.nets import PixelCNNPlusPlus, ZhaoEncoder, initialise_from_data, zhao_cifar_encoder
from vaefast.nets.weight_norm import normed_layers, weight_normed


@pytest.mark.parametrize("make, shape, floor", [(ZhaoEncoder, (1, 28, 28), 1e-3), (zhao_cifar_encoder, (3, 32, 32), 0.01)])
def test_the_standard_deviation_is_a_sigmoid_with_a_floor(make, shape, floor):
    encoder = make().double()
    seen = []
    encoder.spread.register_forward_hook(lambda m, i, y: seen.append(y))
    with torch.no_grad():
        head = encoder.spread
        (head.parametrizations.weight.original0 if is_parametrized(head) else head.weight).mul_(300)
        mu, raw = encoder(torch.rand(64, *shape).double())
    std = DiagonalGaussian(mu, raw, encoder.scale_param).std
    torch.testing.assert_close(std, torch.sigmoid(seen[0]).clamp_min(floor), rtol=1e-12, atol=0)
    assert mu.shape == std.shape == (64, 10 if shape[0] == 1 else 20) and std.max() <= 1 and std.min() == pytest.approx(floor)


def test_parameters():
    assert sum(p.numel() for p in ZhaoEncoder().parameters()) == 1088 + 131200 + 3211776 + 2 * 5130
    assert not isinstance(ZhaoEncoder(deterministic=True)(torch.rand(2, 1, 28, 28)), tuple)


def test_every_layer_of_the_cifar_encoder_is_weight_normed_and_begins_with_the_data():
    """Codes, too, then: in the authors' code the dense layers are those of PixelCNN++."""
    encoder = zhao_cifar_encoder(latent_dim=5).double()
    x = torch.rand(80, 3, 32, 32).double()
    initialise_from_data(encoder, x)
    mu, raw = encoder(x)
    torch.testing.assert_close(mu.mean(0), torch.zeros(5).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(mu.std(0, correction=0), torch.ones(5).double(), rtol=1e-5, atol=0)
    assert len(normed_layers(encoder)) == 6 and -1.5 < raw.mean() < -0.5  # log of a sigmoid around a half


def test_weights_of_dense_layers_that_were_not_weight_normed_are_read():
    encoder, x = zhao_cifar_encoder(latent_dim=3), torch.rand(4, 3, 32, 32)
    kept = ("convs", "dense.b", "mean.b", "spread.b")
    older = {name: value for name, value in encoder.state_dict().items() if name.startswith(kept)}
    older |= {f"{name}.weight": getattr(encoder, name).weight.detach() for name in ("dense", "mean", "spread")}
    again = zhao_cifar_encoder(latent_dim=3)
    again.load_state_dict(older)
    for a, b in zip(encoder(x), again(x)):
        torch.testing.assert_close(a, b)


def test_the_cifar_encoder_sees_images_around_zero():
    encoder = zhao_cifar_encoder(latent_dim=2)
    with torch.no_grad():
        for conv in encoder.convs:
            conv.bias.zero_()
        encoder.dense.bias.zero_()
        assert (encoder(torch.full((1, 3, 32, 32), 0.5))[0] == 0).all()


@pytest.mark.parametrize("make", [lambda: ZhaoEncoder((1, 30, 30)), lambda: ZhaoEncoder(floor=0.0),
                                  lambda: ZhaoEncoder(latent_dim=0), lambda: zhao_cifar_encoder((3, 28, 28))])
def test_errors(make):
    with pytest.raises(ArgumentError):
        make()


@pytest.mark.parametrize("layer, x, outputs", [
    (nn.Linear(5, 3), (20, 5), 3), (nn.Conv2d(2, 4, 3), (6, 2, 5, 5), 4), (nn.ConvTranspose2d(2, 4, (2, 3), 2), (6, 2, 5, 5), 4),
    (nn.Conv2d(2, 1, 3), (6, 2, 5, 5), 1)])
def test_weight_norm_and_initialisation_from_data(layer, x, outputs):
    layer = weight_normed(layer, scale=0.7).double()
    kind = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    lengths = layer.weight.transpose(0, kind).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 0.7), rtol=1e-6, atol=0)
    x = 3 + torch.randn(x).double()
    initialise_from_data(layer, x)
    for _ in range(2):
        y = layer(x).transpose(0, 1).flatten(1)
        assert len(y) == outputs
        torch.testing.assert_close(y.mean(1), torch.zeros_like(y[:, 0]), rtol=0, atol=1e-6)
        torch.testing.assert_close(y.std(1, correction=0), torch.full_like(y[:, 0], 0.7), rtol=1e-5, atol=0)
        initialise_from_data(layer, x)  # changes nothing


def test_a_whole_network_is_initialised_layer_by_layer():
    net = PixelCNNPlusPlus((3, 8, 8), 2, filters=8, blocks=1, mixtures=2)
    z, x = torch.randn(16, 2), torch.rand(16, 3, 8, 8)
    net.eval()
    initialise_from_data(net, z, x)
    raw = net(z, x)
    torch.testing.assert_close(raw.mean((0, 2, 3)), torch.zeros(20), rtol=0, atol=1e-4)
    torch.testing.assert_close(raw.std((0, 2, 3)), torch.ones(20), rtol=1e-2, atol=0)
    with pytest.raises(ArgumentError, match="no weight-normed layers"):
        initialise_from_data(nn.Linear(2, 2), torch.rand(3, 2))
