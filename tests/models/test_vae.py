"""The VAE's loss, gamma and KL against the reference's numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vaefast.errors import ArgumentError
from vaefast.models import VAE, DiagonalGaussian
from vaefast.models.likelihood import bernoulli_nll, gaussian_nll, optimal_log_gamma, optimally_scaled_nll


@pytest.mark.parametrize(("dims", "value"), [(784, 720.441), (3072, 2822.953), (12288, 11291.812)])
def test_gaussian_nll_of_a_perfect_reconstruction_at_gamma_one(dims, value):
    x = torch.rand(3, dims, dtype=torch.float64)
    zero = torch.zeros((), dtype=torch.float64)
    exact = gaussian_nll(x, x, zero)
    assert exact.tolist() == pytest.approx([dims * 0.5 * math.log(2 * math.pi)] * 3)
    assert gaussian_nll(x, x, zero, constant=0.91893).tolist() == pytest.approx([value] * 3, abs=6e-4)


def test_gaussian_nll_is_the_normal_density():
    x, mean = torch.rand(4, 2, 5, 3, dtype=torch.float64), torch.rand(4, 2, 5, 3, dtype=torch.float64)
    log_gamma = torch.tensor(-1.3, dtype=torch.float64)
    expected = -torch.distributions.Normal(mean, log_gamma.exp()).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(gaussian_nll(x, mean, log_gamma), expected)


def test_gradient_with_respect_to_log_gamma():
    x, mean = torch.rand(4, 30, dtype=torch.float64), torch.rand(4, 30, dtype=torch.float64)
    log_gamma = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    gaussian_nll(x, mean, log_gamma).mean().backward()
    expected = 30 - ((x - mean) / log_gamma.detach().exp()).square().sum(1).mean()
    torch.testing.assert_close(log_gamma.grad, expected)


def test_log_gamma_alone_ends_at_the_root_mean_squared_error():
    x, mean = torch.rand(16, 50, dtype=torch.float64), torch.rand(16, 50, dtype=torch.float64)
    log_gamma = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_gamma], max_iter=100, tolerance_grad=1e-10, tolerance_change=1e-14,
                                  line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = gaussian_nll(x, mean, log_gamma).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    mse = (x - mean).square().mean()
    assert math.exp(2 * log_gamma.item()) == pytest.approx(mse.item(), rel=1e-6)
    assert closure().item() == pytest.approx(50 * (0.5 + log_gamma.item() + 0.5 * math.log(2 * math.pi)), rel=1e-9)
    assert optimal_log_gamma(x, mean).item() == pytest.approx(log_gamma.item(), rel=1e-6)


def test_bernoulli_nll():
    x, logits = torch.rand(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    p = torch.sigmoid(logits)
    torch.testing.assert_close(bernoulli_nll(x, logits), -(x * p.log() + (1 - x) * (1 - p).log()).sum(1))


@pytest.mark.parametrize("param", ["logvar", "logstd", "softplus"])
def test_kl_against_monte_carlo_and_zero_at_the_prior(param):
    mean, raw = torch.randn(2, 6), 0.3 * torch.randn(2, 6)
    q = DiagonalGaussian(mean, raw, param)
    normal = torch.distributions.Normal(q.mean, q.std)
    draws = normal.sample((200_000,))
    monte_carlo = (normal.log_prob(draws) - torch.distributions.Normal(0.0, 1.0).log_prob(draws)).sum(-1)
    error = monte_carlo.std(0) / draws.shape[0] ** 0.5
    assert ((monte_carlo.mean(0) - q.kl().sum(1)).abs() < 5 * error).all()
    torch.testing.assert_close(q.sample_and_kl()[1], q.kl().sum(1))
    unit = {"logvar": 0.0, "logstd": 0.0, "softplus": math.log(math.e - 1)}[param]
    prior = DiagonalGaussian(torch.zeros(2, 6), torch.full((2, 6), unit), param)
    assert prior.kl().abs().max() < 1e-6


class Toy(nn.Module):
    """Linear encoder of data [B, 5]."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(5, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def toy(**options) -> VAE:
    return VAE(Toy(6), nn.Linear(3, 5), data_shape=(5,), latent_dim=3, **options)


def test_loss_is_the_sum_of_its_terms_over_dimensions_and_mean_over_the_batch():
    model, x = toy(), torch.rand(8, 5)
    torch.manual_seed(3)
    terms = model(x)
    torch.manual_seed(3)
    q = model.encode(x)
    z, kl = q.sample_and_kl()
    reconstruction = gaussian_nll(x, model.decode(z), model.log_gamma).mean()
    torch.testing.assert_close(terms["reconstruction"], reconstruction)
    torch.testing.assert_close(terms["kl"], kl.mean())
    torch.testing.assert_close(terms["loss"], reconstruction + kl.mean())
    assert terms["gamma"] == 1 and not terms["gamma"].requires_grad


