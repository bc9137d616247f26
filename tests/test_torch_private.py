"""What serves where a version of PyTorch lacks a private part does the same."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from vaefast import torch_private


@pytest.fixture(params=["there", "missing"])
def parts(request, monkeypatch):
    if request.param == "missing":
        monkeypatch.setattr(torch_private, "has", lambda path: False)


def test_lists_of_tensors(parts):
    one, two = [torch.randn(3), torch.randn(2, 2)], [torch.randn(3), torch.randn(2, 2)]
    expected = [a + 0.25 * (b - a) for a, b in zip(one, two)]
    for share in (0.25, torch.tensor(0.25)):
        found = [a.clone() for a in one]
        torch_private.lerp_all(found, two, share)
        torch.testing.assert_close(found, expected)
    torch_private.clamp_all(one, -0.1, 0.2)
    assert all(-0.1 <= a.min() and a.max() <= 0.2 for a in one)
    torch_private.copy_all(one, two)
    assert all(torch.equal(a, b) for a, b in zip(one, two))


def test_gradients_unscaled_together(parts):
    tensors = [torch.tensor([2.0, -4.0]), torch.ones(2, 2, dtype=torch.float64)]
    found_inf = torch.zeros(())
    torch_private.unscale_all(tensors, torch.tensor(0.5), found_inf)
    assert tensors[0].tolist() == [1.0, -2.0] and (tensors[1] == 0.5).all() and found_inf == 0
    for bad in (torch.nan, torch.inf):
        found_inf.zero_()
        torch_private.unscale_all([torch.ones(3), torch.tensor([1.0, bad])], torch.tensor(0.5), found_inf)
        assert found_inf == 1


def test_dense_layer(parts):
    x, weight, bias = torch.randn(5, 3), torch.randn(4, 3), torch.randn(4)
    torch.testing.assert_close(torch_private.onednn_linear(x, weight, bias), x @ weight.T + bias)


def test_transformed_tensors_are_told_apart():
    seen = []
    torch.func.grad(lambda x: (seen.append(torch_private.is_transformed(x)), x.sum())[1])(torch.ones(2))
    assert seen == [True] and not torch_private.is_transformed(torch.ones(2))


def test_ops_have_their_gradients_without_the_private_parts():
    code = """
from vaefast import torch_private
torch_private.has = lambda path: False
import torch
from vaefast import ops
mu, logvar = (torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
z, kl = ops.reparam_kl(mu, logvar, seed=1)
to_mu, to_logvar = torch.autograd.grad(kl.sum(), (mu, logvar))
torch.testing.assert_close(to_mu, mu.detach())
torch.testing.assert_close(to_logvar, 0.5 * (logvar.detach().exp() - 1))
x = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
assert torch.autograd.grad(ops.mmd2(x, torch.randn(5, 2).double()), x)[0].isfinite().all()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
