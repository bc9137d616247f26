"""The objective family: each regulariser against its formula, and the members that have classes of their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vaefast import ops
from vaefast.errors import ArgumentError
from vaefast.models import REGULARIZERS, VAE, WAE, GeneralVAE, make_regularizer
from vaefast.models.player import players_of
from vaefast.models.regularizers import Regularizer
from vaefast.nets import LatentAdversary

K, D = 3, 6


def logits() -> nn.Module:
    made = nn.Linear(K, D)
    made.output = "logits"
    return made


def general(regularizer="none", heads: int = 2, **options) -> GeneralVAE:
    torch.manual_seed(2)
    return GeneralVAE(nn.Linear(D, heads * K), logits(), data_shape=(D,), latent_dim=K, regularizer=regularizer, **options)


def parts(model: GeneralVAE, x: torch.Tensor, seed: int = 3):
    """mu, log s, z and the reconstruction term, by the same noise."""
    torch.manual_seed(seed)
    mu, raw = model.encoder(x).chunk(2, 1)
    z = ops.reparam_kl(mu, raw)[0]
    return mu, 0.5 * raw, z, model.family.nll(x, model.decoder(z)).mean()


def loss(model, x, seed: int = 3):
    torch.manual_seed(seed)
    return model(x)


def kl_of(mu, log_s):
    return (0.5 * (mu.square() + (2 * log_s).exp() - 1) - log_s).sum(1)


FORMULAS = {
    "elbo": lambda mu, log_s, z: kl_of(mu, log_s).mean(),
    "none": lambda mu, log_s, z: torch.zeros((), dtype=z.dtype),
    "l2norm": lambda mu, log_s, z: 0.5 * z.square().sum(1).mean(),
    "center": lambda mu, log_s, z: (0.5 * mu.square() - log_s).sum(1).mean(),
    "tc": lambda mu, log_s, z: (kl_of(mu, log_s).mean() + 5 * ops.total_correlation(z, mu, log_s, param="logstd")),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_regularisers_are_their_formulas(name):
    model, x = general(name).double(), torch.rand(7, D, dtype=torch.float64)
    mu, log_s, z, reconstruction = parts(model, x)
    terms = loss(model, x)
    expected = FORMULAS[name](mu, log_s, z)
    torch.testing.assert_close(terms["regularizer"], expected)
    torch.testing.assert_close(terms["loss"], reconstruction + expected)
    torch.testing.assert_close(terms["reconstruction"], reconstruction)
    terms["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_total_correlation_by_minibatch_weighted_sampling():
    """Chen et al.'s estimator, pair by pair; the size of the data set shifts it and moves no gradient."""
    x, size = torch.rand(7, D, dtype=torch.float64), 500
    plain, weighted = general("tc", beta=4.0).double(), general("tc", beta=4.0, dataset_size=size).double()
    mu, log_s, z, _ = parts(plain, x)
    log_q = torch.distributions.Normal(mu[None], log_s.exp()[None]).log_prob(z[:, None])  # [i, j, k]
    shift = torch.log(torch.tensor(7.0 * size, dtype=torch.float64))
    tc = ((log_q.sum(2).logsumexp(1) - shift) - (log_q.logsumexp(1) - shift).sum(1)).mean()
    a, b = loss(plain, x), loss(weighted, x)
    torch.testing.assert_close(b["total_correlation"], tc)
    torch.testing.assert_close(b["regularizer"] - a["regularizer"],
                               3 * (K - 1) * torch.log(torch.tensor(float(size), dtype=torch.float64)))
    for p, q in zip(torch.autograd.grad(a["loss"], list(plain.parameters())),
                    torch.autograd.grad(b["loss"], list(weighted.parameters()))):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize(("family", "beta"), [("bernoulli", 1.0), ("gaussian", 4.0)])
