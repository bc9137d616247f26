"""Every family: its likelihood against torch's distributions, its draws against its likelihood."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Laplace, Normal

from vaefast.errors import ArgumentError
from vaefast.models import FAMILIES, make_family
from vaefast.models.families import Family

DISTRIBUTIONS = {"gaussian": Normal, "laplace": Laplace}


def image_decoder() -> nn.Module:
    decoder = nn.Identity()
    decoder.output = "image"
    return decoder


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
@pytest.mark.parametrize("logits", [True, False])
def test_likelihoods_are_torchs(name, logits):
    x, raw = torch.rand(3, 2, 5, 7, dtype=torch.float64), torch.randn(3, 2, 5, 7, dtype=torch.float64)
    family = make_family(name, 2, None if logits else image_decoder(), gamma=0.3).double()
    mean = raw.sigmoid() if logits else raw
    torch.testing.assert_close(family.mean(raw), mean)
    expected = -DISTRIBUTIONS[name](mean, family.gamma).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(family.nll(x, raw), expected)
    grey = torch.randint(0, 256, x.shape, dtype=torch.uint8)
    torch.testing.assert_close(family.nll(grey, raw), family.nll(grey.double() / 255, raw))


def test_the_bernoulli_likelihood_is_torchs():
    x, raw = torch.randint(0, 2, (3, 1, 5, 7)).double(), torch.randn(3, 1, 5, 7, dtype=torch.float64)
    family = make_family("bernoulli", 1)
    torch.testing.assert_close(family.nll(x, raw), -Bernoulli(logits=raw).log_prob(x).flatten(1).sum(1))
    torch.testing.assert_close(family.mean(raw), raw.sigmoid())


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_the_closed_form_scale_is_the_best(name):
    x, raw = torch.rand(6, 1, 5, 5, dtype=torch.float64), torch.randn(6, 1, 5, 5, dtype=torch.float64)
    found = make_family(name, 1, gamma="optimal").double().nll(x, raw).mean()
    error = x - raw.sigmoid()
    best = error.square().mean().sqrt() if name == "gaussian" else error.abs().mean()
    torch.testing.assert_close(found, make_family(name, 1, gamma=float(best)).double().nll(x, raw).mean())
    for other in (0.97, 1.03):
        assert make_family(name, 1, gamma=float(best) * other).double().nll(x, raw).mean() > found
    learned = make_family(name, 1, gamma_init=0.7)
    assert isinstance(learned.log_gamma, nn.Parameter) and learned.gamma.item() == pytest.approx(0.7)


@pytest.mark.parametrize(("name", "channels"), [("gaussian", 1), ("laplace", 1), ("bernoulli", 1), ("logistic-mixture", 1),
                                                ("logistic-mixture", 3), ("categorical", 1)])
def test_draws_have_the_familys_mean_and_come_from_uniforms(name, channels):
    family = make_family(name, channels, gamma=0.2, components=3, levels=5).double()
    raw = torch.randn(1, family.channels_out(channels), 1, 2, dtype=torch.float64)
    many = raw.expand(40_000, -1, -1, -1)
    generator = torch.Generator().manual_seed(1)
    draws = family.sample(many, generator)
    assert draws.shape == (40_000, channels, 1, 2) and draws.dtype == torch.float64
    error = 5 * draws.std(0) / 200 + (0.02 if name == "logistic-mixture" and channels > 1 else 2e-3)
    assert ((draws.mean(0) - family.mean(raw)[0]).abs() < error).all()
    u = torch.rand(4, family.uniforms(channels), 1, 2, dtype=torch.float64)
    first = family.sample(many[:4], uniforms=u)
    assert torch.equal(first, family.sample(many[:4], uniforms=u)) and not torch.equal(first[0], family.sample(many[:1])[0])
    assert torch.isfinite(family.sample(many[:1].float(), uniforms=torch.zeros(1, family.uniforms(channels), 1, 2))).all()


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_the_nll_of_draws_is_the_entropy(name):
    family, raw = make_family(name, 1, gamma=0.4), torch.randn(20_000, 1, 2, 2)
    entropy = DISTRIBUTIONS[name](torch.zeros(()), 0.4).entropy() * 4
    assert family.nll(family.sample(raw), raw).mean().item() == pytest.approx(entropy.item(), abs=0.05)


def test_the_logistic_mixture_is_a_distribution_over_256_levels():
    family = make_family("logistic-mixture", 1)
    assert family.channels_out(1) == 30 and make_family("logistic-mixture", 3).channels_out(3) == 100
    raw = 2 * torch.randn(1, 30, 1, 1, dtype=torch.float64)
    levels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    p = (-family.nll(levels, raw.expand(256, -1, -1, -1))).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    draws = family.sample(raw.expand(100_000, -1, -1, -1)).mul(255).round().long().flatten()
    found = torch.bincount(draws, minlength=256) / 100_000
    assert ((found - p).abs() < 5 * (p / 100_000).sqrt() + 1e-4).all()


def test_what_cannot_work_is_refused():
    assert all(isinstance(make_family(name, 1), Family) for name in FAMILIES)
    for call, message in ((lambda: make_family("poisson", 1), "family is 'poisson'"),
                          (lambda: make_family("bernoulli", 1, image_decoder()), "returns logits"),
                          (lambda: make_family("gaussian", 1, gamma=0.0), "gamma is 0.0"),
                          (lambda: make_family("laplace", 1, gamma_init=-1.0), "gamma_init is -1.0"),
                          (lambda: make_family("categorical", 1, levels=1), "levels is 1"),
                          (lambda: make_family("categorical", 3).channels_out(3), "grey images")):
        with pytest.raises(ArgumentError, match=message):
            call()
