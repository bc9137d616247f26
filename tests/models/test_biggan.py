"""BigGAN's training: turns, labels, orthogonal regularisation, and sampling."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vaefast import models
from vaefast.errors import ArgumentError
from vaefast.models import VAE, BigGAN
from vaefast.models.orthogonal import orthogonal_penalty
from vaefast.nets import NETS, BatchNorm, BigGANDiscriminator, BigGANGenerator

SHAPE, DOUBLE = (1, 8, 8), torch.float64


def make(classes: int | None = None, rule: str = "code", **options) -> BigGAN:
    common = {"ch": 4, "rule": rule, "classes": classes}
    generator, discriminator = BigGANGenerator(SHAPE, 4, **common), BigGANDiscriminator(SHAPE, **common)
    return BigGAN(generator, discriminator, image_shape=SHAPE, latent_dim=4, classes=classes, **options)


def test_turns_are_d_g_and_d_again_on_the_same_images_with_fresh_codes():
    model = make()
    turns = [(p.name, p.new_batch) for p in model.players()]
    assert turns == [("discriminator", True), ("generator", False), ("discriminator", False)]
    assert not model.same_z and model.z == "normal" and model.image_range == (-1, 1)


def test_losses_are_those_of_the_source_with_logits():
    model = make().double().eval()
    x, z = torch.rand(6, *SHAPE, dtype=DOUBLE), torch.randn(6, 4, dtype=DOUBLE)
    fake = model.generator(z)
    real, said = torch.sigmoid(model.discriminator(2 * x - 1)), torch.sigmoid(model.discriminator(fake))
    expected = F.binary_cross_entropy(real, torch.ones_like(real)) + F.binary_cross_entropy(said, torch.zeros_like(said))
    torch.testing.assert_close(model.discriminator_loss(x, z=z)["loss"], expected)
    torch.testing.assert_close(model.generator_loss(x, z=z)["loss"], -said.log().mean())


def test_one_pass_through_the_discriminator_is_two():
    model = make(classes=3).double()
    x, labels, z = torch.rand(5, *SHAPE, dtype=DOUBLE), torch.tensor([0, 2, 1, 1, 0]), torch.randn(5, 4, dtype=DOUBLE)
    model.eval()
    terms = model.discriminator_loss(x, labels, z)
    a, b = model.discriminator(2 * x - 1, labels), model.discriminator(model.generator(z, labels), labels)
    torch.testing.assert_close(terms["loss"], F.softplus(-a).mean() + F.softplus(b).mean())
    torch.testing.assert_close(terms["real"], a.mean())


@pytest.mark.parametrize("options", [{}, {"penalty": "r1"}, {"loss": "hinge", "order": "dg", "same_z": True}])
def test_players_take_labels_and_move_their_own_weights(options):
    model = make(classes=3, orthogonal_weight=1e-4, **options)
    batch = torch.rand(4, *SHAPE), torch.tensor([0, 1, 2, 2])
    for player in model.players():
        model.zero_grad()
        terms = player.loss(*batch)
        terms["loss"].backward()
        own = {id(p) for p in player.parameters.values()}
        assert all((p.grad is not None) == (id(p) in own) for p in model.parameters())
        assert ("orthogonal" in terms) == (player.name == "generator")
    model.finish_iteration(*batch)
    assert model._labels is None


def test_labels_belong_to_models_with_classes():
    x, labels = torch.rand(2, *SHAPE), torch.tensor([0, 1])
    with pytest.raises(ArgumentError, match="has no classes"):
        make().generator_loss(x, labels)
    with pytest.raises(ArgumentError, match="has 2 classes; give it the labels"):
        make(classes=2).discriminator_loss(x)
    with pytest.raises(ArgumentError, match="loss is 'began'"):
        make(loss="began")
    with pytest.raises(ArgumentError, match="orthogonal_weight is -1"):
        make(orthogonal_weight=-1)


def test_orthogonal_penalty_has_the_gradient_of_the_source():
    net = nn.Sequential(nn.Linear(3, 7), nn.Conv2d(2, 4, 3), nn.Embedding(2, 3), nn.LayerNorm(3)).double()
    orthogonal_penalty(net).backward()
    for layer in net[:2]:
        w = layer.weight.detach().flatten(1)
        gram = w @ w.T
        torch.testing.assert_close(layer.weight.grad.flatten(1), 2 * (gram - gram.diag().diag()) @ w)
    assert net[2].weight.grad is None and net[3].weight.grad is None
    square = nn.Linear(6, 6)
    nn.init.orthogonal_(square.weight)
    assert orthogonal_penalty(square).abs() < 1e-5


def test_truncated_codes():
    model = make()
    generator = torch.Generator().manual_seed(0)
    z = model.prior(20_000, generator, truncation=0.7)
    assert z.shape == (20_000, 4) and z.abs().max() <= 0.7
    inside = torch.randn(400_000, dtype=DOUBLE)
    assert z.std().item() == pytest.approx(inside[inside.abs() < 0.7].std().item(), rel=0.02)
    assert model.sample(3, truncation=0.7).shape == (3, *SHAPE)
    again = [model.prior(5, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*again)
    for truncation in (0, -1, float("inf")):
        with pytest.raises(ArgumentError, match="truncation is"):
            model.prior(2, truncation=truncation)
    with pytest.raises(ArgumentError, match="normal codes"):
        make(z="uniform").prior(2, truncation=0.5)


@pytest.mark.parametrize("truncation", [0.7, 6.0])
def test_truncated_codes_of_an_apple_gpu_are_drawn_in_float32_of_the_same_distribution(monkeypatch, truncation):
    """A stand-in: what is asked of an Apple GPU is drawn on the CPU, which takes the quantiles of the distribution for draws."""
    n, asked = 50_000, []

    def rand(*shape, device, dtype, generator):
        asked.append((device.type, dtype))
        return torch.arange(n, dtype=dtype)[:, None] / n

    monkeypatch.setattr(torch, "rand", rand)
    like = SimpleNamespace(device=torch.device("mps"), dtype=torch.float32)
    model = SimpleNamespace(z="normal", latent_dim=1, lambda_=like)
    z = BigGAN.prior(model, n, None, truncation)
    assert asked == [("mps", torch.float32)] and z.abs().max() <= truncation and z[0] == -truncation
    normal = torch.distributions.Normal(0.0, 1.0)
    low = normal.cdf(torch.tensor(-truncation, dtype=DOUBLE))
    share = (normal.cdf(z.double()) - low) / (1 - 2 * low)
    torch.testing.assert_close(share, torch.arange(n, dtype=DOUBLE)[:, None] / n, rtol=0, atol=1e-6)


def test_samples_are_in_zero_to_one_and_of_the_classes_in_turn():
    model = make(classes=3).eval()
    z = torch.randn(5, 4)
    images = model.decode(z)
    assert images.min() >= 0 and images.max() <= 1
    torch.testing.assert_close(images, (model.generator(z, torch.tensor([0, 1, 2, 0, 1])) + 1) / 2)
    labels = torch.full((5,), 2)
    torch.testing.assert_close(model.decode(z, labels), (model.generator(z, labels) + 1) / 2)


def test_standing_statistics_are_means_over_batches():
    model = make(rule="original").eval()
    model.discriminator.train()
    codes = [model.prior(16, torch.Generator().manual_seed(i)) for i in range(2)]
    first = next(m for m in model.generator.modules() if isinstance(m, BatchNorm))
    seen = []
    first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    before = {name: b.clone() for name, b in model.named_buffers() if not name.split(".")[-1].startswith(("running", "num"))}
    generator = torch.Generator().manual_seed(5)
    model.standing_statistics(3, batch_size=16, generator=generator)
    mean, var = first.moving_statistics()
    torch.testing.assert_close(mean, torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0))
    expected = torch.stack([x.var((0, 2, 3), correction=0) for x in seen]).mean(0)
    torch.testing.assert_close(var, expected, atol=1e-5, rtol=1e-4)
    assert not model.generator.training and not first.training and model.discriminator.training
    assert all(torch.equal(b, before[name]) for name, b in model.named_buffers() if name in before)  # spectral norm's, say
    assert model.decode(codes[0]).isfinite().all()


# The autoencoder of the same parts.


@pytest.mark.parametrize("nets", ["biggan", "biggan-deep"])
def test_the_vaes_loss(nets):
    encoder, decoder = (build(SHAPE, 4, ch=4) for build in NETS[nets])
    model = VAE(encoder, decoder, data_shape=SHAPE, latent_dim=4, gamma=1.0, likelihood="squared", beta=0.1,
                image_range=(-1, 1)).double().eval()
    x = torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8)
    terms = model.loss(x, torch.Generator().manual_seed(0))
    posterior = model.encode(x)
    decoded = 2 * model.decode(posterior.sample(torch.Generator().manual_seed(0))) - 1
    error = (2 * x.double() / 255 - 1 - decoded).square().sum() / 5
    prior, own = torch.distributions.Normal(0, 1), torch.distributions.Normal(posterior.mean, posterior.std)
    kl = torch.distributions.kl_divergence(own, prior).sum() / 5
    torch.testing.assert_close(terms["reconstruction"], error)
    torch.testing.assert_close(terms["loss"], error + 0.1 * kl)
    assert "gamma" not in terms and not any(name == "log_gamma" for name, _ in model.named_parameters())


def test_the_squared_error_alone_in_its_range():
    linear = nn.Linear(2, 3)
    x = torch.rand(4, 3, dtype=DOUBLE)
    losses = [models.VAE(nn.Linear(3, 4), linear, data_shape=(3,), latent_dim=2, likelihood="squared", image_range=r)
              for r in ((0, 1), (-1, 1))]
    losses[1].load_state_dict(losses[0].state_dict())
    small, large = (m.double().loss(x, torch.Generator().manual_seed(0))["reconstruction"] for m in losses)
    torch.testing.assert_close(large, 4 * small)
    with pytest.raises(ArgumentError, match="image_range is"):
        models.VAE(linear, linear, data_shape=(3,), latent_dim=2, image_range=(0, 255))
    with pytest.raises(ArgumentError, match="one of gaussian, bernoulli, squared"):
        models.VAE(linear, linear, data_shape=(3,), latent_dim=2, likelihood="cauchy")
