"""The perceptual term against its formula, VGG's features against its layers, adaptive weights against the gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vaefast.errors import ArgumentError, CheckpointError
from vaefast.metrics import train_classifier
from vaefast.models import VAE
from vaefast.models.perceptual import PerceptualLoss
from vaefast.models.weighted_term import WeightedTerm, last_layer
from vaefast.nets import PatchGAN
from vaefast.nets.vgg import VGGFeatures


class Two(nn.Module):
    """Two layers of features."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 5, 3), nn.Linear(3 * 7 * 9, 4)

    def forward(self, x):
        return [self.a(x), self.b(x.flatten(1))]


def test_the_term_is_its_formula():
    network = Two().double()
    x, made = torch.rand(6, 3, 7, 9, dtype=torch.double), torch.rand(6, 3, 7, 9, dtype=torch.double, requires_grad=True)
    term = PerceptualLoss(network).double().term(made, x)
    pairs = zip(network(made), network(x), strict=True)
    expected = sum(((F.normalize(a, dim=1) - F.normalize(b, dim=1)) ** 2).sum(1).mean() for a, b in pairs)
    torch.testing.assert_close(term, expected, rtol=1e-9, atol=0)
    (gradient,) = torch.autograd.grad(term, made, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, made)[0], rtol=1e-7, atol=1e-12)
    assert float(PerceptualLoss(network).double().term(x, x)) == 0


def test_the_network_is_a_frozen_copy_outside_the_state():
    network = Two().train()
    loss = PerceptualLoss(network, 2.0)
    assert not list(loss.parameters()) and not loss.state_dict() and network.training and network.a.weight.requires_grad
    before = loss.term(torch.ones(2, 3, 7, 9), torch.zeros(2, 3, 7, 9))
    with torch.no_grad():
        network.a.weight.zero_()
    torch.testing.assert_close(loss.term(torch.ones(2, 3, 7, 9), torch.zeros(2, 3, 7, 9)), before)
    assert loss.double().term(torch.ones(2, 3, 7, 9).double(), torch.zeros(2, 3, 7, 9, dtype=torch.uint8)).dtype == torch.double


def vgg_tensors():
    """Tensors by torchvision's names, and the layers that they belong to."""
    layers = []
    for widths in ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512)):
        for a, b in zip(widths, widths[1:]):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    features = nn.Sequential(*layers)
    return {f"features.{name}": value for name, value in features.state_dict().items()}, features


def test_vgg_is_torchvisions():
    tensors, features = vgg_tensors()
    assert len(features) == 31 and "features.28.weight" in tensors
    grey = torch.rand(2, 1, 33, 35)
    x = (grey.expand(-1, 3, -1, -1) - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]).view(3, 1, 1)
    wanted = [features[:stop](x) for stop in (4, 9, 16, 23, 30)]
    lins = {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1) for i, n in enumerate((64, 128, 256, 512, 512))}
    network = VGGFeatures(tensors, lins)
    for a, b in zip(network(grey), wanted, strict=True):
        torch.testing.assert_close(a, b)
    other = torch.rand(2, 1, 33, 35)
    lpips = sum((lins[f"lin{i}.model.1.weight"] * (F.normalize(a, dim=1) - F.normalize(b, dim=1)) ** 2).sum(1).mean()
                for i, (a, b) in enumerate(zip(network(other), network(grey))))
    torch.testing.assert_close(PerceptualLoss(network).term(other, grey), lpips, rtol=1e-4, atol=1e-7)
    with pytest.raises(CheckpointError, match="features.0.weight is not there"):
        VGGFeatures({})
    with pytest.raises(CheckpointError, match=r"lin0.model.1.weight is of shape \[3\]; expected \[1, 64, 1, 1\]"):
        VGGFeatures(tensors, {"lin0.model.1.weight": torch.zeros(3)})


def test_a_classifier_gives_its_convolutions():
    network = train_classifier(torch.randint(0, 256, (40, 1, 28, 30), dtype=torch.uint8), torch.arange(40) % 2, epochs=1)
    maps = network.maps(torch.rand(3, 1, 28, 30))
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 14, 15), (64, 7, 8), (128, 4, 4)]
    assert float(PerceptualLoss(network).term(torch.rand(3, 1, 28, 30), torch.rand(3, 1, 28, 30))) > 0


