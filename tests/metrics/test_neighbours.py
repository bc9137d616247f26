import numpy as np
import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.metrics import precision_recall_density_coverage as prdc


def naive(real, fake, k):
    """The definitions, distance by distance."""
    def distances(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))

    def radii(x):
        d = distances(x, x)
        np.fill_diagonal(d, np.inf)
        return np.sort(d, 1)[:, k - 1]

    real, fake = real.double().numpy(), fake.double().numpy()
    d, real_radius, fake_radius = distances(real, fake), radii(real), radii(fake)
    inside = d <= real_radius[:, None]
    return (inside.any(0).mean(), (d <= fake_radius).any(1).mean(), inside.sum(0).mean() / k, inside.any(1).mean())


def cloud(n, d, seed, shift=0.0, scale=1.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * scale + shift


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("n, m, d", [(61, 47, 3), (20, 133, 17)])
def test_equals_the_definition(n, m, d, k):
    real, fake = cloud(n, d, 1), cloud(m, d, 2, 0.4, 0.9)
    found = prdc(real, fake, k=k)
    np.testing.assert_allclose(found[:4], naive(real, fake, k), rtol=1e-12)
    assert found[4:] == (n, m, k) and 0 < found.precision <= 1
    for block in (1, 7, 1000):
        assert prdc(real, fake, k=k, block=block) == found


def test_known_cases():
    x = cloud(200, 8, 3)
    same = prdc(x, x.clone())
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1) and same.density > 1
    far = prdc(x, x + 100)
    assert far[:4] == (0, 0, 0, 0)
    # A generator of few modes: precise, without recall; density sees its crowd, coverage what it leaves out.
    narrow = prdc(x, cloud(200, 8, 4, scale=0.1))
    assert narrow.precision > 0.9 and narrow.recall < 0.1 and narrow.density > 1 and narrow.coverage < 0.9
    wide = prdc(x, cloud(200, 8, 4, scale=5))
    assert wide.precision < 0.2 and wide.recall > 0.9


def test_fresh_samples_of_one_distribution_have_density_one():
    found = prdc(cloud(1500, 6, 5), cloud(1500, 6, 6))
    assert found.density == pytest.approx(1, abs=0.05) and found.coverage > 0.93
    # Naeem et al. 2020, lemma 2: coverage of equal distributions is 1 - 2^-k for many rows.
    expected = 1 - 0.5**5
    assert found.coverage == pytest.approx(expected, abs=0.02)


def test_far_from_the_origin_and_in_half_precision():
    real, fake = cloud(80, 5, 7), cloud(80, 5, 8)
    assert prdc(real.double() + 1e6, fake.double() + 1e6)[:4] == pytest.approx(prdc(real, fake)[:4], abs=0.03)
    assert prdc(real.bfloat16(), fake.bfloat16()).real == 80


@pytest.mark.parametrize("far", [1e6, 1e9, 1e12, 1e120])
@pytest.mark.parametrize("where", ["real", "fake", "half", "column"])
def test_rows_far_away_do_not_widen_the_balls_of_others(far, where):
    real, fake = cloud(41, 5, 1).double(), cloud(37, 5, 2, 0.3).double()
    if where == "half":  # two groups, each close together: the products of the far one lose every digit
        real[::2, 0] += min(far, 1e12)
        fake[::2, 0] += min(far, 1e12)
    elif where == "column":  # one feature of another size
        real[:, 0] *= far
        fake[:, 0] *= far
    else:
        {"real": real, "fake": fake}[where][3] = far
    scale = 1 / far if far > 1e100 else 1  # or the definition itself overflows
    np.testing.assert_allclose(prdc(real, fake, k=3)[:4], naive(real * scale, fake * scale, 3), rtol=1e-12)


def test_tiny_and_repeated_rows():
    real, fake = cloud(41, 5, 1).double(), cloud(37, 5, 2, 0.3).double()
    assert prdc(real * 1e-160, fake * 1e-160)[:4] == prdc(real, fake)[:4]
    copies = real.repeat(3, 1) + 1e5
    assert prdc(copies, copies.flip(0), k=2)[:4] == pytest.approx((1, 1, 1.5, 1))


@pytest.mark.parametrize("arguments, options, words", [
    (([1.0], cloud(9, 3, 0)), {}, "list"), ((cloud(9, 3, 0), cloud(9, 4, 0)), {}, "3 and 4"),
    ((cloud(9, 3, 0), cloud(4, 3, 0)), {}, "1 to 3"), ((cloud(9, 3, 0), cloud(9, 3, 0)), {"k": 0}, "k is 0"),
    ((cloud(9, 3, 0), cloud(9, 3, 0) * float("nan")), {}, "fake holds NaN"), ((cloud(9, 3, 0),) * 2, {"block": 0}, "block"),
])  # fmt: skip
def test_bad_arguments(arguments, options, words):
    with pytest.raises(ArgumentError, match=words):
        prdc(*arguments, **options)


@pytest.mark.parametrize("near, far", [(1, 1e308), (1e-120, 1e120), (1e-200, 1)])
@pytest.mark.parametrize("which", ["real", "fake"])
def test_what_float64_cannot_hold_is_refused(near, far, which):
    """Radii would underflow to 0, or all distances be the same: density 20 where 1 is right."""
    real, fake = cloud(41, 5, 1).double() * near, cloud(37, 5, 2, 0.3).double() * near
    expected = naive(real / near, fake / near, 3)
    np.testing.assert_allclose(prdc(real, fake, k=3)[:4], expected, rtol=1e-12)
    {"real": real, "fake": fake}[which][3] = far
    with pytest.raises(ArgumentError, match="too far for squares in float64"):
        prdc(real, fake, k=3)


@pytest.mark.parametrize("far", [1e30, 3e38])
def test_all_of_float32_is_in_range(far):
    real, fake = cloud(41, 5, 1) * 1e-38, cloud(37, 5, 2, 0.3) * 1e-38
    real[3], fake[4] = far, -far
    np.testing.assert_allclose(prdc(real, fake, k=3)[:4], naive(real.double(), fake.double(), 3), rtol=1e-12)
