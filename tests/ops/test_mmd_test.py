"""mmd_test and mmd2_subsets, both held against mmd2 itself."""

from __future__ import annotations

import pytest
import torch

import vaefast.ops as ops
from vaefast.errors import ArgumentError
from vaefast.ops import permutations


def make(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kernel", ["imq", "rbf", "laplacian", "energy", "polynomial"])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_every_permutation_has_the_mmd_of_its_deal(monkeypatch, kernel, estimator):
    monkeypatch.setattr(permutations, "_TILE", 8)
    x, y = make(2, 12, 3) + 5, 0.5 * make(2, 9, 3, seed=1) + 5
    options = {"kernel": kernel, "estimator": estimator}
    found = ops.mmd_test(x, y, permutations=20, seed=5, **options)
    bandwidth = ops.median_distance(x, y)
    torch.testing.assert_close(found.value, ops.mmd2(x, y, **options), rtol=1e-4, atol=1e-6)
    generator = torch.Generator().manual_seed(5)
    deals = torch.rand(2, 20, 21, generator=generator, dtype=torch.float64).argsort(2) < 12
    for p in range(2):
        rows = torch.cat((x[p], y[p])).double()
        if kernel in ("rbf", "laplacian"):
            options["scales"] = float(bandwidth[p])
        expected = torch.stack([ops.mmd2(rows[d], rows[~d], **options) for d in deals[p]])
        torch.testing.assert_close(found.permuted[p].double(), expected, rtol=1e-4, atol=1e-6)
        count = (expected >= ops.mmd2(x[p].double(), y[p].double(), **options)).sum()
        assert found.p_value[p] == pytest.approx((1 + int(count)) / 21)


def test_null_p_values_are_uniform():
    found = ops.mmd_test(make(1000, 15, 3), make(1000, 10, 3, seed=1), permutations=99, seed=3)
    p = found.p_value.sort().values
    assert (p - torch.linspace(0, 1, 1000)).abs().max() < 0.06  # Kolmogorov-Smirnov at 1e-3


@pytest.mark.parametrize("kernel", ["imq", "rbf", "energy"])
def test_a_shift_is_found(kernel):
    x, y = make(20, 60, 4), make(20, 80, 4, seed=1) + 0.8
    found = ops.mmd_test(x, y, kernel=kernel, permutations=199, seed=0)
    assert (found.p_value <= 0.05).double().mean() >= 0.9
    assert found.p_value.min() >= 1 / 200


def test_seeds_generators_and_shapes():
    x, y = make(30, 4), make(40, 4, seed=1)
    one, again, other = (ops.mmd_test(x, y, permutations=50, seed=s) for s in (7, 7, 8))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.permuted, other.permuted)
    assert one.value.shape == one.p_value.shape == () and one.permuted.shape == (50,)
    drawn = ops.mmd_test(x, y, permutations=50, generator=torch.Generator().manual_seed(7))
    assert torch.equal(one.permuted, drawn.permuted)
    torch.manual_seed(7)
    assert torch.equal(one.permuted, ops.mmd_test(x, y, permutations=50).permuted)
    assert ops.mmd_test(x.double(), y).value.dtype == torch.float64
    assert ops.mmd_test(x.bfloat16().requires_grad_(), y).p_value.dtype == torch.float32


def test_ties_count_for_the_permutations_and_nan_stays():
    x = torch.ones(6, 2)
    assert ops.mmd_test(x, x, permutations=30, seed=0).p_value == 1
    x = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    found = ops.mmd_test(x, 1 - x, permutations=60, seed=0)
    equal = (found.permuted - found.value).abs() < 1e-6
    assert found.p_value == pytest.approx((1 + float(((found.permuted > found.value) | equal).sum())) / 61)
    assert ops.mmd_test(x * float("nan"), x, permutations=5, seed=0).p_value.isnan()


ONE, TWO = make(5, 3), make(6, 3)


@pytest.mark.parametrize(
    "arguments, options, words",
    [
        ((ONE[:1], TWO), {}, ["x", "1 row", "2"]),
        ((ONE, TWO[:, :2]), {}, ["y", "[6, 2]"]),
        ((ONE, TWO), {"estimator": "linear"}, ["estimator", "'linear'", "'biased'"]),
        ((ONE, TWO), {"scales": [float("nan")]}, ["scales", "nan"]),
        ((ONE, TWO), {"permutations": 0}, ["permutations", "0", ">= 1"]),
        ((ONE, TWO), {"permutations": 2.0}, ["permutations", "2.0"]),
        ((ONE, TWO), {"seed": -1}, ["seed", "-1"]),
        ((ONE, TWO), {"seed": 1, "generator": torch.Generator()}, ["seed", "generator"]),
    ],
)
def test_bad_arguments_are_named(arguments, options, words):
    with pytest.raises(ArgumentError) as error:
        ops.mmd_test(*arguments, **options)
    for word in words:
        assert word in str(error.value)


def rows_of(rows, count, size, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(rows, generator=generator)[:size] for _ in range(count)])


@pytest.mark.parametrize("options", [{}, {"degree": 1}, {"degree": 2, "gamma": 0.3, "coef0": 0.0}, {"kernel": "imq"},
                                     {"kernel": "rbf", "scales": [2.0]}], ids=str)  # fmt: skip
@pytest.mark.parametrize("count", [2, 60])  # fewer pairs than the sets have, and more
@pytest.mark.parametrize("onednn", [False, True], ids=["mkl", "onednn"])  # whose products they take
def test_subsets_equal_mmd2(monkeypatch, close, options, count, onednn):
    monkeypatch.setattr("vaefast.ops.mmd_subsets.mkl_is_slow", lambda: onednn)
    monkeypatch.setattr("vaefast.ops.mmd_subsets._TILE", 32)
    monkeypatch.setattr("vaefast.ops.mmd_subsets._GATHERED", 2000)
    x, y = make(90, 10) + 3, 1.2 * make(70, 10, seed=1) + 3
    rows_x, rows_y = rows_of(90, count, 41, 1), rows_of(70, count, 30, 2)
    expected = ops.mmd2(x[rows_x].double(), y[rows_y].double(), **{"kernel": "polynomial", **options})
    for dtype, bound in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
        got = ops.mmd2_subsets(x.to(dtype), y.to(dtype), rows_x, rows_y, **options)
        assert got.dtype == dtype
        close(got, expected, bound)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((ONE[None], TWO[None], rows_of(5, 2, 3, 0), rows_of(6, 2, 3, 0)), ["x", "[1, 5, 3]"]),
        ((ONE, TWO, [0, 1], rows_of(6, 2, 3, 0)), ["rows_x", "list"]),
        ((ONE, TWO, rows_of(5, 2, 3, 0).int(), rows_of(6, 2, 3, 0)), ["rows_x", "int32"]),
        ((ONE, TWO, rows_of(5, 2, 3, 0), rows_of(6, 2, 1, 0)), ["rows_y", "[2, 1]", "n >= 2"]),
        ((ONE, TWO, rows_of(5, 2, 3, 0), rows_of(6, 3, 3, 0)), ["rows_y", "3 sub-samples", "2"]),
    ],
)
def test_bad_subsets_are_named(arguments, words):
    with pytest.raises(ArgumentError) as error:
        ops.mmd2_subsets(*arguments)
    for word in words:
        assert word in str(error.value)
