import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.metrics import GaussianStatistics, frechet_distance, frechet_from_statistics


def features(n, dim, seed, scale=1.0, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=rng, dtype=torch.float64) / dim**0.5 + torch.eye(dim, dtype=torch.float64)
    return torch.randn(n, dim, generator=rng, dtype=torch.float64) @ mix * scale + shift


@pytest.mark.parametrize("dim", [1, 3, 40])
def test_matches_the_matrix_square_root(dim):
    linalg = pytest.importorskip("scipy.linalg")
    a, b = features(500, dim, 1), features(400, dim, 2, scale=1.3, shift=0.4)
    c1, c2 = torch.cov(a.T).reshape(dim, dim), torch.cov(b.T).reshape(dim, dim)
    root = linalg.sqrtm((c1 @ c2).numpy()).real
    expected = float((a.mean(0) - b.mean(0)).square().sum() + c1.trace() + c2.trace()) - 2 * root.trace()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_closed_form_for_diagonal_covariances():
    s1, s2 = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([3.0, 0.5, 0.0])
    m1, m2 = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 0.0])
    expected = float((m1 - m2).square().sum() + (s1 - s2).square().sum())
    assert frechet_from_statistics(m1, s1.square().diag(), m2, s2.square().diag()) == pytest.approx(expected, rel=1e-12)


def test_equal_sets_are_at_zero_and_a_shift_at_its_square():
    a = features(300, 20, 3)
    assert frechet_distance(a, a) == 0.0
    assert frechet_distance(a, a.flip(0)) < 1e-9
    assert frechet_distance(a, a + 0.5) == pytest.approx(20 * 0.25, rel=1e-9)


def test_rank_deficient_features_are_as_good_as_their_own_subspace():
    # The same 6-dimensional clouds, plain and turned into 60 dimensions: 54 null directions must cost nothing.
    a, b = features(500, 6, 4), features(500, 6, 5, scale=2.0, shift=1.0)
    turn = torch.linalg.qr(torch.randn(60, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(6)))[0][:6]
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-9)


@pytest.mark.parametrize("least", [1e-3, 1e-9, 1e-14, 0.0])
def test_nearly_singular_covariances(least):
    # Commuting covariances: the distance is that of the standard deviations. Both factorisations are met on the way.
    turn = torch.linalg.qr(torch.randn(30, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(11)))[0]
    s1, s2 = (torch.logspace(0, -1, 30, dtype=torch.float64) * scale for scale in (1.0, 2.0))
    s1[20:] = s2[20:] = least
    zero, (c1, c2) = torch.zeros(30), (turn @ s.square().diag() @ turn.T for s in (s1, s2))
    expected = float((s1 - s2).square().sum())
    assert frechet_from_statistics(zero, c1, zero, c2) == pytest.approx(expected, rel=1e-7)


def test_fewer_rows_than_features():
    a, b = features(10, 50, 7), features(12, 50, 8)
    with pytest.warns(UserWarning, match="10 rows are few .* in 50 features"):
        d = frechet_distance(a, b)
    notices = []
    frechet_distance(features(51, 50, 1), features(50, 50, 2), notice=notices.append)
    frechet_distance(features(51, 50, 1), features(52, 50, 2), notice=lambda text: pytest.fail(text))
    assert len(notices) == 1 and "take more than 50" in notices[0].lower()
    assert d > 0 and d == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, a.flip(0)) < 1e-9


def test_statistics_do_not_depend_on_the_batches():
    x = features(1000, 8, 9, shift=1e4).float()
    whole = GaussianStatistics(8).update(x)
    for size in (1, 7, 999):
        parts = GaussianStatistics(8)
        for batch in x.split(size):
            parts.update(batch)
        assert parts.n == 1000
        torch.testing.assert_close(parts.mean, x.double().mean(0), rtol=1e-13, atol=0)
        torch.testing.assert_close(parts.cov, torch.cov(x.double().T), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(parts.cov, whole.cov, rtol=1e-9, atol=1e-12)


def test_merge_is_as_if_one_had_seen_all():
    x = features(100, 5, 10)
    left, right = GaussianStatistics(5).update(x[:30]), GaussianStatistics(5).update(x[30:])
    merged = GaussianStatistics(5).merge(left).merge(right).merge(GaussianStatistics(5))
    assert merged.n == 100
    torch.testing.assert_close(merged.cov, torch.cov(x.T))


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (torch.randn(5, 3), torch.randn(5, 4), "3 and 4"),
        (torch.randn(1, 3), torch.randn(5, 3), "at least 2"),
        (torch.full((5, 3), float("nan")), torch.randn(5, 3), "NaN"),
        (torch.randn(5), torch.randn(5, 3), "shape"),
    ],
)
def test_bad_features_are_refused(a, b, says):
    with pytest.raises(ArgumentError, match=says):
        frechet_distance(a, b)


def test_bad_statistics_are_refused():
    with pytest.raises(ArgumentError, match="columns"):
        GaussianStatistics(3).update(torch.randn(2, 4))
    with pytest.raises(ArgumentError, match="merge"):
        GaussianStatistics(3).merge(GaussianStatistics(4))
    with pytest.raises(ArgumentError, match="covariance"):
        frechet_from_statistics(torch.zeros(2), torch.eye(3), torch.zeros(2), torch.eye(2))
    with pytest.raises(ArgumentError, match="dim"):
        GaussianStatistics(0)