def test_gamma_modes():
    x = torch.rand(8, 5)
    learned, fixed, optimal = toy(gamma="learned", gamma_init=0.5), toy(gamma=0.3), toy(gamma="optimal")
    assert "log_gamma" in dict(learned.named_parameters()) and learned.gamma.item() == pytest.approx(0.5)
    assert "log_gamma" not in dict(fixed.named_parameters()) and fixed.gamma.item() == pytest.approx(0.3)
    before = optimal.log_gamma.clone()
    optimal(x)
    assert not torch.equal(optimal.log_gamma, before)
    optimal.eval()
    before = optimal.log_gamma.clone()
    optimal(x)
    assert torch.equal(optimal.log_gamma, before)


def test_optimal_gamma_gives_the_closed_form_loss():
    model, x = toy(gamma="optimal"), torch.rand(8, 5)
    torch.manual_seed(1)
    terms = model(x)
    torch.manual_seed(1)
    mse = (x - model.decode(model.encode(x).sample())).square().mean()
    assert terms["reconstruction"].item() == pytest.approx(
        5 * (0.5 + 0.5 * math.log(mse.item()) + 0.5 * math.log(2 * math.pi)), rel=1e-5)


def test_uint8_images_equal_their_scaled_floats():
    model = VAE(nn.Sequential(nn.Flatten(), nn.Linear(4, 6)), nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (1, 2, 2))),
                data_shape=(1, 2, 2), latent_dim=3)
    x = torch.randint(0, 256, (6, 1, 2, 2), dtype=torch.uint8)
    torch.manual_seed(1)
    a = model(x)["loss"]
    torch.manual_seed(1)
    assert torch.equal(a, model(x.float() / 255)["loss"])


@pytest.mark.parametrize("options", [{"gamma": "fast"}, {"gamma": 0.0}, {"gamma": float("nan")}, {"likelihood": "poisson"},
                                     {"likelihood": "bernoulli"}])
def test_settings_that_cannot_work_are_refused(options):
    with pytest.raises(ArgumentError):
        toy(**options)


@pytest.mark.parametrize("gamma", ["learned", "optimal", 0.3])
def test_a_decoder_of_logits_equals_one_of_images(gamma):
    """The sigmoid fused into the sum, and uint8 data, change neither the terms nor the gradients."""
    x = torch.randint(0, 256, (6, 1, 2, 2), dtype=torch.uint8)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, 6))
    logits = nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (1, 2, 2)))
    logits.output = "logits"
    results = []
    for decoder, data in [(logits, x), (nn.Sequential(logits, nn.Sigmoid()), x.float() / 255)]:
        model = VAE(encoder, decoder, data_shape=(1, 2, 2), latent_dim=3, gamma=gamma)
        torch.manual_seed(1)
        terms = model(data)
        grads = torch.autograd.grad(terms["loss"], tuple(model.parameters()))
        results.append((terms["loss"], terms["reconstruction"], model.gamma, *grads))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_the_optimally_scaled_nll_is_the_nll_at_the_optimal_gamma():
    x, logits = torch.randint(0, 256, (4, 3, 5), dtype=torch.uint8), torch.randn(4, 3, 5, dtype=torch.float64)
    nll, log_gamma = optimally_scaled_nll(x, logits, from_logits=True)
    torch.testing.assert_close(log_gamma, optimal_log_gamma(x / 255.0, logits.sigmoid()))
    torch.testing.assert_close(nll, gaussian_nll(x, logits, log_gamma, from_logits=True))


@pytest.mark.parametrize("steps", [5, 40, 150])
def test_evaluation_of_a_short_training_has_the_gamma_of_its_weights(steps):
    """The moving mean began at 1, and was 0.66 after 40 steps where errors were 0.25: bounds and validation losses were wrong."""
    model = toy(gamma="optimal")
    data = torch.rand(256, 5, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        optimizer.zero_grad()
        model(data[step * 32 % 256 :][:32])["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        error = (data - model.train(False).reconstruct(data)).square().mean().sqrt()
    assert model.gamma.item() == pytest.approx(error.item(), rel=0.4)  # it was 400 % off


def test_weights_from_before_batches_were_counted_load(tmp_path):
    import json
    from hashlib import sha256

    import safetensors.torch as st

    import vaefast

    model = vaefast.VAE((1, 8, 8), 2, gamma="optimal")
    model.save(tmp_path)
    tensors = st.load_file(tmp_path / "model.safetensors")
    (counted,) = [name for name in tensors if name.endswith("gamma_batches")]
    st.save_file({name: t for name, t in tensors.items() if name != counted}, tmp_path / "model.safetensors")
    settings = json.loads((tmp_path / "model.json").read_text())
    settings["sha256"] = sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    (tmp_path / "model.json").write_text(json.dumps(settings))
    assert vaefast.load(tmp_path).state_dict()[counted] == 10**6  # as if its mean had long been that of a hundred batches
