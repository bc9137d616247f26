"""The pairwise ops' products on tensor cores, on the stand-in that rounds as they do: as accurate as the sums of differences."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
import torch

import vaefast.ops as ops
from vaefast.ops import mixture_density, mmd

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def products(cpu_backend):
    if cpu_backend != "cuda-on-cpu":
        pytest.skip("the CUDA kernels alone have products")


def errors(found: list[torch.Tensor], right: list[torch.Tensor]) -> list[float]:
    return [((f.double() - r).norm() / r.norm()).item() for f, r in zip(found, right, strict=True)]


def no_worse(f, inputs: tuple[torch.Tensor, ...], grad: torch.Tensor, monkeypatch) -> None:
    """The value of f and its gradients are as near to those in float64 by products as they are without them."""

    def both_ways(dtype, backend):
        given = [t.to(dtype).requires_grad_() for t in inputs]
        with ops.backend(backend):
            value = f(*given)
            return [t.detach() for t in (value, *torch.autograd.grad(value, given, grad.to(value)))]

    right = both_ways(torch.float64, "reference")
    products = errors(both_ways(torch.float32, "cpp"), right)
    monkeypatch.setattr(mmd, "PRODUCTS", range(0))
    monkeypatch.setattr(mixture_density, "PRODUCTS", range(0))
    for ours, plain in zip(products, errors(both_ways(torch.float32, "cpp"), right), strict=True):
        assert ours <= 2 * plain + 2e-6


def rows_of(kind: str, n: int, k: int) -> torch.Tensor:
    x = torch.randn(n, k)
    if kind == "outliers":  # rows of very different sizes share the scale of the halves
        x[::7] *= 1e3
        x[::5] *= 1e-3
    elif kind == "clusters":  # half of all pairs are near
        x = 10 * torch.randn(2, k)[torch.arange(n) % 2] + 0.1 * x
    elif kind == "offset":
        x = x + 1000
    return x


@pytest.mark.parametrize("kind", ["outliers", "clusters", "offset"])
@pytest.mark.parametrize("kernel", ["imq", "laplacian", "energy", "polynomial"])
def test_mmd_of_rows_that_are_hard_on_products(products, monkeypatch, kind, kernel):
    torch.manual_seed(0)
    x, y = rows_of(kind, 71, 33), rows_of(kind, 30, 33) * 1.01
    no_worse(lambda a, b: ops.mmd2(a, b, kernel=kernel), (x, y), torch.ones(()), monkeypatch)


def test_mmd_of_a_scale_beyond_the_fast_form(products, close):
    torch.manual_seed(0)
    x, y = torch.randn(70, 20) * 300, torch.randn(40, 20) * 200
    value = ops.mmd2(x, y, estimator="biased")
    close(value, ops.mmd2(x.double(), y.double(), estimator="biased"), 2e-5)


@pytest.mark.parametrize("kind", ["wide", "narrow", "some narrow", "offset", "tiny"])
@pytest.mark.parametrize("exclude", [False, True])
def test_densities_that_are_hard_on_products(products, monkeypatch, kind, exclude):
    torch.manual_seed(0)
    n, k = 75, 36
    mu, spread = torch.randn(n, k), torch.randn(n, k)
    logvar = {"narrow": -3 + 0.5 * spread, "tiny": -18 + 0.5 * spread}.get(kind, 0.3 * spread)
    if kind == "some narrow":
        logvar = torch.where(torch.arange(n)[:, None] % 3 == 0, -6.0, logvar)
    mu = 0.3 * mu + 50 if kind == "offset" else mu
    z = mu + torch.exp(0.5 * logvar) * torch.randn(n, k)
    density = partial(ops.mixture_log_density, exclude_self=exclude)
    no_worse(density, (z, mu, logvar), torch.linspace(-1, 2, n), monkeypatch)


def test_density_of_numbers_that_are_not_finite(products):
    torch.manual_seed(0)
    z, mu, logvar = torch.randn(9, 32), torch.randn(70, 32), torch.randn(70, 32)
    z[1, 3], z[2, 5], mu[4, 1] = math.inf, math.nan, math.inf
    value = ops.mixture_log_density(z, mu, logvar)
    assert value[1] == -math.inf and value[2].isnan() and value[3:].isfinite().all()
    z[2] = 0
    z.requires_grad_(), mu.requires_grad_()
    to_z, to_mu = torch.autograd.grad(ops.mixture_log_density(z, mu, logvar).sum(), (z, mu))
    assert to_z.isfinite().all() and to_mu.isfinite().all() and not to_z[1].any() and to_z[2].any()


def test_a_wide_row_goes_the_other_way(products):
    assert 65 not in mmd.PRODUCTS and 65 not in mixture_density.PRODUCTS  # 64 columns are what a tile holds


def test_bytes_over_255_round_as_a_division():
    """1 / 255 in two parts, in csrc/core/error.h: one multiply-add, which rounds once."""
    text = (ROOT / "csrc/core/error.h").read_text()
    found = re.findall(r"fmaf(?:_rn)?\(x, (0x[\w.]+p-\d+)f, x \* (-0x[\w.]+p-\d+)f\)", text)
    assert len(found) == 2 and len(set(found)) == 1
    high, low = (Fraction(float.fromhex(h)) for h in found[0])
    for x in range(256):
        rest = Fraction(torch.tensor(float(x)).mul(float(low)).item())
        exact = x * high + rest
        right = torch.tensor(float(x)).div(255).item()
        step = Fraction(2) ** (math.frexp(right)[1] - 24) if right else Fraction(1)
        assert abs(exact - Fraction(right)) <= step / 2
