"""How likely unseen images are: right values, and models that have no such number."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import vaefast
from vaefast.experiments.scoring.bound import likelihood_bound
from vaefast.metrics import bits_per_dimension

GAMMA = 0.5


class Encoder(nn.Module):
    """The exact posterior of x = W z + gamma eps."""

    scale_param = "logstd"

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.gain = nn.Linear(4, 1, bias=False)
        variance = 1 / (1 + float(weight.square().sum()) / GAMMA**2)
        self.gain.weight.data = variance * weight.T / GAMMA**2
        self.logstd = 0.5 * math.log(variance)

    def forward(self, x):
        mean = self.gain(x.flatten(1))
        return mean, torch.full_like(mean, self.logstd)


class Decoder(nn.Module):
    output = "linear"

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.map = nn.Linear(1, 4, bias=False)
        self.map.weight.data = weight.clone()

    def forward(self, z):
        return self.map(z).view(-1, 1, 2, 2)


def test_the_bound_of_an_exact_posterior_is_the_likelihood():
    weight = torch.tensor([[0.3], [0.1], [-0.2], [0.5]])
    model = vaefast.VAE((1, 2, 2), 1, encoder=Encoder(weight), decoder=Decoder(weight), gamma=GAMMA)
    images = torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    covariance = weight @ weight.T + GAMMA**2 * torch.eye(4)
    exact = torch.distributions.MultivariateNormal(torch.zeros(4), covariance).log_prob(images.flatten(1)).mean()
    scores = likelihood_bound(model, images, seed=3)
    assert scores["likelihood_bound"] == pytest.approx(float(exact), abs=1e-5)
    assert scores["bits_per_dimension"] == pytest.approx(8 - float(exact) / 4 / math.log(2), abs=1e-5)
    assert scores["likelihood_bound_images"] == 40 and scores["likelihood_bound_samples"] == 64
    for most, draws in ((1, 8), (480, 12)):
        few = likelihood_bound(model, images, 3, most)
        assert few["likelihood_bound_samples"] == draws and few["likelihood_bound"] == pytest.approx(float(exact), abs=1e-5)


def test_bits_of_a_probability_and_of_a_density():
    assert bits_per_dimension(-784 * math.log(2), 784, "bernoulli") == pytest.approx(1)
    assert bits_per_dimension(0.0, 784, "gaussian") == 8  # uniform on [0, 1]
    assert bits_per_dimension(-3 * math.log(256), 3, "categorical") == pytest.approx(8)


@pytest.mark.parametrize("make", [
    lambda: vaefast.VAE((1, 12, 12), 2, nets="residual", likelihood="squared"),
    lambda: vaefast.VAE((1, 12, 12), 2, nets="residual", flow="planar"),
    lambda: vaefast.WAE((1, 12, 12), 2, nets="residual"),
    lambda: vaefast.GAN((1, 28, 28)),
    lambda: vaefast.TwoStageVAE((1, 12, 12), 2, nets="residual", second_width=8, joint=True)])  # another prior than N(0, I)
def test_what_has_no_density_has_no_bound(make):
    assert likelihood_bound(make(), torch.rand(5, 1, 12, 12), seed=0) == {}


def test_a_squared_error_is_no_likelihood():
    model = vaefast.VAE((1, 12, 12), 2, nets="residual", likelihood="squared")
    with pytest.raises(vaefast.errors.ArgumentError, match="is an error, and no distribution"):
        model.first.log_likelihood(torch.rand(2, 1, 12, 12), torch.zeros(2, 2))