def test_the_vae_is_a_member(family, beta):
    x = torch.rand(8, D)
    model = general("elbo", beta=beta, family=family)
    vae = VAE(model.encoder, model.decoder, data_shape=(D,), latent_dim=K, likelihood=family, beta=beta)
    a, b = loss(model, x), loss(vae, x)
    for name in b:
        torch.testing.assert_close(a[name], b[name])
    torch.testing.assert_close(a["regularizer"], beta * b["kl"])
    z = torch.randn(2, K)
    assert torch.equal(model.decode(z), vae.decode(z))
    assert torch.equal(model.sample(3, torch.Generator().manual_seed(1)), vae.sample(3, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("penalty", ["mmd", "adversarial"])
def test_the_wae_is_a_member(penalty):
    """Fixed Gaussian noise with 1 / (2 gamma^2) = 0.05 is the cost of the WAE, up to a constant."""
    x = torch.rand(8, D)
    options = {"adversary": LatentAdversary(K, 8, 2)} if penalty == "adversarial" else {}
    model = general(penalty, heads=1, family="gaussian", gamma=10**0.5, posterior="deterministic", lambda_=7.0, **options)
    wae = WAE(model.encoder, model.decoder, data_shape=(D,), latent_dim=K, lambda_=7.0,
              penalty={"mmd": "mmd", "adversarial": "gan"}[penalty], **options)
    a, b = loss(model, x), loss(wae, x)
    torch.testing.assert_close(a["penalty"], b["penalty"])
    constant = D * (0.5 * torch.log(torch.tensor(10.0)) + ops.HALF_LOG_2PI)
    torch.testing.assert_close(a["loss"] - constant, b["loss"])
    assert [p.name for p in players_of(model)] == [p.name for p in players_of(wae)] or penalty == "mmd"
    if penalty == "adversarial":
        torch.manual_seed(5)
        ours = model.adversary_loss(x)
        torch.manual_seed(5)
        theirs = wae.adversary_loss(x)
        torch.testing.assert_close(ours, theirs)
        (first, second) = players_of(model)
        grads = torch.autograd.grad(ours["loss"], [*first.parameters.values(), *second.parameters.values()], allow_unused=True)
        assert all(g is None for g in grads[:len(first.parameters)]) and all(g is not None for g in grads[len(first.parameters):])
        assert not set(map(id, first.parameters.values())) & set(map(id, second.parameters.values()))


def test_the_info_vae_lies_between():
    x = torch.rand(8, D)
    alpha, lambda_ = 0.3, 5.0
    terms = loss(general("info", alpha=alpha, lambda_=lambda_), x)
    torch.testing.assert_close(terms["regularizer"], (1 - alpha) * terms["kl"] + (alpha + lambda_ - 1) * terms["penalty"])
    elbo = loss(general("info", alpha=0.0, lambda_=1.0), x)
    torch.testing.assert_close(elbo["loss"], loss(general("elbo"), x)["loss"])
    torch.testing.assert_close(loss(general("info", alpha=1.0, lambda_=5.0), x)["loss"],
                               loss(general("mmd", lambda_=5.0), x)["loss"])


def test_a_regulariser_of_ones_own():
    x = torch.rand(8, D)
    model = general(lambda mu, scale, z: (0.5 * (mu.square() + scale.square() - 1) - scale.log()).sum(1))
    torch.testing.assert_close(loss(model, x)["loss"], loss(general("elbo"), x)["loss"])
    scalar = general(lambda mu, scale, z: z.square().mean())
    assert loss(scalar, x)["regularizer"].ndim == 0

    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.ones(()))

        def forward(self, mu, scale, z):
            return self.a * mu.square().sum(1)

    model = general(Learned())
    assert "regularizer.function.a" in players_of(model)[0].parameters
    with pytest.raises(ArgumentError, match="returned shape"):
        general(lambda mu, scale, z: z)(x)
    with pytest.raises(ArgumentError, match="a float"):
        general(lambda mu, scale, z: 1.0)(x)


def test_mean_reductions_weigh_as_the_published_code():
    """784 pixels and 10 latent dimensions: the KL counts 78.4 times."""
    torch.manual_seed(0)
    decoder = nn.Linear(10, 784)
    decoder.output = "logits"
    encoder, x = nn.Linear(784, 20), torch.rand(4, 784, dtype=torch.float64)
    both = [GeneralVAE(encoder, decoder, data_shape=(784,), latent_dim=10, **o).double()
            for o in ({"reduction": "mean"}, {"beta": 78.4})]
    mean, heavy = (loss(m, x) for m in both)
    torch.testing.assert_close(784 * mean["loss"], heavy["loss"], rtol=1e-7, atol=1e-7)  # 78.4 is a float32 buffer's
    torch.testing.assert_close(784 * mean["reconstruction"], heavy["reconstruction"])
    torch.testing.assert_close(mean["kl"], heavy["kl"])


@pytest.mark.parametrize("family", ["laplace", "logistic-mixture", "categorical"])
def test_other_families_train(family):
    torch.manual_seed(0)
    shape, x = (1, 3, 5), torch.randint(0, 256, (8, 1, 3, 5), dtype=torch.uint8)
    raw = {"laplace": 1, "logistic-mixture": 30, "categorical": 256}[family]
    decoder = nn.Sequential(nn.Linear(K, raw * 15), nn.Unflatten(1, (raw, 3, 5)))
    decoder.output = "logits"
    model = GeneralVAE(nn.Sequential(nn.Flatten(), nn.Linear(15, 2 * K)), decoder, data_shape=shape, latent_dim=K, family=family)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(80):
        terms = model(x)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(terms["loss"].item())
    assert losses[-1] < losses[0] and ("gamma" in terms) == (family == "laplace")
    assert model.reconstruct(x).shape == model.draw(torch.randn(8, K)).shape == x.shape
    assert model.log_likelihood(x, torch.randn(8, K)).shape == (8,)


class Autoregressive(nn.Module):
    """p(x_i | x_<i, z) by a masked linear map, drawn one value after the other."""

    autoregressive = True
    family = "bernoulli"
    output = "logits"

    def __init__(self):
        super().__init__()
        self.of_z, self.of_x = nn.Linear(K, D), nn.Parameter(torch.randn(D, D))

    def forward(self, z, x):
        return self.of_z(z) + x @ self.of_x.tril(-1).T

    def generate(self, z, generator=None, uniforms=None):
        x = torch.zeros(len(z), D)
        for i in range(D):
            x[:, i] = torch.bernoulli(torch.sigmoid(self(z, x)[:, i]), generator=generator)
        return x


def test_an_autoregressive_decoder_sees_the_image_and_draws():
    model = GeneralVAE(nn.Linear(D, 2 * K), Autoregressive(), data_shape=(D,), latent_dim=K)
    x, z = torch.randint(0, 2, (5, D)).float(), torch.randn(5, K)
    expected = torch.distributions.Bernoulli(logits=model.decoder(z, x)).log_prob(x).sum(1)
    torch.testing.assert_close(model.log_likelihood(x, z), expected)
    a, b = (model.decode(z, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b) and set(a.unique().tolist()) <= {0.0, 1.0}
    assert torch.isfinite(model((x * 255).to(torch.uint8))["loss"])


def test_weights_can_be_scheduled():
    model = general("elbo", beta=2.0)
    assert "regularizer.beta" in dict(model.named_buffers())
    x = torch.rand(8, D)
    model.regularizer.beta.fill_(0.0)
    torch.testing.assert_close(loss(model, x)["loss"], loss(general("none"), x)["loss"])


@pytest.mark.parametrize(("options", "message"), [
    ({"regularizer": "kl"}, "regularizer is 'kl'"), ({"regularizer": "none", "beta": 2.0}, "has no settings"),
    ({"regularizer": "mmd", "beta": 2.0}, "only lambda"), ({"regularizer": "elbo", "beta": -1.0}, "beta is -1.0"),
    ({"regularizer": "info", "alpha": 2.0}, "alpha is 2.0"), ({"reduction": "max"}, "reduction is 'max'"),
    ({"regularizer": "center", "posterior": "deterministic"}, "infinite"), ({"family": "poisson"}, "family is"),
    ({"regularizer": lambda mu, s, z: z.sum(), "beta": 2.0}, "of your own")])
def test_settings_that_cannot_work(options, message):
    with pytest.raises(ArgumentError, match=message):
        general(**{"regularizer": "elbo", **options})


def test_every_name_makes_a_regulariser():
    assert all(isinstance(make_regularizer(name, K), Regularizer) for name in REGULARIZERS)
    with pytest.raises(ArgumentError, match="penalty 'mmd' and no adversary"):
        make_regularizer("mmd", K).adversary_logits(torch.zeros(2, K))
