"""Sliced Wasserstein against the definition in float64, and what it is of shifts."""

from __future__ import annotations

import pytest
import torch

from vaefast import metrics
from vaefast.errors import ArgumentError


def definition(x, y, directions, seed):
    """Every projection's squared distance by a fine grid of quantiles, which both counts divide."""
    along = torch.randn(x.shape[1], directions, generator=torch.Generator().manual_seed(seed)).double()
    along /= along.norm(dim=0)
    a, b = ((rows @ along).sort(0).values.repeat_interleave(len(other), 0) for rows, other in ((x, y), (y, x)))
    return float((x.shape[1] * (a - b).square().mean()).sqrt())


@pytest.mark.parametrize(("n", "m", "dim"), [(17, 17, 5), (12, 35, 3), (1, 7, 2), (6, 4, 40)])
def test_it_is_the_distance_of_the_quantile_functions(n, m, dim):
    x, y = torch.randn(n, dim, dtype=torch.float64), 2 * torch.rand(m, dim, dtype=torch.float64)
    assert metrics.sliced_wasserstein(x, y, directions=9, seed=3) == pytest.approx(definition(x, y, 9, 3), rel=1e-5)
    assert metrics.sliced_wasserstein(y, x, directions=9, seed=3) == pytest.approx(definition(x, y, 9, 3), rel=1e-5)


def test_shifts_and_images():
    x = torch.randn(50, 7)
    shift = torch.tensor([3.0, 0, 0, -4.0, 0, 0, 0])
    assert metrics.sliced_wasserstein(x, x + shift, directions=4000) == pytest.approx(5.0, rel=0.05)
    assert metrics.sliced_wasserstein(x, x.flip(0)) == pytest.approx(0, abs=1e-6)
    images = torch.randint(0, 256, (9, 3, 4, 5), dtype=torch.uint8)
    assert metrics.sliced_wasserstein(images, images.float() / 255) == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_compared():
    for x, y, options, words in ((torch.zeros(3, 2), torch.zeros(3, 4), {}, "all of one shape"),
                                 (torch.zeros(0, 2), torch.zeros(3, 2), {}, "a row or more"),
                                 (torch.zeros(3, 2), torch.zeros(3, 2), {"directions": 0}, "directions is 0")):
        with pytest.raises(ArgumentError, match=words):
            metrics.sliced_wasserstein(x, y, **options)


def test_autocast_around_it_changes_nothing():
    """As in a validation loop of Lightning's or Accelerate's: the distance was 40 % larger there."""
    a, b = (1 + 0.05 * torch.rand(80, 512, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    plain = metrics.sliced_wasserstein(a, b), metrics.kid(a, b, subsets=5, subset_size=40)
    with torch.autocast("cpu", torch.bfloat16):
        assert (metrics.sliced_wasserstein(a, b), metrics.kid(a, b, subsets=5, subset_size=40)) == plain
