"""The variance of images that share a code, against the direct sums."""

from __future__ import annotations

import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.metrics import pixel_variance, square_grid


def setting(n: int = 301, dtype=torch.float64):
    rng = torch.Generator().manual_seed(1)
    mean, std = torch.randn(n, 2, generator=rng, dtype=dtype), 0.05 + 0.2 * torch.rand(n, 2, generator=rng, dtype=dtype)
    return mean, std, torch.randint(0, 256, (n, 1, 5, 3), generator=rng, dtype=torch.uint8)


def test_against_direct_sums_with_weights_far_below_the_smallest_float():
    mean, std, images = setting()
    grid = torch.cat([square_grid(3.0, 7), torch.tensor([[40.0, -60.0]])])  # its densities are around exp(-1e5)
    found = pixel_variance(mean, std, images, grid, block=64)
    x = images.double() / 255
    w = torch.softmax(torch.distributions.Normal(mean, std).log_prob(grid[:, None].double()).sum(2), 1)
    m = torch.einsum("gi,icyx->gcyx", w, x)
    v = torch.einsum("gi,icyx->g", w, x.square()) - m.square().flatten(1).sum(1)
    torch.testing.assert_close(found.mean, m, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.variance, v, rtol=1e-9, atol=1e-11)
    assert (found.images >= 1 - 1e-9).all() and (found.images <= len(x)).all()
    floats = pixel_variance(mean.float(), std.float(), x.float(), grid, block=1000)
    torch.testing.assert_close(floats.variance, v, rtol=1e-3, atol=1e-4)


def test_the_mean_is_the_picture_of_the_least_error_and_the_variance_that_error():
    mean, std, images = setting(50)
    grid = torch.zeros(1, 2)
    found = pixel_variance(mean, std, images, grid)
    w = torch.softmax(torch.distributions.Normal(mean, std).log_prob(grid.double()).sum(1), 0)
    x = images.double() / 255

    def error(g):
        return (w * (x - g).square().flatten(1).sum(1)).sum()

    assert error(found.mean[0]).item() == pytest.approx(found.variance.item(), rel=1e-9)
    rng = torch.Generator().manual_seed(2)
    for _ in range(5):
        assert error(found.mean[0] + 0.01 * torch.randn(1, 5, 3, generator=rng, dtype=torch.float64)) > found.variance.item()


def test_ends():
    mean, _, images = setting(20)
    far = pixel_variance(mean, torch.full((20, 2), 1e4), images, mean[:3])  # codes that tell nothing
    x = images.double() / 255
    torch.testing.assert_close(far.variance, x.var(0, correction=0).sum().expand(3), rtol=1e-5, atol=0)
    near = pixel_variance(mean, torch.full((20, 2), 1e-6), images, mean[:3])  # codes that tell all
    torch.testing.assert_close(near.mean, x[:3])
    assert near.variance.max() < 1e-9 and near.images.tolist() == pytest.approx([1, 1, 1])


def test_the_grid_reads_like_a_page():
    grid = square_grid(2.0, 3)
    assert grid.tolist() == [[-2, 2], [0, 2], [2, 2], [-2, 0], [0, 0], [2, 0], [-2, -2], [0, -2], [2, -2]]


def test_what_cannot_work():
    mean, std, images = setting(10)
    for words in ((mean, std, images[:5], square_grid()), (mean, std, images, torch.zeros(3, 3)),
                  (mean, 0 * std, images, square_grid()), (mean, std, images, torch.full((1, 2), float("nan")))):
        with pytest.raises(ArgumentError):
            pixel_variance(*words)
    for words in ((0.0, 5), (3.0, 1)):
        with pytest.raises(ArgumentError):
            square_grid(*words)
    with pytest.raises(ArgumentError):
        pixel_variance(mean, std, images, square_grid(), block=0)
