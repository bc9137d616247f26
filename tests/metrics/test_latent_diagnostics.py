import math

import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.metrics import importance_weighted_bound, kl_decomposition, latent_mmd, posterior_spectrum
from vaefast.metrics.mmd import _student_t


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_spectrum():
    std = torch.tensor([[0.1, 1.0, 0.5], [0.3, 1.0, 0.5]])
    torch.testing.assert_close(posterior_spectrum(std), torch.tensor([1.0, 0.25, 0.05], dtype=torch.float64))
    for bad in (std[0], -std, std * float("nan"), std[:0]):
        with pytest.raises(ArgumentError):
            posterior_spectrum(bad)


def test_kl_terms_of_posteriors_that_tell_nothing():
    found = kl_decomposition(torch.zeros(50, 3), torch.ones(50, 3))
    assert found.kl == pytest.approx(0, abs=1e-12) and found.mutual_information == pytest.approx(0, abs=1e-12)
    assert found.exact_kl == 0 and found.n == 50 and found.per_dimension_kl.shape == (3,)


def test_kl_terms_of_posteriors_that_tell_everything():
    # Means N(0, 1 - s^2): the aggregate is N(0, I). Information is -log s a dimension, as long as that is below log n.
    n, s = 3000, 0.5
    found = kl_decomposition(normal(n, 2, seed=1) * (1 - s**2) ** 0.5, torch.full((n, 2), s, dtype=torch.float64), draws=4)
    assert found.mutual_information == pytest.approx(-2 * math.log(s), abs=0.06)
    assert found.total_correlation == pytest.approx(0, abs=0.03) and found.dimension_wise_kl == pytest.approx(0, abs=0.03)
    assert found.kl == pytest.approx(found.mutual_information + found.total_correlation + found.dimension_wise_kl, abs=1e-9)
    assert found.kl == pytest.approx(found.exact_kl, abs=0.06)
    assert float(found.per_dimension_kl.sum()) == pytest.approx(found.dimension_wise_kl)
    far = kl_decomposition(normal(40, 2) * 100, torch.full((40, 2), 1e-3, dtype=torch.float64))
    assert far.mutual_information == pytest.approx(math.log(40), abs=0.2)  # no more than log n can show
    twins = normal(n, 1, seed=1).repeat(1, 2) * (1 - s**2) ** 0.5
    assert kl_decomposition(twins, torch.full((n, 2), s, dtype=torch.float64)).total_correlation > 0.2


@pytest.mark.parametrize("mean, std, draws", [
    (torch.zeros(5, 2), torch.ones(5, 3), 1), (torch.zeros(1, 2), torch.ones(1, 2), 1), (torch.zeros(5, 2), torch.zeros(5, 2), 1),
    (torch.full((5, 2), math.nan), torch.ones(5, 2), 1), (torch.zeros(5, 2), torch.ones(5, 2), 0),
])  # fmt: skip
def test_kl_refuses(mean, std, draws):
    with pytest.raises(ArgumentError):
        kl_decomposition(mean, std, draws=draws)


class LinearModel:
    """x = W z + noise of variance v: log p(x) and the posterior are known."""

    def __init__(self):
        self.w, self.v = normal(6, 2, seed=3), 0.3
        self.x = normal(40, 2, seed=4) @ self.w.T + normal(40, 6, seed=5) * self.v**0.5
        # A diagonal posterior is exact only for orthogonal columns.
        self.w = torch.linalg.qr(self.w)[0] * torch.tensor([1.5, 0.7], dtype=torch.float64)

    def log_px(self):
        cov = self.w @ self.w.T + self.v * torch.eye(6, dtype=torch.float64)
        return torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), cov).log_prob(self.x).mean().item()

    def encode(self, x, factor=1.0):
        precision = 1 + self.w.square().sum(0) / self.v
        mean = x @ self.w / self.v / precision
        return mean * factor, (factor / precision.sqrt()).expand_as(mean)

    def log_likelihood(self, x, z):
        return torch.distributions.Normal(z @ self.w.T, self.v**0.5).log_prob(x).sum(1)


def test_the_bound_is_exact_with_the_true_posterior_and_rises_without():
    model = LinearModel()
    exact = importance_weighted_bound(model.x, model.encode, model.log_likelihood, samples=3, batch_size=7)
    assert exact.value == pytest.approx(model.log_px(), abs=1e-9) and exact.elbo == pytest.approx(exact.value)
    assert exact[3:] == (40, 3) and exact.standard_error > 0

    def off(x):
        return model.encode(x, factor=1.3)

    one, many = (importance_weighted_bound(model.x, off, model.log_likelihood, samples=k) for k in (1, 500))
    assert one.value == one.elbo < many.elbo + 0.3 and many.elbo < many.value <= model.log_px() + 0.05
    assert many.value == pytest.approx(model.log_px(), abs=0.05)


def test_the_bound_refuses():
    model = LinearModel()
    for bad in ({"samples": 0}, {"batch_size": 0}):
        with pytest.raises(ArgumentError, match="expected an int"):
            importance_weighted_bound(model.x, model.encode, model.log_likelihood, **bad)
    with pytest.raises(ArgumentError, match="encode gave"):
        importance_weighted_bound(model.x, lambda x: (x[:1], x[:1]), model.log_likelihood)
    with pytest.raises(ArgumentError, match="log_likelihood gave"):
        importance_weighted_bound(model.x, model.encode, lambda x, z: z)
    with pytest.raises(ArgumentError, match="no images"):
        importance_weighted_bound(model.x[:0], model.encode, model.log_likelihood)


def test_mmd_interval():
    found = latent_mmd(normal(1000, 8, seed=6))
    assert found["low"] < found["value"] < found["high"] and found["low"] < 0 < found["high"]
    reach = found["value"] - found["low"]
    assert reach == pytest.approx(2.7764451 * found["standard_error"], rel=1e-6)
    assert latent_mmd(normal(1000, 8, seed=6), confidence=0.5)["high"] < found["high"]
    assert latent_mmd(normal(1000, 8, seed=6) * 0.5)["low"] > 0
    with pytest.raises(ArgumentError, match="confidence"):
        latent_mmd(normal(100, 8), confidence=95)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 10, 199])
def test_quantiles_are_students(degrees):
    special = pytest.importorskip("scipy.special")
    for confidence in (0.01, 0.5, 0.95, 0.999999):
        assert _student_t(degrees, confidence) == pytest.approx(special.stdtrit(degrees, 0.5 + confidence / 2), rel=1e-9)
