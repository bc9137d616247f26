"""The estimate of the mutual information: where it is known, and at both ends."""

from __future__ import annotations

import math

import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.metrics import kl_decomposition, mutual_information


def test_codes_that_are_independent_of_the_images_tell_nothing():
    n = 3000
    found = mutual_information(torch.zeros(n, 5), torch.ones(n, 5))
    assert found.value == pytest.approx(0, abs=1e-9) and found.n == n and found.ceiling == pytest.approx(math.log(n))
    # nearly independent: noise of either sign, within the error's reach
    near = mutual_information(0.003 * torch.randn(n, 5, generator=torch.Generator().manual_seed(1)), torch.ones(n, 5))
    exact = 5 * 0.5 * math.log1p(0.003**2)
    assert abs(near.value - exact) < 5 * near.standard_error + 1e-6


@pytest.mark.parametrize("n", [2, 1001])
def test_disjoint_posteriors_reach_the_ceiling(n):
    found = mutual_information(100.0 * torch.arange(n)[:, None] * torch.ones(1, 3), torch.full((n, 3), 1e-3))
    assert found.value == pytest.approx(math.log(n), abs=1e-9) and found.standard_error < 1e-9


def test_a_linear_gaussian_channel():
    """mean ~ N(0, a^2), std s: I = k/2 log(1 + a^2 / s^2), well below log n."""
    n, k, a, s = 6000, 2, 1.0, 0.5
    rng = torch.Generator().manual_seed(2)
    found = mutual_information(a * torch.randn(n, k, generator=rng), torch.full((n, k), s), seed=1)
    exact = 0.5 * k * math.log1p((a / s) ** 2)
    assert abs(found.value - exact) < 4 * found.standard_error + 0.02
    assert found.standard_error == pytest.approx(1 / math.sqrt(n), rel=0.5)


def test_in_log_space_where_densities_underflow():
    n, k = 500, 200
    rng = torch.Generator().manual_seed(3)
    found = mutual_information(torch.randn(n, k, generator=rng), torch.full((n, k), 20.0))
    assert math.isfinite(found.value) and abs(found.value) < 0.5 * k * math.log1p(1 / 400) + 5 * found.standard_error


def test_it_is_the_direct_sum_and_that_of_the_decomposition():
    rng = torch.Generator().manual_seed(4)
    mean, std = torch.randn(40, 3, generator=rng, dtype=torch.float64), torch.rand(40, 3, generator=rng).double() + 0.2
    z = mean + std * torch.randn(40, 3, generator=rng, dtype=torch.float64)
    log_q = torch.distributions.Normal(mean[None], std[None]).log_prob(z[:, None]).sum(2)
    expected = (log_q.diagonal() - log_q.logsumexp(1) + math.log(40)).mean()
    assert mutual_information(mean, std, z=z).value == pytest.approx(expected.item(), abs=1e-10)
    assert mutual_information(mean, std, seed=7).value == pytest.approx(kl_decomposition(mean, std, seed=7).mutual_information)


@pytest.mark.parametrize(("words", "options"), [
    ((torch.zeros(3, 2), torch.ones(3, 1)), {}), ((torch.zeros(1, 2), torch.ones(1, 2)), {}),
    ((torch.zeros(3, 2), torch.zeros(3, 2)), {}), ((torch.full((3, 2), math.nan), torch.ones(3, 2)), {}),
    ((torch.zeros(3, 2), torch.ones(3, 2)), {"z": torch.zeros(2, 2)}), ((torch.zeros(3, 2), torch.ones(3, 2)), {"resamples": 1})])
def test_what_cannot_work(words, options):
    with pytest.raises(ArgumentError):
        mutual_information(*words, **options)
