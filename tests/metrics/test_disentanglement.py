"""MIG, SAP and DCI of codes whose right values are known."""

from __future__ import annotations

import math

import pytest
import torch

from vaefast.errors import ArgumentError, DataError
from vaefast.metrics import dci, mutual_information_gap, separated_attribute_predictability

FACTORS = torch.cartesian_prod(torch.arange(4), torch.arange(5), torch.arange(6)).repeat(4, 1)


def test_a_dimension_for_each_factor():
    codes = FACTORS.float() * torch.tensor([1.0, -2.0, 0.5])
    assert mutual_information_gap(codes, FACTORS) == pytest.approx(1)
    assert separated_attribute_predictability(codes, FACTORS) == pytest.approx(1)
    scores = dci(codes, FACTORS, penalty=1e-4)
    assert scores.disentanglement > 0.99 and scores.completeness > 0.99 and scores.informativeness > 0.99


def test_two_dimensions_that_tell_the_same_have_no_gap():
    codes = torch.cat([FACTORS, FACTORS], 1).float()
    assert mutual_information_gap(codes, FACTORS) == pytest.approx(0, abs=1e-12)
    assert separated_attribute_predictability(codes, FACTORS) == pytest.approx(0, abs=1e-12)


def test_the_gap_of_a_partial_code_by_hand():
    # one dimension tells the whole of a factor of four values, another its half (one bit of two)
    factor = torch.arange(4).repeat(50)
    codes = torch.stack([factor, factor // 2], 1).float()
    assert mutual_information_gap(codes, factor) == pytest.approx((math.log(4) - math.log(2)) / math.log(4))
    r2 = torch.corrcoef(torch.stack([factor.float(), (factor // 2).float()]))[0, 1] ** 2
    assert separated_attribute_predictability(codes, factor) == pytest.approx(1 - float(r2), abs=1e-6)


def test_mixed_dimensions_are_complete_for_nothing():
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double()).Q
    standard = (FACTORS.double() - FACTORS.double().mean(0)) / FACTORS.double().std(0)
    straight, turned = dci(standard, FACTORS, penalty=1e-3), dci(standard @ turn, FACTORS, penalty=1e-3)
    assert turned.disentanglement < 0.7 < straight.disentanglement
    assert turned.completeness < 0.7 < straight.completeness and turned.informativeness > 0.99


def test_the_lasso_is_that_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    from vaefast.metrics.disentanglement import _lasso

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=generator, dtype=torch.double)
    y = x @ torch.tensor([[1.0], [0.0], [-0.5], [0.02], [0.0]], dtype=torch.double) + 0.1 * torch.randn(
        200, 1, generator=generator, dtype=torch.double)
    other = linear.Lasso(alpha=0.05, fit_intercept=False, tol=1e-12).fit(x.numpy(), y.numpy()[:, 0])
    torch.testing.assert_close(_lasso(x, y, 0.05)[:, 0], torch.from_numpy(other.coef_), atol=1e-6, rtol=0)


def test_noise_tells_nothing():
    codes = torch.randn(len(FACTORS), 4, generator=torch.Generator().manual_seed(1))
    scores = dci(codes, FACTORS, penalty=0.3)
    assert scores == (0.0, 0.0, scores.informativeness) and scores.informativeness < 0.05
    assert mutual_information_gap(codes, FACTORS, bins=4) < 0.05


@pytest.mark.parametrize("score", [mutual_information_gap, separated_attribute_predictability, dci])
@pytest.mark.parametrize("codes, factors, error, words", [
    (torch.rand(20, 3), torch.ones(20, 2), DataError, "factor 0 has one value in all 20 examples"),
    (torch.rand(20, 3), torch.rand(19, 2), ArgumentError, r"expected \[N, k\] and \[N, F\]"),
    (torch.full((20, 3), math.nan), torch.rand(20, 2), DataError, "codes hold NaN"),
    (torch.rand(20), torch.rand(20, 2), ArgumentError, "expected")])
def test_what_has_no_score_is_refused(score, codes, factors, error, words):
    with pytest.raises(error, match=words):
        score(codes, factors)


def test_dimensions_that_do_not_vary_are_worth_nothing():
    codes = torch.cat([FACTORS.float(), torch.zeros(len(FACTORS), 2)], 1)
    assert mutual_information_gap(codes, FACTORS) == pytest.approx(1)
    assert separated_attribute_predictability(codes, FACTORS) == pytest.approx(1)
    assert dci(codes, FACTORS, penalty=1e-4).disentanglement > 0.99
