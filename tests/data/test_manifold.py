import pytest
import torch

from vaefast.data import manifold
from vaefast.data.manifold import KINDS
from vaefast.errors import ArgumentError


@pytest.mark.parametrize("kind", KINDS)
def test_form_and_seeds(kind):
    x = manifold(3, 11, kind, n=50)
    assert x.shape == (50, 11) and x.dtype == torch.float32 and torch.isfinite(x).all()
    assert torch.equal(x, manifold(3, 11, kind, n=50)) and not torch.equal(x, manifold(3, 11, kind, n=50, seed=1))
    noisy = manifold(3, 11, kind, n=50, noise=0.1) - x
    assert 0.08 < noisy.std() < 0.12
    state = torch.random.get_rng_state()
    manifold(2, 5, kind, n=3)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("r, d", [(1, 1), (1, 5), (4, 4), (7, 30)])
def test_linear_is_an_isometric_flat(r, d):
    x = manifold(r, d, n=20_000).double()
    values = torch.linalg.svdvals(x) / 20_000**0.5
    assert torch.allclose(values[:r], torch.ones(r, dtype=torch.float64), atol=0.06)
    assert values[r:].max() < 1e-6 if d > r else True


def local_dimension(x, near=40):
    """Directions in which the nearest neighbours of the first point lie, at distances far below the bends."""
    offsets = x - x[:1]
    closest = offsets[offsets.norm(dim=1).argsort()[1 : near + 1]]
    values = torch.linalg.svdvals(closest)
    return int((values > 0.1 * values[0]).sum())


@pytest.mark.parametrize("r, d", [(1, 2), (1, 6), (2, 3), (2, 8), (3, 12)])
@pytest.mark.parametrize("kind", ["curved", "sphere"])
def test_manifolds_are_r_dimensional_but_span_more(kind, r, d):
    x = manifold(r, d, kind, n=200_000).double()
    assert local_dimension(x) == r
    span = int((torch.linalg.svdvals(x[:5000]) / 5000**0.5 > 1e-4).sum())
    assert span == (r + 1 if kind == "sphere" else r + min(r, d - r))


@pytest.mark.parametrize("r, d", [(1, 2), (4, 9), (8, 16)])
def test_the_jacobian_of_the_curved_map_has_full_rank(r, d):
    from vaefast.data.manifold import _coordinates

    for t in torch.randn(20, r, dtype=torch.float64):
        def curve(t):
            return _coordinates(t[None], "curved", d, torch.Generator().manual_seed(0))[0]

        values = torch.linalg.svdvals(torch.autograd.functional.jacobian(curve, 3 * t))
        assert values.shape == (r,) and values.min() >= 1 - 1e-9


def test_spheres_are_round():
    x = manifold(4, 9, "sphere", n=5000)
    assert torch.allclose(x.norm(dim=1), torch.ones(5000), atol=1e-5) and x.mean(0).norm() < 0.05


@pytest.mark.parametrize("given, message", [
    ({"r": 0, "d": 3}, "r must be"), ({"r": 4, "d": 3}, "needs 4 or more"), ({"r": 3, "d": 3, "kind": "curved"}, "needs 4"),
    ({"r": 3, "d": 3, "kind": "sphere"}, "needs 4"), ({"r": 1, "d": 2, "kind": "torus"}, "linear, curved, sphere"),
    ({"r": 1, "d": 2, "n": 0}, "n must be"), ({"r": 1, "d": 2, "noise": -1}, "noise"), ({"r": 1.5, "d": 2}, "r must be"),
])
def test_refuses(given, message):
    with pytest.raises(ArgumentError, match=message):
        manifold(**given)
