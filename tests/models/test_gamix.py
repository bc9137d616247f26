"""GAMIX-VAE's objective: identities, who gets a gradient from what, the moments of whole batches and of past ones."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models import GAMIXVAE, VAE, DiagonalGaussian, GlobalMoments, ImageAdversary
from vaefast.nets import GAMIXDecoder, GAMIXEncoder, PatchGAN
from vaefast.ops import mixture_kl

SHAPE, K = (3, 8, 8), 4


def gamix(**options) -> GAMIXVAE:
    torch.manual_seed(3)
    networks = {"width": 4, "norm": options.pop("norm", "batch")}
    return GAMIXVAE(GAMIXEncoder(SHAPE, K, **networks), GAMIXDecoder(SHAPE, K, **networks), data_shape=SHAPE, latent_dim=K,
                    **options).double()


def critic(**options) -> PatchGAN:
    torch.manual_seed(4)
    return PatchGAN(3, width=8, **options).double()


def images(n: int = 7) -> Tensor:
    return torch.rand(n, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def posteriors(n: int = 23, k: int = 5) -> DiagonalGaussian:
    g = torch.Generator().manual_seed(2)
    mean = 0.3 + 0.9 * torch.randn(n, k, generator=g, dtype=torch.float64)
    return DiagonalGaussian(mean, -1 + torch.randn(n, k, generator=g, dtype=torch.float64), "logvar")


def test_the_mean_kl_is_the_global_one_and_a_remainder():
    q = posteriors()
    variance = q.std.square().mean(0) + q.mean.var(0, correction=0)
    remainder = 0.5 * (variance.log() - q.raw.mean(0)).sum()
    torch.testing.assert_close(q.kl().sum(1).mean(), GlobalMoments(5, "mixture").kl(q) + remainder, rtol=1e-12, atol=0)
    assert remainder > 0


def test_the_mixtures_divergence_lies_between():
    q = DiagonalGaussian(torch.tensor([[-1.5], [0.2], [1.1]], dtype=torch.float64),
                         torch.tensor([[-2.0], [-1.0], [-3.0]], dtype=torch.float64), "logvar")
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    log_q = torch.distributions.Normal(q.mean, q.std).log_prob(z).logsumexp(0) - math.log(3)
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z)
    exact = torch.trapezoid(log_q.exp() * (log_q - log_p), z)
    assert GlobalMoments(1, "mixture").kl(q) < exact < q.kl().mean()


@pytest.mark.parametrize("options", [{}, {"var": "mixture"}, {"reconstruction": "l2", "kl_weight": 1.0, "global_weight": 0.0}])
def test_the_loss_is_the_released_one(options):
    discriminator = critic(norm="affine")
    model, x = gamix(adversary=discriminator, **options).eval(), images()
    terms = model.loss(x, torch.Generator().manual_seed(5))
    mu, v = model.encoder(2 * x - 1)
    z = model.encode(x).sample(torch.Generator().manual_seed(5))
    x_hat = model.decoder(z)  # on [-1, 1], not clipped
    error = (2 * x - 1 - x_hat).abs().mean() if "reconstruction" not in options else (2 * x - 1 - x_hat).square().mean()
    between = (mu - mu.mean(0)).square().mean(0)
    var = between + v.exp().mean(0) if options.get("var") == "mixture" else between
    glob = (0.5 * (mu.mean(0).square() + var - var.log() - 1)).sum()
    individual = (0.1 * (v.exp() - v - 1)).sum(1).mean()
    logits = discriminator(x_hat)
    adversarial = 100 * F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    kl = (0.5 * (mu.square() + v.exp() - v - 1)).sum(1).mean()
    expected = 5000 * error + individual + adversarial
    expected = expected + options.get("global_weight", 1.0) * glob + options.get("kl_weight", 0.0) * kl
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(0.2 * terms["individual"], individual, rtol=1e-10, atol=0)
    real, fake = discriminator(2 * x - 1), logits
    expected = 100 * (F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
                      + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake)))
    found = model.discriminator_loss(x, torch.Generator().manual_seed(5))["loss"]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("var", ["means", "mixture"])
def test_the_released_form_gives_log_variances_no_gradient(var):
    model = gamix(var=var)
    model.loss(images())["global_kl"].backward()
    head = model.encoder.logvar.weight.grad
    assert model.encoder.mean.weight.grad.abs().sum() > 0
    assert (head is None or not head.any()) if var == "means" else head.abs().sum() > 0


def test_one_row_is_finite():
    assert torch.isfinite(gamix(norm="affine").loss(images(1))["loss"])


def test_logit_decoders_and_other_ranges():
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(K, 192), nn.Unflatten(1, SHAPE))
    decoder.output = "logits"
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(192, 2 * K))
    model = GAMIXVAE(encoder, decoder, data_shape=SHAPE, latent_dim=K, image_range=(0, 1)).double()
    x = (255 * images()).to(torch.uint8)
    found = model.loss(x, torch.Generator().manual_seed(1))["reconstruction"]
    again = model.reconstruct(x, torch.Generator().manual_seed(1))
    torch.testing.assert_close(found, 2 * (again - x / 255.0).abs().mean(), rtol=1e-6, atol=0)
    assert model.sample(3).shape == (3, *SHAPE)


def test_bad_settings_are_refused():
    for options, message in (({"var": "both"}, "var is 'both'"), ({"reconstruction": "l3"}, "reconstruction is 'l3'"),
                             ({"individual_weight": -1.0}, "individual_weight is -1"), ({"memory": -1}, "memory is -1"),
                             ({"adversary": "patchgan"}, "adversary is of type str"), ({"image_range": (0, 2)}, "image_range"),
                             ({"adversary": critic(), "adversarial_weight": 0}, "adversarial_weight is 0")):
        with pytest.raises(ArgumentError, match=message):
            gamix(**options)
    with pytest.raises(ArgumentError, match="no adversary"):
        gamix().discriminator_loss(images())


# The two players.


def with_adversary(kind: str) -> nn.Module:
    torch.manual_seed(3)
    if kind == "gamix":
        return gamix(adversary=critic())
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(192, 2 * K))
    decoder = nn.Sequential(nn.Linear(K, 192), nn.Unflatten(1, SHAPE), nn.Sigmoid())
    return VAE(encoder, decoder, data_shape=SHAPE, latent_dim=K, adversary=critic(), adversarial_weight=3.0).double()


@pytest.mark.parametrize("kind", ["gamix", "vae"])
def test_gradients_and_statistics_never_leak(kind):
    model, x = with_adversary(kind), images()
    autoencoder, discriminator = model.players()
    ours, theirs = set(map(id, autoencoder.parameters.values())), set(map(id, discriminator.parameters.values()))
    assert not ours & theirs and len(ours) + len(theirs) == len(list(model.parameters()))
    before = {n: b.clone() for n, b in model.adversary.named_buffers()}
    autoencoder.loss(x)["loss"].backward()
    assert all(p.grad is None for p in discriminator.parameters.values())
    assert all(p.grad is not None for p in autoencoder.parameters.values())
    assert all(torch.equal(before[n], b) for n, b in model.adversary.named_buffers())
    model.zero_grad(set_to_none=True)
    discriminator.loss(x)["loss"].backward()
    assert all(p.grad is None for p in autoencoder.parameters.values())
    assert all(p.grad is not None for p in discriminator.parameters.values())


@pytest.mark.parametrize("kind", ["gamix", "vae"])
def test_the_discriminator_judges_the_reconstructions_of_the_other_turn(kind):
    model, x = with_adversary(kind), images(6)
    autoencoder, discriminator = model.players()
    seen: list[Tensor] = []
    model.adversary.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    parts = [(x[:3],), (x[3:],)]
    with autoencoder.around(parts):
        for part in parts:
            autoencoder.loss(*part)
    for part in parts:
        discriminator.loss(*part)
    first, second, real, fake, real2, fake2 = seen
    assert torch.equal(first, fake) and torch.equal(second, fake2)
    torch.testing.assert_close(torch.cat([real, real2]), 2 * x - 1)
    discriminator.loss(x)  # nothing is left over: it makes its own
    assert len(seen[-1]) == 6


def test_adversaries_weight_can_be_scheduled_and_the_discriminators_stays():
    model, x = with_adversary("vae"), images()
    base = model.adversary.loss(x, lambda: x)["loss"]
    model.adversary.weight.fill_(0.0)
    assert base > 0 and model.adversary.loss(x, lambda: x)["loss"] > 0
    assert "adversary.weight" in dict(model.named_buffers())
    terms = model.loss(x)
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["kl"])


def test_a_user_s_adversary_module_is_taken_as_it_is():
    adversary = ImageAdversary(critic(), 7.0)
    assert gamix(adversary=adversary).adversary is adversary


# Moments of more than a part.


def split(q: DiagonalGaussian, n: int) -> list[DiagonalGaussian]:
    return [DiagonalGaussian(m, r, q.param) for m, r in zip(q.mean.chunk(n), q.raw.chunk(n))]


@pytest.mark.parametrize("var", ["means", "mixture"])
def test_parts_of_a_batch_have_the_moments_and_the_gradient_of_the_whole(var):
    q = posteriors(24)
    leaves = [q.mean.clone().requires_grad_(), q.raw.clone().requires_grad_()]
    whole = mixture_kl(*leaves, var=var)
    expected = [torch.zeros_like(leaf) if g is None else g for leaf, g in
                zip(leaves, torch.autograd.grad(whole, leaves, allow_unused=True))]
    parts = split(DiagonalGaussian(*leaves, "logvar"), 4)
    moments = GlobalMoments(5, var).double()
    with moments.over(parts):
        values = [moments.kl(part) for part in parts]
    for value in values:
        torch.testing.assert_close(value, whole, rtol=1e-10, atol=1e-12)
    for leaf, g in zip(leaves, expected):
        found = torch.autograd.grad(sum(values) / 4, leaf, allow_unused=True, retain_graph=True)[0]
        torch.testing.assert_close(torch.zeros_like(leaf) if found is None else found, g, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(moments.kl(parts[0]), mixture_kl(parts[0].mean, parts[0].raw, var=var))  # on its own again


@pytest.mark.parametrize("var", ["means", "mixture"])
def test_the_memory_counts_past_batches_and_forgets(var):
    moments, batches = GlobalMoments(5, var, memory=3).double(), split(posteriors(36), 6)
    for i, batch in enumerate(batches):
        recent = batches[max(0, i - 3):i + 1]
        expected = mixture_kl(torch.cat([b.mean for b in recent]), torch.cat([b.raw for b in recent]), var=var)
        torch.testing.assert_close(moments.kl(batch), expected, rtol=1e-10, atol=1e-12)
    moments.eval()
    count = moments.count.clone()
    moments.kl(batches[0])
    assert torch.equal(count, moments.count)


def test_the_gradient_under_memory_is_that_of_the_batch_at_the_moments_of_all():
    first, second = split(posteriors(24), 2)
    moments = GlobalMoments(5, "mixture", memory=1).double()
    moments.kl(first)
    mean, raw = second.mean.clone().requires_grad_(), second.raw.clone().requires_grad_()
    moments.kl(DiagonalGaussian(mean, raw, "logvar")).backward()
    variance = posteriors(24).mean.var(0, correction=0) + posteriors(24).std.square().mean(0)
    # d/dmu_i of KL(A, B - A^2) by the raw moments A, B of all 24 rows, as this batch's 12 rows move them
    total = posteriors(24).mean.mean(0)
    slope = 0.5 * (1 - 1 / variance)
    expected = (total + slope * 2 * (second.mean - total)) / 12
    torch.testing.assert_close(mean.grad, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(raw.grad, slope * second.raw.exp() / 12, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("memory", [0, 2])
def test_an_accumulated_batch_trains_as_a_whole_one(memory):
    def step(n: int) -> tuple[list[Tensor], Tensor]:
        model = gamix(norm="group", memory=memory, reconstruction_weight=0.0, individual_weight=0.3, var="mixture")
        x = images(8)
        for batch in (x.flip(0), x):
            model.zero_grad()
            autoencoder, = model.players()
            parts = [(p,) for p in batch.chunk(n)]
            total = 0.0
            with autoencoder.around(parts):
                for part in parts:
                    terms = autoencoder.loss(*part)
                    (terms["loss"] / n).backward()
                    total = total + terms["loss"].detach() / n
        return [p.grad for p in model.encoder.parameters()], total

    (whole, value), (parts, other) = step(1), step(4)
    torch.testing.assert_close(value, other, rtol=1e-9, atol=0)
    for a, b in zip(whole, parts):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-12)


def test_taking_the_moments_leaves_no_trace_in_the_encoder():
    model = gamix()
    before = [b.clone() for b in model.encoder.buffers()]
    with model.players()[0].around([(images(3),), (images(3),)]):
        pass
    assert all(torch.equal(a, b) for a, b in zip(before, model.encoder.buffers()))


def test_collapse_terms():
    model = gamix()
    terms, q = model.loss(images()), model.encode(images())
    kl = q.kl().mean(0)
    assert terms["kl_dimensions"] == (kl > 0.01).sum() and terms["active_dimensions"] == (q.std.square().mean(0) < 0.5).sum()
    torch.testing.assert_close(terms["kl_largest"], kl.max())
    torch.testing.assert_close(terms["posterior_variance"], q.std.square().mean())
