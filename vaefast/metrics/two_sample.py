"""Whether a classifier can tell two tables apart: a two-sample test.

Source: Lopez-Paz & Oquab 2017, "Revisiting Classifier Two-Sample Tests".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.table import Schema, Table
from ..errors import ArgumentError, DataError
from .tables import read_tables

Classifier = Literal["logistic", "network"]
CLASSIFIERS: tuple[Classifier, ...] = get_args(Classifier)
RIDGE = 1.0
"""Weight of half the squared norm of the logistic regression's coefficients, beside a sum over rows."""
STEPS, WIDTH, LR, DECAY = 300, 64, 5e-3, 1e-2
"""How the network is trained: full batches, AdamW."""


class TwoSampleTest(NamedTuple):
    """Means over the folds, on rows that were not trained on; 0.5 where the tables cannot be told apart."""

    accuracy: float
    auc: float
    rows: int  # of each table


def classifier_test(real: Any, fake: Any, *, classifier: Classifier = "network", folds: int = 5, seed: int = 0,
                    schema: Schema | None = None) -> TwoSampleTest:
    """How well a classifier tells rows of two tables apart that it has not seen.

    Args:
        real, fake: tables (see `vaefast.metrics.tables`); of the longer one as many rows are drawn as the other has.
        classifier: "logistic", a logistic regression on numbers (counts by log(1 + x)) and words, which sees means alone; or
            "network", two hidden layers of 64, which sees more.
        folds: of the cross-validation.
        seed: of the rows, the folds and the network.

    Raises:
        ArgumentError: another classifier, or fewer than 2 folds. DataError: fewer rows than folds.
    """
    if classifier not in CLASSIFIERS:
        raise ArgumentError(f"classifier is {classifier!r}; expected one of {', '.join(CLASSIFIERS)}.")
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise ArgumentError(f"folds is {folds!r}; expected a whole number, 2 or more.")
    tables = read_tables(real, fake, schema=schema)
    rows = min(map(len, tables))
    if rows < folds:
        raise DataError(f"the tables have {len(tables[0])} and {len(tables[1])} rows; expected at least {folds}, one a fold.")
    generator = torch.Generator().manual_seed(seed)
    x = _features([table.subset(torch.randperm(len(table), generator=generator)[:rows]) for table in tables])
    y = torch.arange(2 * rows) >= rows
    fit: Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]] = _logistic if classifier == "logistic" else _network
    accuracy, auc = [], []
    fold = torch.arange(rows).remainder(folds).repeat(2)  # rows are shuffled, and each fold has as many of both
    for k in range(folds):
        train, test = fold != k, fold == k
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + k)
            scores = fit(x[train], y[train].double())(x[test])
        accuracy.append(float(((scores > 0) == y[test]).double().mean()))
        auc.append(area_under_curve(scores[y[test]], scores[~y[test]]))
    return TwoSampleTest(sum(accuracy) / folds, sum(auc) / folds, rows)


def area_under_curve(positive: Tensor, negative: Tensor) -> float:
    """Share of pairs in which the positive one scores higher, ties by half: the area under the ROC curve."""
    ordered = negative.sort().values
    below = torch.searchsorted(ordered, positive, right=False).double()
    equal = torch.searchsorted(ordered, positive, right=True).double() - below
    return float((below + 0.5 * equal).mean() / len(negative))


def _features(tables: list[Table]) -> Tensor:
    """Rows of both tables as numbers, float64 [N, F], standardised; a column that is missing somewhere says where."""
    values = torch.cat([table.values for table in tables])
    parts = []
    for i, column in enumerate(tables[0].schema.columns):
        there = ~values[:, i].isnan()
        x = torch.where(there, values[:, i], 0)
        if column.kind == "category":
            parts.append(F.one_hot(x.long(), len(column.words)).double() * there[:, None])
        else:
            x = x.clamp_min(0).log1p() if column.kind == "count" else x
            mean, std = (x[there].mean(), x[there].std(correction=0)) if there.any() else (x.new_zeros(()), x.new_ones(()))
            parts.append((torch.where(there, x - mean, 0) / torch.where(std > 0, std, 1.0))[:, None])
        if not there.all():
            parts.append(there.double()[:, None])
    return torch.cat(parts, 1)


def _logistic(x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    """By Newton's method; the intercept is not held back."""
    def with_one(rows: Tensor) -> Tensor:
        return torch.cat([rows, torch.ones_like(rows[:, :1])], 1)

    x = with_one(x)
    ridge = torch.full((x.shape[1],), RIDGE, dtype=x.dtype)
    ridge[-1] = 1e-9
    weight = torch.zeros_like(ridge)

    def loss(w: Tensor) -> Tensor:
        logits = x @ w
        return (F.softplus(logits) - y * logits).sum() + 0.5 * (ridge * w * w).sum()

    for _ in range(50):
        p = torch.sigmoid(x @ weight)
        gradient = x.T @ (p - y) + ridge * weight
        hessian = (x * (p * (1 - p))[:, None]).T @ x + torch.diag(ridge)
        step, now, length = torch.linalg.solve(hessian, gradient), loss(weight), 1.0
        while loss(weight - length * step) > now and length > 1e-6:
            length /= 2
        weight = weight - length * step
        if float(gradient @ step) < 1e-10:
            break
    return lambda rows: with_one(rows) @ weight


def _network(x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    net = nn.Sequential(nn.Linear(x.shape[1], WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=DECAY)
    x, y = x.float(), y.float()
    with torch.enable_grad():
        for _ in range(STEPS):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(net(x)[:, 0], y).backward()
            optimizer.step()

    def scores(rows: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = net(rows.float())
        return logits[:, 0].double()

    return scores
