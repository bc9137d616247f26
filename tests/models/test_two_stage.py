"""Two-stage sampling, and the second stage on distributions whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

import vaefast
from vaefast import models
from vaefast.errors import ArgumentError
from vaefast.nets import SecondStageDecoder, SecondStageEncoder


def second_stage(k: int, width: int = 64) -> models.VAE:
    return models.VAE(SecondStageEncoder(k, k, width), SecondStageDecoder(k, k, width), data_shape=(k,), latent_dim=k)


def train(model: models.VAE, draw, steps: int, batch: int = 256, lr: float = 3e-3) -> list[float]:
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        terms = model(draw(batch))
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(terms["loss"].item())
    model.eval()
    return losses


def noisy_samples(model: models.VAE, n: int) -> torch.Tensor:
    with torch.no_grad():
        z = model.sample(n)
        return z + model.gamma * torch.randn_like(z)


def test_second_stage_on_a_standard_normal_reaches_its_entropy():
    k = 6
    model = second_stage(k)
    losses = train(model, lambda n: torch.randn(n, k), 1200)
    assert sum(losses[-200:]) / 200 == pytest.approx(1.41894 * k, rel=0.02)
    z = noisy_samples(model, 20_000)
    assert z.mean(0).abs().max() < 0.1
    assert (z.T.cov() - torch.eye(k)).abs().max() < 0.12


@pytest.mark.slow
def test_second_stage_learns_a_mixture_that_a_normal_is_not():
    centres = torch.tensor([[-1.5, 0.0], [1.5, 0.0]])

    def draw(n: int) -> torch.Tensor:
        return centres[torch.randint(2, (n,))] + 0.15 * torch.randn(n, 2)

    model = second_stage(2)
    train(model, draw, 2000)
    z = noisy_samples(model, 10_000)
    distance = torch.cdist(z, centres).min(1).values
    assert (distance < 0.6).float().mean() > 0.93  # of N(0, I) about a tenth
    assert 0.4 < (z[:, 0] < 0).float().mean() < 0.6
    with torch.no_grad():
        u = model.encode(draw(10_000)).sample()
    assert u.mean(0).abs().max() < 0.15 and (u.var(0) - 1).abs().max() < 0.25


@pytest.fixture
def model() -> vaefast.TwoStageVAE:
    torch.manual_seed(0)
    model = vaefast.TwoStageVAE((1, 8, 8), 4, second_width=16)
    for _ in range(3):
        model.first(torch.rand(16, 1, 8, 8))
    return model


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def test_codes_get_the_second_stages_noise(model):
    g = generator()
    u = torch.randn(500, 4, generator=g)
    eps = torch.randn(500, 4, generator=g)
    with torch.no_grad():
        model.second.log_gamma.fill_(math.log(0.3))
        z = model.sample_codes(500, generator=generator())
        torch.testing.assert_close(z, model.second.decode(u) + 0.3 * eps)


def test_recoding_draws_u_from_the_second_encoder_and_adds_noise(model):
    z = torch.randn(50, 4)
    with torch.no_grad():
        model.second.log_gamma.fill_(math.log(0.3))
        found = model.recode(z, generator())
        g = generator()
        model.second.eval()
        u = model.second.encode(z).sample(g)
        torch.testing.assert_close(found, model.second.decode(u) + 0.3 * torch.randn(50, 4, generator=g))


def test_images_get_no_noise(model):
    with torch.no_grad():
        model.first.log_gamma.fill_(math.log(10.0))  # would drown the images
        for stage in (1, 2):
            z = model.sample_codes(20, stage=stage, generator=generator())
            x = model.sample(20, stage=stage, generator=generator())
            assert torch.equal(x, model.decode(z))
            assert x.min() >= 0 and x.max() <= 1


def test_stage_one_samples_the_prior(model):
    assert torch.equal(model.sample_codes(9, stage=1, generator=generator()), torch.randn(9, 4, generator=generator()))
    with pytest.raises(ArgumentError, match="stage"):
        model.sample(3, stage=3)


def test_reconstruction_draws_a_code(model):
    x = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        a, b = model.reconstruct(x), model.reconstruct(x)
        torch.manual_seed(2)
        c = model.reconstruct(x)
        torch.manual_seed(2)
        assert torch.equal(c, model.decode(model.encode(x).sample()))
    assert not torch.equal(a, b)


def test_calls_use_eval_mode_whatever_the_mode(model):
    x = torch.rand(6, 1, 8, 8)
    model.train()
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    with torch.no_grad():
        together = model.encode(x).mean
        alone = torch.cat([model.encode(row[None]).mean for row in x])
    torch.testing.assert_close(together, alone)
    model.sample(4)
    assert all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())
    assert all(m.training for m in model.modules())


def test_uint8_and_float_images_encode_alike(model):
    x = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(model.encode(x).mean, model.encode(x.float() / 255).mean)
    assert model.encode(x).sample().shape == (3, 4)


def test_stages_must_fit():
    with pytest.raises(ArgumentError, match="codes have shape"):
        models.TwoStageVAE(models.VAE(torch.nn.Identity(), torch.nn.Identity(), data_shape=(1, 8, 8), latent_dim=4),
                           second_stage(5))
