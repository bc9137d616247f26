"""How far single code dimensions stand for single factors of the data, where the factors are known: MIG, SAP and DCI."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import ArgumentError, DataError

BINS = 20
"""Of a code dimension, equally wide from its least to its largest value, as in Locatello et al. 2019."""


class Dci(NamedTuple):
    """Each in [0, 1], higher is better."""

    disentanglement: float  # each dimension is important for one factor alone
    completeness: float  # each factor has one important dimension alone
    informativeness: float  # how well all dimensions together tell the factors: R^2 over held-out examples, mean over factors


def mutual_information_gap(codes: Any, factors: Any, bins: int = BINS) -> float:
    """MIG: the gap between the two dimensions that tell most of a factor, in shares of its entropy, mean over factors.

    Args:
        codes: mean codes [N, k], k of 2 or more.
        factors: values of the factors [N, F], each with few distinct ones.
        bins: of each code dimension.

    Returns:
        In [0, 1]: 1 where each factor is told by one dimension, and by no other.

    Raises:
        ArgumentError: other shapes. DataError: a factor that does not vary, NaN or infinity.

    Source: Chen et al. 2018, "Isolating Sources of Disentanglement in VAEs", equation 6.
    """
    z, v = _checked(codes, factors)
    if z.shape[1] < 2:
        raise ArgumentError("codes have one dimension; a gap between the first and the second needs 2 or more.")
    binned = [_binned(column, bins) for column in z.T]
    gaps = []
    for factor in v.T:
        index, values = _indexed(factor)
        entropy = _entropy(torch.bincount(index, minlength=values).double())
        information = torch.tensor([_information(column, bins, index, values) for column in binned])
        first, second = information.topk(2).values
        gaps.append(float(first - second) / entropy)
    return sum(gaps) / len(gaps)


def separated_attribute_predictability(codes: Any, factors: Any) -> float:
    """SAP: the gap between the two dimensions from which a factor is best told by a line, in R^2, mean over factors.

    Args:
        codes: mean codes [N, k], k of 2 or more.
        factors: values of the factors [N, F], taken as numbers.

    Returns:
        In [0, 1].

    Raises:
        ArgumentError: other shapes. DataError: a factor that does not vary, NaN or infinity.

    Source: Kumar et al. 2018, "Variational Inference of Disentangled Latent Concepts", section 3 (the score of regression).
    """
    z, v = _checked(codes, factors)
    if z.shape[1] < 2:
        raise ArgumentError("codes have one dimension; a gap between the first and the second needs 2 or more.")
    z, v = z - z.mean(0), v - v.mean(0)
    spread = z.norm(dim=0)
    told = torch.where(spread[:, None] > 0, (z.T @ v / (spread[:, None].clamp_min(1e-300) * v.norm(dim=0))).square(), 0.0)
    best = told.topk(2, dim=0).values
    return float((best[0] - best[1]).mean())


def dci(codes: Any, factors: Any, *, penalty: float = 0.01, seed: int = 0) -> Dci:
    """DCI: how the importances of the dimensions for the factors are spread, in a sparse linear regression of each factor.

    Args:
        codes: mean codes [N, k].
        factors: values of the factors [N, F], taken as numbers, N of 10 or more.
        penalty: of the sum of absolute coefficients (lasso), of standardised codes and factors.
        seed: of the fifth that is held out for informativeness.

    Returns:
        `Dci`. A dimension that is important for nothing does not count; where none is, all are 0.

    Raises:
        ArgumentError: other shapes. DataError: a factor that does not vary, NaN or infinity.

    Source: Eastwood & Williams 2018, "A Framework for the Quantitative Evaluation of Disentangled Representations", section 2,
    with their lasso.
    """
    z, v = _checked(codes, factors)
    if len(z) < 10:
        raise DataError(f"there are {len(z)} examples; dci needs 10 or more, as a fifth of them is held out.")
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed))
    held, kept = order[: len(z) // 5], order[len(z) // 5:]
    mean, spread = z[kept].mean(0), z[kept].std(0, correction=0)
    z = torch.where(spread > 0, (z - mean) / spread.clamp_min(1e-300), 0.0)
    middle, width = v[kept].mean(0), v[kept].std(0, correction=0)
    v = (v - middle) / torch.where(width > 0, width, 1.0)
    weights = _lasso(z[kept], v[kept], penalty)
    importance = weights.abs()  # [k, F]
    error = (v[held] - z[held] @ weights).square().mean(0)
    told = (1 - error / v[held].var(0, correction=0).clamp_min(1e-12)).clamp(0, 1)
    if not importance.any():
        return Dci(0.0, 0.0, float(told.mean()))
    return Dci(_one_each(importance), _one_each(importance.T), float(told.mean()))


def _one_each(importance: Tensor) -> float:
    """1 where each row has one entry, 0 where all of its entries are equal; rows weigh by their sums."""
    if importance.shape[1] == 1:
        return 1.0
    total = importance.sum(1)
    rows = importance[total > 0] / total[total > 0, None]
    entropy = -(rows * rows.clamp_min(1e-300).log()).sum(1) / math.log(importance.shape[1])
    shares = total[total > 0] / total.sum()
    return float((shares * (1 - entropy)).sum())


def _lasso(x: Tensor, y: Tensor, penalty: float, rounds: int = 1000, tolerance: float = 1e-8) -> Tensor:
    """Coefficients [k, F] of the least |y - x w|^2 / 2N + penalty |w|_1, by turns over the dimensions."""
    count = len(x)
    gram, cross = x.T @ x / count, x.T @ y / count
    weights = torch.zeros_like(cross)
    for _ in range(rounds):
        moved = 0.0
        for i in range(len(gram)):
            if gram[i, i] <= 0:
                continue
            rest = cross[i] - gram[i] @ weights + gram[i, i] * weights[i]
            new = rest.sign() * (rest.abs() - penalty).clamp_min(0) / gram[i, i]
            moved = max(moved, float((new - weights[i]).abs().max()))
            weights[i] = new
        if moved < tolerance:
            break
    return weights


def _checked(codes: Any, factors: Any) -> tuple[Tensor, Tensor]:
    z, v = (torch.as_tensor(given).detach().cpu().double() for given in (codes, factors))
    v = v[:, None] if v.ndim == 1 else v
    if z.ndim != 2 or v.ndim != 2 or len(z) != len(v) or 0 in (*z.shape, *v.shape):
        raise ArgumentError(f"codes have shape {list(z.shape)} and factors {list(v.shape)}; expected [N, k] and [N, F].")
    for name, tensor in (("codes", z), ("factors", v)):
        if not tensor.isfinite().all():
            raise DataError(f"{name} hold NaN or infinity; leave such examples out.")
    still = [i for i, column in enumerate(v.T) if bool((column == column[0]).all())]
    if still:
        raise DataError(f"factor {still[0]} has one value in all {len(v)} examples; leave it out.")
    return z, v


def _indexed(factor: Tensor) -> tuple[Tensor, int]:
    values, index = factor.unique(return_inverse=True)
    return index, len(values)


def _binned(column: Tensor, bins: int) -> Tensor:
    low, high = column.min(), column.max()
    if low == high:
        return torch.zeros_like(column, dtype=torch.long)
    return ((column - low) / (high - low) * bins).long().clamp_max(bins - 1)


def _entropy(counts: Tensor) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * shares.log()).sum())


def _information(a: Tensor, a_values: int, b: Tensor, b_values: int) -> float:
    """Mutual information of two columns of indices, in nats."""
    joint = torch.bincount(a * b_values + b, minlength=a_values * b_values).double().view(a_values, b_values)
    return _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint.flatten())
