"""Dense layers through oneDNN: the same numbers to any order of derivative, and only where they are asked for."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vaefast import cpu
from vaefast.training import dense

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")


@pytest.fixture
def products(monkeypatch):
    """Sizes of the products that oneDNN is given."""
    found = []
    forward = dense._Dense.forward

    def counted(ctx, x, weight, bias):
        found.append((*x.shape, len(weight)))
        return forward(ctx, x, weight, bias)

    monkeypatch.setattr(dense._Dense, "forward", staticmethod(counted))
    return found


def _leaves(n, k, m, bias=True):
    generator = torch.Generator().manual_seed(n + k + m)
    shapes = ((n, k), (m, k), (m,)) if bias else ((n, k), (m, k))
    return [torch.randn(s, generator=generator, requires_grad=True) for s in shapes]


def _slope_penalty(x, weight, bias=None):
    """A loss with second derivatives, as a gradient penalty has them, and a gradient that is the same in every row."""
    y = F.linear(x, weight, bias)
    (slope,) = torch.autograd.grad(y.tanh().sum(), x, create_graph=True)
    return slope.square().sum() / len(x) + F.linear(x, weight, bias).sum() / len(x)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n", "k", "m"), [(1, 7, 5), (33, 129, 65), (64, 62, 31)])
def test_values_and_two_orders_of_gradients(monkeypatch, products, n, k, m, bias):
    monkeypatch.setattr(dense, "SMALLEST", 0)
    leaves = _leaves(n, k, m, bias)
    with dense.OneDNNDense():
        y = F.linear(*leaves)
        loss = _slope_penalty(*leaves)
        found = torch.autograd.grad(loss, leaves)
    assert products
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = torch.autograd.grad(_slope_penalty(*wide), wide)
    torch.testing.assert_close(y.double(), F.linear(*wide), rtol=1e-5, atol=1e-5)
    for own, reference, leaf in zip(found, expected, leaves):
        assert own.stride() == leaf.stride()
        torch.testing.assert_close(own.double(), reference, rtol=1e-4, atol=1e-5 * reference.abs().max().item())


def test_memory_orders(monkeypatch, products):
    monkeypatch.setattr(dense, "SMALLEST", 0)
    x = torch.randn(34, 12).t()[:, ::2]
    weights = torch.randn(17, 9).t(), torch.randn(9, 34)[:, ::2], torch.randn(9, 1).expand(9, 17), torch.randn(9, 20)[:, 3:]
    for weight in weights:
        with dense.OneDNNDense():
            torch.testing.assert_close(F.linear(x, weight), x @ weight.t(), rtol=1e-5, atol=1e-5)
    assert products == [(12, 17, 9)] * 4


def test_small_products_stay_where_they_were(products):
    x, weight, bias = _leaves(16, 32, 32)
    with dense.OneDNNDense():
        assert torch.equal(F.linear(x, weight, bias), torch.addmm(bias, x, weight.t()))
    assert not products


def test_other_kinds_of_tensors_are_left_alone(monkeypatch, products):
    monkeypatch.setattr(dense, "SMALLEST", 0)
    x, weight, _ = (leaf.detach() for leaf in _leaves(8, 16, 4))
    with dense.OneDNNDense():
        F.linear(x.double(), weight.double())
        F.linear(x[None], weight)
        F.linear(x[0], weight)
        F.linear(x, weight[0])
        F.linear(x, weight, torch.ones(1))
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            F.linear(x, weight[:, 1:])
        torch.func.vmap(lambda row: F.linear(row[None], weight))(x)
        torch.func.jvp(lambda x: F.linear(x, weight), (x,), (x,))
        with torch.autocast("cpu", torch.bfloat16):
            assert F.linear(x, weight).dtype == torch.bfloat16
        assert not products
        F.linear(x, weight=weight)
    assert not products


@pytest.mark.parametrize(("vendor", "capability", "slow"), [("AuthenticAMD", "AVX512", True), ("AuthenticAMD", "AVX2", False),
                                                            ("GenuineIntel", "AVX512", False)])
def test_who_gets_it(monkeypatch, vendor, capability, slow):
    monkeypatch.setattr(cpu, "cpu_info", lambda: f"vendor_id : {vendor}\n")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert dense.mkl_is_slow() is slow
    assert isinstance(dense.fast_dense(torch.device("cpu"), "fp32"), dense.OneDNNDense if slow else nullcontext)
    for device, precision in (("cpu", "bf16"), ("cuda", "fp32")):
        assert isinstance(dense.fast_dense(torch.device(device), precision), nullcontext)


@pytest.mark.parametrize("compile", ["off", "on"])
def test_the_engine_trains_with_it_unless_it_compiles(monkeypatch, products, compile):
    import vaefast

    monkeypatch.setattr(dense, "SMALLEST", 0)
    monkeypatch.setattr(torch, "compile", lambda loss, **options: loss)

    def trained(slow):
        monkeypatch.setattr(dense, "mkl_is_slow", lambda: slow)
        torch.manual_seed(0)
        networks = nn.Sequential(nn.Linear(4, 36), nn.Unflatten(1, (1, 6, 6))), nn.Sequential(nn.Flatten(), nn.Linear(36, 1))
        model = vaefast.GAN((1, 6, 6), "wgan-gp", latent_dim=4, generator=networks[0], discriminator=networks[1])
        images = torch.rand(64, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        model.fit(images, steps=5, batch_size=16, device="cpu", precision="fp32", compile=compile, progress=False)
        return [p.detach() for p in model.parameters()]

    plain = trained(False)
    assert not products
    for own, reference in zip(trained(True), plain):
        torch.testing.assert_close(own, reference, rtol=1e-4, atol=1e-6)
    assert bool(products) is (compile == "off")
