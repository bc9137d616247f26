"""Bilinear upsampling: two products where deterministic algorithms are asked for, and torch's own way elsewhere."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vaefast.nets.upsampling import bilinear


@pytest.mark.parametrize(("of", "to"), [(2, 4), (3, 45), (4, 8), (7, 7), (8, 5), (1, 4)])
def test_products_are_torchs_bilinear(monkeypatch, of, to):
    x = torch.randn(2, 3, of, of, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 3, to, to, dtype=torch.float64)
    expected = F.interpolate(x, size=(to, to), mode="bilinear", align_corners=True)
    assert torch.equal(bilinear(x, to), expected)
    gradient, = torch.autograd.grad(expected, x, upstream)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    found = bilinear(x, to)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # positions are float32
    torch.testing.assert_close(torch.autograd.grad(found, x, upstream)[0], gradient, rtol=0, atol=1e-5)
