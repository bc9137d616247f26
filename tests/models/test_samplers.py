"""Latents as they are handed in, and samplers of the aggregate posterior."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from vaefast.errors import ArgumentError, DataError
from vaefast.models import Mixture, Prior, as_latents, mixture_sums
from vaefast.models.samplers import _cluster

CENTRES = torch.tensor([[-4.0, 0.0, 1.0], [4.0, 1.0, 0.0], [0.0, 5.0, -2.0]], dtype=torch.float64)


def blobs(n: int, seed: int = 0) -> torch.Tensor:
    """Draws of three correlated Gaussians, float64 [n, 3]."""
    g = torch.Generator().manual_seed(seed)
    factor = torch.tensor([[1.0, 0, 0], [0.6, 0.5, 0], [-0.2, 0.3, 0.4]], dtype=torch.float64)
    which = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), n, replacement=True, generator=g)
    return CENTRES[which] + torch.randn(n, 3, generator=g, dtype=torch.float64) @ factor.T


def test_latents_in_every_form():
    points = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float16)
    found = as_latents(points)
    assert found.mean.dtype == torch.float32 and found.std is None and len(found) == 7 and found.dims == 3
    assert torch.equal(found.draw(), found.mean)
    mu, std = torch.randn(5000, 3).double() * 2, torch.full((5000, 3), 0.5)
    pair = as_latents((mu, std), 3)
    assert pair.std.dtype == torch.float64 and as_latents(pair).mean is pair.mean
    g = torch.Generator().manual_seed(3)
    eps = torch.randn(5000, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(pair.draw(g), mu + 0.5 * eps)
    assert pair.scale() == pytest.approx(math.sqrt(4.25), rel=0.03)
    assert pair.scale() == pytest.approx(float(pair.draw(g).std(0).mean()), rel=0.03)
    assert pair.digest() == as_latents((mu.clone(), std.clone())).digest() != as_latents(mu).digest()


@pytest.mark.parametrize("latents, error, message", [
    (torch.zeros(4), ArgumentError, r"shape \[4\]"), (torch.zeros(4, 2, 2), ArgumentError, "flatten"),
    ("z", ArgumentError, "str"), ((torch.zeros(4, 3),), ArgumentError, "tuple of 1"),
    ((torch.zeros(4, 3), torch.ones(4, 2)), ArgumentError, "that of mu"),
    (torch.zeros(4, 2), ArgumentError, "latent_dim = 3"), (torch.zeros(0, 3), DataError, "no rows"),
    (torch.tensor([[0.0, 1, 2], [0, math.nan, 1]]), DataError, "row 1"),
    ((torch.zeros(4, 3), -torch.ones(4, 3)), DataError, "log std")])
def test_latents_that_cannot_work_are_refused(latents, error, message):
    with pytest.raises(error, match=message):
        as_latents(latents, 3)


def test_prior():
    prior = Prior(3, std=2.0).fit(torch.randn(10, 3))
    z = prior.sample(20_000, torch.Generator().manual_seed(0))
    assert z.shape == (20_000, 3) and (z.std(0) - 2).abs().max() < 0.05
    with pytest.raises(ArgumentError):
        prior.fit(torch.randn(10, 4))


@pytest.mark.parametrize(("way", "loses"), [(mixture_sums.Powers, mixture_sums.LOSES), (mixture_sums.Powers, 0.0),
                                            (mixture_sums.Rows, 0.0)], ids=["products", "products that lose", "rows"])
def test_steps_of_expectation_maximisation_are_scikit_learns(monkeypatch, way, loses):
    monkeypatch.setattr(mixture_sums, "LOSES", loses)
    monkeypatch.setattr(mixture_sums, "ROWS", 150)
    z = blobs(400)
    ours = Mixture(3, 3, iterations=1, tolerance=0.0, floor=1e-12).fit(z)
    covariances = ours.cholesky @ ours.cholesky.mT
    theirs = GaussianMixture(3, means_init=ours.means.numpy(), weights_init=ours.weights.numpy(), max_iter=4, tol=0.0,
                             precisions_init=torch.linalg.inv(covariances).numpy(), random_state=0, reg_covar=1e-12)
    with pytest.warns(match="converge"):
        theirs.fit(z.numpy())
    for _ in range(4):
        ours._iterate(way(z))
    torch.testing.assert_close(ours.weights, torch.from_numpy(theirs.weights_), rtol=1e-8, atol=0)
    torch.testing.assert_close(ours.means, torch.from_numpy(theirs.means_), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(ours.cholesky @ ours.cholesky.mT, torch.from_numpy(theirs.covariances_), rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(ours.log_prob(z), torch.from_numpy(theirs.score_samples(z.numpy())), rtol=1e-9, atol=1e-9)


def test_a_fit_does_not_depend_on_what_is_kept(monkeypatch):
    kept = Mixture(3, 4).fit(blobs(5000))
    monkeypatch.setattr(mixture_sums, "KEPT", 72 * mixture_sums.ROWS)  # nine products of eight bytes a latent, of 5,000 of them
    by_rows = Mixture(3, 4).fit(blobs(5000))
    torch.testing.assert_close(by_rows.cholesky, kept.cholesky, rtol=1e-9, atol=1e-9)
    monkeypatch.setattr(mixture_sums, "MANY", 1)
    assert torch.equal(Mixture(3, 4).fit(blobs(5000)).cholesky, kept.cholesky)


def test_a_fit_is_as_likely_as_scikit_learns():
    z = blobs(2000)
    ours = Mixture(3, 3, seed=1).fit(z)
    theirs = GaussianMixture(3, random_state=0).fit(z.numpy())
    assert ours.log_likelihood == pytest.approx(theirs.lower_bound_, abs=2e-3)
    assert torch.cdist(ours.means, CENTRES).min(1).values.max() < 0.15


def test_samples_match_what_was_fitted():
    z = blobs(5000)
    mixture = Mixture(3, 3).fit(z)
    drawn = mixture.sample(20_000, torch.Generator().manual_seed(5))
    assert drawn.dtype == torch.float32 and drawn.shape == (20_000, 3)
    assert (drawn.double().mean(0) - z.mean(0)).abs().max() < 0.12
    assert (drawn.T.cov().double() - z.T.cov()).abs().max() < 0.3
    assert torch.equal(drawn, mixture.sample(20_000, torch.Generator().manual_seed(5)))


def test_posteriors_are_drawn_from():
    mixture = Mixture(2, 1).fit((torch.zeros(4000, 2), torch.full((4000, 2), 1.5)))
    assert (mixture.cholesky.diagonal(dim1=1, dim2=2) - 1.5).abs().max() < 0.06


@pytest.mark.parametrize("rows, distinct", [(2, 2), (50, 3), (50, 1)])
def test_fewer_distinct_latents_than_components(rows, distinct):
    z = torch.randn(distinct, 2)[torch.arange(rows) % distinct]
    mixture = Mixture(2, 6).fit(z)
    assert math.isfinite(mixture.log_likelihood)
    assert torch.cdist(mixture.sample(100), z).min(1).values.max() < 0.05
    assert _cluster(z.double(), 6, torch.Generator()).max() < distinct


def test_a_mixture_that_cannot_work_is_refused():
    for arguments in ({"components": 0}, {"iterations": 0}, {"latent_dim": True}, {"tolerance": -1.0}, {"floor": 0.0}):
        with pytest.raises(ArgumentError):
            Mixture(**{"latent_dim": 2, **arguments})
    with pytest.raises(DataError, match="2 latents"):
        Mixture(2).fit(torch.zeros(1, 2))


def test_a_mixture_saves_its_state():
    mixture = Mixture(3, 3).fit(blobs(300))
    again = Mixture(3, 3)
    again.load_state_dict(mixture.state_dict())
    assert torch.equal(again.sample(9, torch.Generator().manual_seed(0)), mixture.sample(9, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("seed", range(3))
def test_the_start_finds_every_one_of_many_clusters(seed):
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(10, 6, generator=g)
    z = centres[torch.randint(10, (3000,), generator=g)] + 0.2 * torch.randn(3000, 6, generator=g)
    mixture = Mixture(6, 10, seed=seed).fit(z)
    assert torch.cdist(centres.double(), mixture.means).min(1).values.max() < 0.1


def test_a_mixture_draws_none_where_none_are_wanted():
    assert Mixture(3).sample(0).shape == (0, 3)


def test_the_log_density_has_its_gradient_and_takes_arrays():
    mixture = Mixture(2, 1).fit(torch.randn(200, 2, generator=torch.Generator().manual_seed(0)))
    z = torch.randn(5, 2, dtype=torch.double, generator=torch.Generator().manual_seed(1), requires_grad=True)
    density = mixture.log_prob(z)
    (gradient,) = torch.autograd.grad(density.sum(), z)
    precision = torch.cholesky_inverse(mixture.cholesky[0])
    torch.testing.assert_close(gradient, (mixture.means[0] - z.detach()) @ precision)
    torch.testing.assert_close(mixture.log_prob(z.detach().numpy()), density.detach())
