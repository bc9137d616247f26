import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.metrics import latent_mmd, mmd2_imq


def normal(n, k, seed):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain(x, y):
    """The definition, pair by pair."""
    k = x.shape[1]

    def kernel(a, b):
        d2 = (a[:, None] - b[None]).square().sum(-1)
        return sum(c / (c + d2) for c in (2 * k * s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10)))

    def within(a):
        full = kernel(a, a)
        return (full.sum() - full.diagonal().sum()) / (len(a) * (len(a) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


def test_matches_the_definition():
    x, y = normal(70, 5, 1), normal(55, 5, 2) * 0.7 + 0.3
    assert mmd2_imq(x, y) == pytest.approx(plain(x, y), rel=1e-10)


def test_keeps_its_digits_far_from_the_origin():
    x, y = normal(50, 8, 3), normal(50, 8, 4) * 0.5
    assert mmd2_imq(x + 1e4, y + 1e4) == pytest.approx(plain(x, y), rel=1e-6)


CODES = {  # n = 2000, k = 64: value and how far a draw may be from it
    "independent N(0, I)": (lambda z: z, 0.0003, 0.002),
    "rank 8, matched total variance": (lambda z: z[:, :8].repeat(1, 8), 0.07, 0.01),
    "std 0.5": (lambda z: z * 0.5, 0.45, 0.01),
    "mean shifted by 1": (lambda z: z + 1, 0.92, 0.02),
    "all codes at 0": (lambda z: z * 0, 1.93, 0.01),
    "all codes far away": (lambda z: z * 0 + 1e4, 10.5, 0.1),
}


@pytest.mark.parametrize("name", CODES)
def test_known_values(name):
    codes, expected, tolerance = CODES[name]
    assert mmd2_imq(codes(normal(2000, 64, 5)), normal(2000, 64, 6)) == pytest.approx(expected, abs=tolerance)


def test_latents_against_the_prior():
    good = latent_mmd(normal(1500, 16, 7))
    assert abs(good["value"]) < 4 * good["standard_error"] and abs(good["reference"]) < 4 * good["standard_error"]
    bad = latent_mmd(normal(1500, 16, 7) * 0.5)
    assert bad["value"] > 20 * abs(bad["reference"]) and bad["value"] > 10 * bad["standard_error"]
    assert bad == latent_mmd(normal(1500, 16, 7) * 0.5)
    assert bad["value"] != latent_mmd(normal(1500, 16, 7) * 0.5, seed=1)["value"]


def test_bad_samples_are_refused():
    with pytest.raises(ArgumentError, match="5 and 4"):
        mmd2_imq(normal(9, 5, 0), normal(9, 4, 0))
    with pytest.raises(ArgumentError, match="at least 2"):
        mmd2_imq(normal(1, 5, 0), normal(9, 5, 0))
    with pytest.raises(ArgumentError, match="NaN"):
        mmd2_imq(normal(9, 5, 0) * float("nan"), normal(9, 5, 0))
    with pytest.raises(ArgumentError, match="blocks"):
        latent_mmd(normal(9, 5, 0), blocks=5)
