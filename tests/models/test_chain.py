"""Chains: what they keep, where they start, and the stationary distribution of an exact one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vaefast import api
from vaefast.errors import ArgumentError
from vaefast.models import VAE, WAE, chain


class Discrete(nn.Module):
    """x in {0, ..., 4} and z in {0, 1, 2}, one-hot; p(x|z) is q(x|z), the prior is of no account."""

    data_shape = (5,)

    def __init__(self):
        super().__init__()
        self.p_data = nn.Parameter(torch.tensor([0.35, 0.25, 0.2, 0.15, 0.05]))
        self.q = torch.softmax(2 * torch.randn(5, 3), 1)  # q(z|x)
        joint = self.p_data.detach()[:, None] * self.q
        self.back = (joint / joint.sum(0)).T  # q(x|z)

    def encode(self, x):
        q = self.q[x.argmax(1)]

        class Posterior:
            def sample(self, generator=None):
                return torch.multinomial(q, 1, generator=generator)[:, 0]

        return Posterior()

    def decode(self, z):
        return self.back[z]

    def draw(self, z, generator=None):
        return torch.eye(5)[torch.multinomial(self.back[z], 1, generator=generator)[:, 0]]


def test_an_exact_conditional_keeps_and_reaches_the_datas_distribution():
    model, n = Discrete(), 40_000
    generator = torch.Generator().manual_seed(1)
    for steps in (1, 30):
        data = torch.eye(5)[torch.multinomial(model.p_data.detach(), n, replacement=True, generator=generator)]
        start = {"start": "data", "data": data} if steps == 1 else {}
        found = chain(model, n, steps, pixel_noise=True, generator=generator, batch_size=17_001, **start).mean(0)
        error = 5 * (model.p_data.detach() / n).sqrt()
        assert ((found - model.p_data.detach()).abs() < error).all()


def vae(**options) -> VAE:
    decoder = nn.Linear(3, 5)
    decoder.output = "logits"
    return VAE(nn.Linear(5, 6), decoder, data_shape=(5,), latent_dim=3, **options)


def test_states_and_starts():
    model = vae(gamma=0.1)
    images = torch.randint(0, 256, (9, 5), dtype=torch.uint8)
    every = chain(model, 4, 3, "data", data=images, keep="all", generator=torch.Generator().manual_seed(1))
    last = chain(model, 4, 3, "data", data=images, generator=torch.Generator().manual_seed(1))
    assert every.shape == (4, 4, 5) and torch.equal(every[-1], last) and not last.requires_grad
    rows = (every[0] * 255).round().to(torch.uint8).tolist()
    assert len({tuple(r) for r in rows}) == 4 and all(r in images.tolist() for r in rows)
    noise = chain(model, 500, 0)
    assert noise.shape == (500, 5) and noise.min() >= 0 and noise.max() <= 1 and abs(noise.mean() - 0.5) < 0.03
    noisy = chain(model, 4, 1, "data", data=images, pixel_noise=True, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(noisy, every[1]) and (noisy - every[1]).std() < 0.3


def test_a_chain_runs_in_eval_mode_and_leaves_the_mode():
    model = vae()
    model.encoder = nn.Sequential(nn.BatchNorm1d(5), model.encoder)
    before = model.encoder[0].running_mean.clone()
    chain(model, 6, 2)
    assert model.training and model.encoder[0].training and torch.equal(model.encoder[0].running_mean, before)


def test_pixel_noise_of_each_likelihood():
    z = torch.zeros(20_000, 3)
    assert set(vae(likelihood="bernoulli").draw(z).unique().tolist()) == {0.0, 1.0}
    model = vae(gamma=0.25)
    assert (model.draw(z) - model.decode(z)).std().item() == pytest.approx(0.25, rel=0.02)


@pytest.mark.parametrize("model", [lambda: api.VAE((1, 8, 8), 2), lambda: api.TwoStageVAE((1, 8, 8), 2, second_width=8),
                                   lambda: api.WAE((1, 8, 8), 2)])
def test_every_model_of_images_has_chains(model):
    model = model()
    assert model.chain(3, 2).shape == (3, 1, 8, 8)
    assert model.chain(3, 2, keep="all", generator=torch.Generator().manual_seed(1)).shape == (3, 3, 1, 8, 8)


@pytest.mark.parametrize(("words", "options", "message"), [
    ((0, 1), {}, "n is 0"), ((1, -1), {}, "steps is -1"), ((1, 1, "prior"), {}, "start is 'prior'"),
    ((1, 1, "data"), {}, "no data were given"), ((3, 1, "data"), {"data": torch.rand(2, 5)}, "3 or more examples"),
    ((1, 1), {"keep": "some"}, "keep is 'some'")])
def test_what_cannot_work(words, options, message):
    with pytest.raises(ArgumentError, match=message):
        chain(vae(), *words, **options)


def test_a_wae_has_no_pixel_noise():
    model = WAE(nn.Linear(5, 3), nn.Linear(3, 5), data_shape=(5,), latent_dim=3)
    assert chain(model, 2, 2).shape == (2, 5)
    with pytest.raises(ArgumentError, match="no distribution"):
        chain(model, 2, 2, pixel_noise=True)
