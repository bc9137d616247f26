import numpy as np
import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.metrics import kid


def features(n, d, seed, shift=0.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).abs() + shift


def plain(x, y, subsets, size, seed):
    """The definition, in float64, a subset at a time."""
    rng = torch.Generator().manual_seed(seed)
    rows_x, rows_y = ([torch.randperm(len(f), generator=rng)[:size].numpy() for _ in range(subsets)] for f in (x, y))
    x, y, values = x.double().numpy(), y.double().numpy(), []
    for a, b in zip(rows_x, rows_y, strict=True):
        xx, yy, xy = ((f @ g.T / x.shape[1] + 1) ** 3 for f, g in ((x[a], x[a]), (y[b], y[b]), (x[a], y[b])))
        within = sum((k.sum() - np.trace(k)) / (size * (size - 1)) for k in (xx, yy))
        values.append(within - 2 * xy.mean())
    return np.mean(values), np.std(values)


@pytest.mark.parametrize("subsets", [3, 80])  # fewer pairs than the sets have, and more
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_equals_the_definition(subsets, shift):
    x, y = features(300, 24, 1, shift), features(260, 24, 2, shift) * 1.01
    found, (mean, std) = kid(x, y, subsets=subsets, subset_size=70, seed=4), plain(x, y, subsets, 70, 4)
    assert found.mean == pytest.approx(mean, rel=2e-5, abs=1e-9)
    assert found.std == pytest.approx(std, rel=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 3e6, 1e13, 1e30])
@pytest.mark.parametrize("subsets", [1, 80])
def test_features_of_any_size(scale, subsets):
    """In float32 the cube of 1e13 squared is infinite, and sums of such are NaN."""
    x, y = features(100, 24, 1) * scale, features(90, 24, 2) * scale * 1.1
    found = kid(x, y, subsets=subsets, subset_size=70, seed=4)
    mean, _ = plain(x, y, subsets, 70, 4)
    assert found.mean == pytest.approx(mean, rel=1e-4, abs=1e-6 if scale < 1 else 0) and 0 <= found.std < abs(mean) + 1e-6


def test_same_distribution_scores_near_zero_and_a_shift_does_not():
    x, y = features(600, 32, 1), features(700, 32, 2)
    same, other = kid(x, y, subsets=20, subset_size=200), kid(x, y + 0.2, subsets=20, subset_size=200)
    assert abs(same.mean) < 2 * same.std and other.mean > 10 * same.std
    assert same == kid(x, y, subsets=20, subset_size=200) != kid(x, y, subsets=20, subset_size=200, seed=1)
    assert kid(x.half(), y.half(), subsets=5, subset_size=200).mean == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    "arguments, options, words",
    [
        (([1.0], features(9, 3, 0)), {}, ["features_1", "list"]),
        ((features(9, 3, 0), features(9, 3, 0)[0]), {}, ["features_2", "[3]"]),
        ((features(9, 3, 0), features(9, 4, 0)), {}, ["features_2", "4", "3"]),
        ((features(9, 3, 0) * float("nan"), features(9, 3, 0)), {}, ["features_1", "NaN"]),
        ((features(9, 3, 0), features(8, 3, 0)), {}, ["subset_size", "1000", "2 to 8"]),
        ((features(9, 3, 0), features(8, 3, 0)), {"subset_size": 1}, ["subset_size", "1", "2 to 8"]),
        ((features(9, 3, 0).double() * 1e60, features(9, 3, 0).double()), {"subset_size": 3}, ["e+60", "scale both"]),
        ((features(9, 3, 0), features(8, 3, 0)), {"subsets": 0, "subset_size": 3}, ["subsets", "0", ">= 1"]),
    ],
)
def test_bad_arguments_are_named(arguments, options, words):
    with pytest.raises(ArgumentError) as error:
        kid(*arguments, **options)
    for word in words:
        assert word in str(error.value)
