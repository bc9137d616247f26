"""Scores of tables against SciPy, scikit-learn and formulas; the copula as a table's double."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from vaefast.data import Schema
from vaefast.errors import ArgumentError, DataError
from vaefast.metrics import (
    association_error,
    associations,
    classifier_test,
    column_distances,
    imputation_error,
    wasserstein1,
)
from vaefast.metrics.two_sample import _logistic, area_under_curve
from vaefast.models import GaussianCopula

RNG = np.random.default_rng(0)
WORDS = np.array(["a", "b", "c"])


def table(rows: int = 500, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=rows)
    return {"x": base + 0.5 * rng.normal(size=rows), "y": np.exp(-base), "n": rng.poisson(np.exp(0.5 * base)),
            "w": WORDS[np.digitize(base + 0.3 * rng.normal(size=rows), [-0.5, 0.5])], "v": WORDS[rng.integers(3, size=rows)],
            "b": base + rng.normal(size=rows) > 0}


def test_wasserstein_is_scipys():
    for n, m in ((1, 1), (5, 7), (100, 33)):
        a, b = RNG.normal(size=n), np.round(RNG.normal(1, 2, size=m), 1)
        assert wasserstein1(torch.tensor(a), torch.tensor(b)) == pytest.approx(scipy.stats.wasserstein_distance(a, b))


def test_column_distances():
    real, fake = table(), table(300, 1)
    fake["x"] = fake["x"].copy()
    fake["x"][:100] = np.nan
    found = column_distances(real, fake)
    there = fake["x"][100:]
    assert found["x"] == pytest.approx(scipy.stats.wasserstein_distance(real["x"], there) / real["x"].std())
    shares = [[(t["w"] == word).mean() for word in WORDS] for t in (real, fake)]
    assert found["w"] == pytest.approx(0.5 * np.abs(np.subtract(*shares)).sum())
    assert found["b"] == pytest.approx(abs(real["b"].mean() - fake["b"].mean()))
    assert column_distances(real, real) == dict.fromkeys(real, 0.0)
    fake["y"] = [None] * 300
    assert math.isnan(column_distances(real, fake)["y"])


def test_associations_are_those_of_scipy():
    real = table()
    found, names = associations(real), list(real)

    def at(a: str, b: str) -> float:
        return float(found[names.index(a), names.index(b)])

    assert torch.equal(found, found.T) and (found.diagonal() == 1).all()
    assert at("x", "y") == pytest.approx(scipy.stats.pearsonr(real["x"], real["y"])[0])
    assert at("n", "b") == pytest.approx(scipy.stats.pearsonr(real["n"], real["b"].astype(float))[0])
    crossed = scipy.stats.contingency.crosstab(real["w"], real["v"]).count
    assert at("v", "w") == pytest.approx(scipy.stats.contingency.association(crossed, method="cramer"))
    groups = [real["x"][real["w"] == word] for word in WORDS]
    between = sum(len(g) * (g.mean() - real["x"].mean()) ** 2 for g in groups)
    assert at("w", "x") == pytest.approx(math.sqrt(between / (len(real["x"]) * real["x"].var())))
    holes = {**real, "x": np.where(np.arange(500) < 200, np.nan, real["x"])}
    assert float(associations(holes)[1, 0]) == pytest.approx(scipy.stats.pearsonr(real["x"][200:], real["y"][200:])[0])
    assert association_error(real, real) == 0
    apart = {name: RNG.permutation(values) for name, values in real.items()}
    assert association_error(real, apart) > 0.15 > association_error(real, table(500, 1))
    same = associations({"c": [1.0] * 4, "w": ["a", "b", "a", "b"], "k": ["z"] * 4, "x": [1.0, 2.0, 3.0, 4.0]})
    assert same[0, 1:].abs().sum() == 0 and same[2, 3] == 0


def test_the_classifier_tells_what_differs_and_nothing_else():
    real, other = table(200, 0), table(200, 1)
    alike = classifier_test(real, other, classifier="logistic")
    assert 0.4 < alike.auc < 0.6 and 0.4 < alike.accuracy < 0.6 and alike.rows == 200
    assert classifier_test(real, {**other, "x": other["x"] + 3}, classifier="logistic").auc > 0.95
    apart = {name: RNG.permutation(values) for name, values in other.items()}
    network = classifier_test(real, apart, folds=2)
    assert network.auc > 0.7 > 0.65 > classifier_test(real, apart, classifier="logistic").auc
    assert abs(classifier_test(real, other, folds=2).auc - 0.5) < 0.1
    assert classifier_test(real, apart, folds=2) == network  # the same seed
    holes = {**other, "x": np.where(np.arange(200) % 2, np.nan, other["x"])}
    assert classifier_test(real, holes, classifier="logistic").auc > 0.7  # where entries are missing is seen, too
    assert classifier_test(real, table(50, 2), classifier="logistic").rows == 50


def test_the_logistic_regression_is_scikit_learns():
    x = torch.randn(200, 4, dtype=torch.float64)
    y = (x[:, 0] - 0.5 * x[:, 1] + torch.randn(200) > 0.3).double()
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(x.numpy(), y.numpy()).decision_function(x.numpy())
    np.testing.assert_allclose(_logistic(x, y)(x).numpy(), theirs, atol=1e-4)
    far = torch.cat([torch.full((50, 1), -1e3), torch.full((50, 1), 1e3)]).double()  # separable, and far out
    assert _logistic(far, (far[:, 0] > 0).double())(far).isfinite().all()


def test_the_area_under_the_curve_is_scikit_learns():
    scores, labels = np.round(RNG.normal(size=200), 1), RNG.random(200) < 0.3
    found = area_under_curve(torch.tensor(scores[labels]), torch.tensor(scores[~labels]))
    assert found == pytest.approx(roc_auc_score(labels, scores))


def test_imputation_error():
    real = {"x": np.array([1.0, 2.0, 3.0, 4.0]), "w": np.array(["a", "b", "a", "b"]), "b": np.array([True, False, True, True])}
    filled = {"x": np.array([1.0, 2.0, 5.0, 4.0]), "w": np.array(["a", "a", "a", "b"]), "b": real["b"]}
    hidden = np.array([[0, 0, 1], [1, 1, 0], [1, 1, 0], [0, 0, 0]], bool)
    found = imputation_error(real, filled, hidden)
    assert found.columns == pytest.approx({"x": math.sqrt(2) / real["x"].std(), "w": 0.5, "b": 0.0})
    assert found.words == 0.25 and found.numbers == found.columns["x"]
    assert math.isnan(imputation_error(real, filled, np.zeros((4, 3), bool)).numbers)
    with pytest.raises(ArgumentError, match=r"hidden has shape \[4, 2\]"):
        imputation_error(real, filled, hidden[:, :2])
    with pytest.raises(DataError, match="column 'x' is missing in row 1 of the filled table"):
        imputation_error(real, {**filled, "x": [1.0, None, 3.0, 4.0]}, hidden)


def test_arguments():
    real = table(20)
    for options, says in (({"classifier": "forest"}, "classifier is 'forest'; expected one of logistic, network"),
                          ({"folds": 1}, "folds is 1")):
        with pytest.raises(ArgumentError, match=says):
            classifier_test(real, real, **options)
    with pytest.raises(DataError, match="20 and 3 rows; expected at least 5"):
        classifier_test(real, table(3))


def test_a_copula_has_the_columns_and_their_correlations():
    real = table(2000)
    schema = Schema.of(real)
    values = schema.read(real).values
    copula = GaussianCopula([c.kind != "number" for c in schema.columns]).fit(values, torch.Generator().manual_seed(0))
    drawn = copula.sample(2000, torch.Generator().manual_seed(0))
    fake = schema.frame(drawn, like={})
    assert max(column_distances(real, fake).values()) < 0.1 and association_error(real, fake) < 0.1
    assert set(drawn[:, 2].tolist()) <= set(values[:, 2].tolist())  # counts that were there
    torch.testing.assert_close(copula.values(copula.scores(values))[:, :2], values[:, :2])
    holes = values.clone()
    holes[::2, 0] = torch.nan
    filled = copula.impute(holes[:200], 30, torch.Generator().manual_seed(0))
    assert filled.shape == (30, 200, 6) and torch.equal(filled[0, 1::2], values[1:200:2])
    error = (filled.mean(0)[::2, 0] - values[:200:2, 0]).std() / values[:, 0].std()
    assert float(error) < 0.6  # what is left of it once y is known
    partly = GaussianCopula(copula.discrete).fit(torch.where(torch.rand(values.shape) < 0.3, torch.nan, values))
    assert (partly.correlation - copula.correlation).abs().max() < 0.15
    with pytest.raises(ArgumentError, match=r"the rows have shape \[3, 2\]; expected \[N, 6\]"):
        copula.fit(torch.zeros(3, 2))
    with pytest.raises(DataError, match="column 0 has no values"):
        GaussianCopula([False]).fit(torch.full((3, 1), torch.nan))
