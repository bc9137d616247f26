"""The columns' likelihoods are the textbook's, at any value, and their draws are distributed as they say."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch

from vaefast.errors import ArgumentError
from vaefast.models.column_likelihoods import (
    LIKELIHOODS,
    USUAL,
    ColumnLikelihoods,
    Margin,
    bernoulli_nll,
    gaussian_nll,
    laplace_nll,
    negative_binomial_nll,
    poisson_nll,
    standard_gamma,
    student_t_nll,
    zero_inflated_nll,
)

G = torch.Generator


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


NUMBERS = t(-1e3, -2.5, -1e-9, 0, 0.3, 7, 1e4)
COUNTS = t(0, 1, 2, 17, 400, 20_000)


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (2.5, 0.01), (-3.0, 400.0)])
def test_numbers_are_as_elsewhere(mean, scale):
    m, s, x = t(mean), t(math.log(scale)), NUMBERS.numpy()
    torch.testing.assert_close(laplace_nll(NUMBERS, m, s), -torch.distributions.Laplace(mean, s.exp()).log_prob(NUMBERS))
    for nll, row in ((gaussian_nll(NUMBERS, m, s), scipy.stats.norm(mean, scale)),
                     *((student_t_nll(NUMBERS, m, s, t(df)), scipy.stats.t(df, mean, scale)) for df in (1.0, 2.7, 30.0, 1e4))):
        np.testing.assert_allclose(nll.numpy(), -row.logpdf(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mean", [1e-4, 0.7, 30.0, 1e5])
def test_counts_are_scipys(mean):
    x = COUNTS.numpy()
    np.testing.assert_allclose(poisson_nll(COUNTS, t(math.log(mean))).numpy(), -scipy.stats.poisson(mean).logpmf(x), rtol=1e-10)
    for r in (0.05, 1.0, 40.0, 5e3):
        nll = negative_binomial_nll(COUNTS, t(math.log(mean)), t(math.log(r)))
        np.testing.assert_allclose(nll.numpy(), -scipy.stats.nbinom(r, r / (r + mean)).logpmf(x), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("r", [1e-6, 1.0, 9e3, 1.1e4, 1e6, 4e8])
def test_a_negative_binomial_keeps_its_digits_where_it_is_nearly_a_poisson(r):
    mpmath.mp.dps = 60
    for x in (0, 3, 1000, 10**6):
        for m in (1e-3, 5.0, 1e4):
            R, M = mpmath.mpf(r), mpmath.mpf(m)
            exact = -(mpmath.loggamma(x + R) - mpmath.loggamma(R) - mpmath.loggamma(x + 1) + R * mpmath.log(R / (R + M))
                      + x * mpmath.log(M / (R + M)))
            got = float(negative_binomial_nll(t(x), t(math.log(m)), t(math.log(r))))
            assert got == pytest.approx(float(exact), rel=1e-9, abs=1e-7), (x, m)


def test_zeros_are_inflated():
    gate, log_rate = t(-1.2), t(math.log(3.0))
    nll = zero_inflated_nll(COUNTS, gate, poisson_nll(COUNTS, log_rate), poisson_nll(torch.zeros_like(COUNTS), log_rate))
    pi = 1 / (1 + math.exp(1.2))
    p = (1 - pi) * scipy.stats.poisson(3.0).pmf(COUNTS.numpy()) + pi * (COUNTS.numpy() == 0)
    np.testing.assert_allclose(nll[:4].numpy(), -np.log(p[:4]), rtol=1e-10)
    assert nll.isfinite().all()  # where the probability itself is none


def test_words_and_booleans_are_torchs():
    logits = t(-800, -3, 0, 4, 800)
    for x in (0.0, 1.0):
        there = torch.full_like(logits, x)
        np.testing.assert_allclose(bernoulli_nll(there, logits), -torch.distributions.Bernoulli(logits=logits).log_prob(there))
    margins = [Margin(words=k) for k in (3, 1, 7, 4)]
    columns = ColumnLikelihoods(["categorical"] * 4, margins)
    x = torch.stack([torch.randint(m.words, (9,)).double() for m in margins], 1)
    raws = [torch.randn(9, m.words, dtype=torch.float64) for m in margins]
    blocks = [torch.cat([raws[i] for i in places], 1) for places in ([0, 3], [1], [2])]  # words of about one number together
    wish = torch.stack([-torch.distributions.Categorical(logits=raw).log_prob(x[:, i]) for i, raw in enumerate(raws)], 1)
    torch.testing.assert_close(columns.entries(x, torch.cat(blocks, 1)), wish)


def columns_of(name: str, count: int = 2, **options) -> ColumnLikelihoods:
    return ColumnLikelihoods([name] * count, [Margin(4, (0.1, 0.2, 0.3, 0.4), 2.0)] * count, **options)


def some(name: str, rows: int) -> torch.Tensor:
    values = {"number": torch.randn(rows, 2), "count": torch.randint(6, (rows, 2)), "boolean": torch.randint(2, (rows, 2)),
              "category": torch.randint(4, (rows, 2))}
    return values[LIKELIHOODS[name].kind].float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_extreme_values_have_finite_losses_and_gradients(name, dtype):
    columns, kind = columns_of(name).to(dtype), LIKELIHOODS[name].kind
    extremes = {"number": [-1e4, 0, 1e4], "count": [0, 1, 1e6], "boolean": [0, 1], "category": [0, 3]}[kind]
    for size in (-1e3, -30.0, 0.0, 30.0, 1e3):
        for value in extremes:
            raw = torch.full((3, columns.width), size, dtype=dtype, requires_grad=True)
            nll = columns.nll(torch.full((3, 2), value, dtype=dtype), raw)
            nll.sum().backward()
            assert nll.dtype == dtype and nll.isfinite().all(), (size, value)
            assert raw.grad.isfinite().all() and all(p.grad.isfinite().all() for p in columns.parameters()), (size, value)
    assert columns.draw(torch.full((50, columns.width), 1e3, dtype=dtype)).isfinite().all()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_gradients_are_those_of_differences(name):
    columns = columns_of(name).double()
    x = some(name, 3).double()
    raw = torch.randn(3, columns.width, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: columns.entries(x, r), raw)


@pytest.mark.parametrize("scale", ["learned", "predicted", 0.5])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_draws_are_distributed_as_the_likelihood_says(name, scale):
    """The mean of -log p of draws is the entropy: that of draws of a histogram, for what is whole; else by the mean and a
    kernel-free check, the Kolmogorov-Smirnov distance to the integral of the density."""
    columns = columns_of(name, 1, scale=scale).double().requires_grad_(False)
    raw = (columns.start + 0.3 * torch.randn(columns.width)).double()
    drawn = columns.draw(raw.expand(20_000, -1), G().manual_seed(1))[:, 0]
    again = columns.draw(raw.expand(20_000, -1), G().manual_seed(1))[:, 0]
    assert torch.equal(drawn, again)
    if LIKELIHOODS[name].kind == "number":
        grid = torch.linspace(-60, 60, 240_001, dtype=torch.float64)
        density = (-columns.entries(grid[:, None], raw.expand(len(grid), -1))[:, 0]).exp()
        below = torch.cumulative_trapezoid(density, grid)
        assert float(below[-1]) == pytest.approx(1, abs=2e-3)
        empirical = torch.searchsorted(drawn.sort().values, grid[1:]).double() / len(drawn)
        assert float((empirical - below).abs().max()) < 1.6 / math.sqrt(len(drawn)) + 2e-3
    else:
        values = torch.arange(4 if LIKELIHOODS[name].kind == "category" else 2 if name == "bernoulli" else 400).double()
        p = (-columns.entries(values[:, None], raw.expand(len(values), -1))[:, 0]).exp()
        assert float(p.sum()) == pytest.approx(1, abs=1e-6)
        seen = torch.bincount(drawn.long(), minlength=len(values))[:len(values)].double() / len(drawn)
        assert float((seen.cumsum(0) - p.cumsum(0)).abs().max()) < 1.6 / math.sqrt(len(drawn))
        mean, mode = columns.mean(raw[None]), columns.mode(raw[None])
        if LIKELIHOODS[name].kind != "category":
            assert float(mean) == pytest.approx(float(p @ values), rel=1e-4)
        assert float(p[int(mode)]) == pytest.approx(float(p.max()), rel=1e-9)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_it_begins_with_the_columns_own_distribution(name):
    columns = columns_of(name, 1)
    mean = float(columns.mean(columns.start[None]))
    if LIKELIHOODS[name].kind == "count":
        assert mean == pytest.approx(2.0 * (1 - 1 / (1 + math.exp(2)) if "zero" in name else 1), rel=1e-5)
    elif name == "categorical":
        torch.testing.assert_close(torch.softmax(columns.start, 0), torch.tensor([0.1, 0.2, 0.3, 0.4]))


def test_blocks_are_the_columns_one_by_one_and_masks_leave_entries_out():
    names = ["gaussian", "categorical", "poisson", "student-t", "gaussian", "bernoulli", "categorical", "negative-binomial"]
    margins = [Margin(words=5 if name == "categorical" else 0, mean=0.4) for name in names]
    columns = ColumnLikelihoods(names, margins).double()
    x = torch.stack([some(name, 11)[:, 0].double() for name in names], 1)
    raw = torch.randn(11, columns.width, dtype=torch.float64, requires_grad=True)
    entries = columns.entries(x, raw)
    there = torch.rand(11, len(names)) > 0.4
    torch.testing.assert_close(columns.nll(x, raw, there), torch.where(there, entries, 0).sum(1))
    torch.testing.assert_close(columns.nll(x, raw), entries.sum(1))
    other = torch.where(there, x, 1.0)  # whatever stands where nothing is
    torch.testing.assert_close(columns.nll(other, raw, there), columns.nll(x, raw, there))
    hidden = torch.zeros_like(there)
    hidden[:, 0] = True
    (gradient,) = torch.autograd.grad(columns.nll(x, raw, hidden).sum(), raw)
    assert int((gradient != 0).any(0).sum()) == 1  # of the mean of the one column that is there


def test_the_gamma_is_scipys():
    for a in (0.05, 0.9, 1.0, 3.5, 400.0):
        drawn = standard_gamma(torch.full((20_000,), a), G().manual_seed(0)).numpy()
        assert scipy.stats.kstest(drawn, scipy.stats.gamma(a).cdf).pvalue > 1e-3, a


def test_doors():
    assert set(USUAL.values()) <= set(LIKELIHOODS) and {row.kind for row in LIKELIHOODS.values()} == set(USUAL)
    with pytest.raises(ArgumentError, match="likelihood is 'normal'; expected one of gaussian"):
        ColumnLikelihoods(["normal"], [Margin()])
    with pytest.raises(ArgumentError, match="has no words"):
        ColumnLikelihoods(["categorical"], [Margin()])
    for scale in ("wide", 0, -1.0, math.inf, True):
        with pytest.raises(ArgumentError, match="scale is"):
            ColumnLikelihoods(["gaussian"], [Margin()], scale)