class EverySecond(nn.Module):
    """Sees every second pixel alone."""

    reduction = 2

    def forward(self, x):
        return torch.cat([x[..., ::2, ::2], torch.ones_like(x[..., ::2, ::2])], 1)


def test_patterns_of_the_period_of_the_networks_cells_are_seen():
    x = torch.rand(4, 1, 8, 9)
    made = x.clone()
    made[..., 1::2, 1::2] = 1 - made[..., 1::2, 1::2]  # where the network does not look
    loss = PerceptualLoss(EverySecond())
    torch.manual_seed(0)
    terms = [float(loss.term(made, x)) for _ in range(40)]
    assert min(terms) < 1e-3 < max(terms) and sum(t > 0.01 for t in terms) >= 4  # a quarter of the places, but for the seam
    assert all(float(loss.term(x, x)) == 0 for _ in range(8))
    torch.manual_seed(0)
    assert [float(loss.term(made, x)) for _ in range(40)] == terms
    assert [float(loss.eval().term(made, x)) for _ in range(8)] == [0] * 8  # a held-out loss is always the same


def small_vae(**options):
    decoder = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 3 * 7 * 9), nn.Unflatten(1, (3, 7, 9)), nn.Sigmoid())
    return VAE(nn.Sequential(nn.Flatten(), nn.Linear(3 * 7 * 9, 4)), decoder, data_shape=(3, 7, 9), latent_dim=2, gamma=0.5,
               **options).double()


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_an_adaptive_weight_is_the_ratio_of_gradients(share):
    model = small_vae(perceptual=PerceptualLoss(Two(), "adaptive"))
    model.perceptual.share = share
    x = torch.rand(8, 3, 7, 9, dtype=torch.double)
    terms = model(x, generator=torch.Generator().manual_seed(1))
    layer = last_layer(model.decoder)
    assert layer is model.decoder[2].weight
    z = model.encode(x).sample_and_kl(torch.Generator().manual_seed(1))[0]
    raw = model.decoder(z)
    rec = model._nll(x, raw).mean()
    sizes = [torch.autograd.grad(t, layer, retain_graph=True)[0].norm() for t in (rec, model.perceptual.term(raw, x))]
    torch.testing.assert_close(model.perceptual.weight, share * sizes[0] / sizes[1], rtol=1e-6, atol=0)
    expected = terms["reconstruction"] + model.perceptual.weight * terms["perceptual"] + terms["kl"]
    torch.testing.assert_close(terms["loss"], expected.detach(), rtol=1e-9, atol=0)
    last = model.perceptual.weight.clone()
    with torch.no_grad():
        model(torch.rand(4, 3, 7, 9, dtype=torch.double))
    assert model.perceptual.weight == last


def test_an_adversary_may_be_weighed_so_too():
    model = small_vae(adversary=PatchGAN(3, width=4), adversarial_weight="adaptive", perceptual=Two())
    names = [player.name for player in model.players()]
    terms = model(torch.rand(4, 3, 7, 9, dtype=torch.double))
    assert names == ["autoencoder", "discriminator"] and {"perceptual", "adversarial"} <= set(terms)
    assert not [name for name in model.state_dict() if name.startswith("perceptual")]
    terms["loss"].backward()
    judged = model.discriminator_loss(torch.rand(4, 3, 7, 9, dtype=torch.double))["loss"]
    assert 0 < float(judged.detach()) < 20  # not times a weight


@pytest.mark.parametrize(("call", "words"), [
    (lambda: PerceptualLoss(3), "perceptual is of type int"),
    (lambda: PerceptualLoss(None).term(torch.zeros(1, 3, 7, 9), torch.zeros(1, 3, 7, 9)), "has no network yet"),
    (lambda: PerceptualLoss(Two(), 0), "perceptual_weight is 0; expected a number above 0, or 'adaptive'"),
    (lambda: PerceptualLoss(Two(), "adapt"), "perceptual_weight is 'adapt'"),
    (lambda: WeightedTerm("w", True, 1.0, "x"), "w is True"),
    (lambda: last_layer(nn.Identity()), "no layer that trains")])
def test_bad_input(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()
