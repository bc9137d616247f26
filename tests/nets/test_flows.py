"""Normalizing flows: determinants against autograd, invertibility, masks."""

from __future__ import annotations

import math

import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.nets import FLOWS, Flow, InverseAutoregressiveFlow, PlanarFlow, RadialFlow


def stirred(flow: torch.nn.Module, scale: float = 1.0) -> torch.nn.Module:
    """In float64, with parameters away from the identity."""
    flow = flow.double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(scale * torch.randn_like(p))
    return flow


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_log_determinant_is_that_of_the_jacobian(kind, k):
    flow = stirred(Flow(kind, 3, k), 0.1 if kind == "iaf" else 0.5)  # a wild network makes the LU lose digits
    z = 2 * torch.randn(4, k, dtype=torch.float64)
    out, log_det = flow(z)
    assert out.shape == z.shape and log_det.shape == (4,)
    for i in range(4):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], z[i])
        torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, log_det[i], rtol=1e-9, atol=1e-9)
        assert torch.linalg.slogdet(jacobian).sign > 0


@pytest.mark.parametrize("kind", FLOWS)
def test_all_begin_as_the_identity(kind):
    z = torch.randn(6, 7)
    out, log_det = Flow(kind, 10, 7)(z)
    torch.testing.assert_close(out, z, atol=1e-5, rtol=0)
    assert log_det.abs().max() < 1e-5


@pytest.mark.parametrize("kind", FLOWS)
def test_gradients(kind):
    flow = stirred(Flow(kind, 2, 3), 0.3)
    z = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(flow, (z,))
    log_det = flow(z)[1]
    out = flow(z)[0]
    (log_det.sum() + out.square().sum()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in flow.parameters())


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_the_planar_flow_stays_invertible(scale):
    for seed in range(20):
        torch.manual_seed(seed)
        flow = PlanarFlow(4).double()
        with torch.no_grad():
            flow.u.copy_(-scale * flow.w)  # w.u far below -1: not invertible without the constraint
        wu = flow.w @ flow.u_hat()
        assert wu > -1 - 1e-12
        torch.testing.assert_close(wu, -1 + torch.nn.functional.softplus(flow.w @ flow.u))
        z = torch.randn(500, 4, dtype=torch.float64)
        out, log_det = flow(z)
        assert torch.isfinite(log_det).all()
        # along w the map rises: two points never meet
        along, image = z @ flow.w, out @ flow.w
        order = along.argsort()
        assert (image[order].diff() > -1e-9).all()


def test_the_radial_flow_stays_invertible():
    for seed in range(20):
        torch.manual_seed(seed)
        flow = RadialFlow(3).double()
        with torch.no_grad():
            flow.raw_alpha.normal_(0, 3)
            flow.raw_beta.normal_(-3, 3)
        ray = torch.linspace(0, 5, 400, dtype=torch.float64)[:, None] * torch.nn.functional.normalize(
            torch.randn(3, dtype=torch.float64), dim=0)
        out, log_det = flow(flow.center + ray)
        assert torch.isfinite(log_det).all()
        assert ((out - flow.center).norm(dim=1).diff() > -1e-12).all()


@pytest.mark.parametrize("reverse", [False, True])
def test_the_masks_are_autoregressive_and_use_all_that_they_may(reverse):
    flow = stirred(InverseAutoregressiveFlow(5, reverse=reverse))
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], torch.randn(5, dtype=torch.float64))
    allowed = torch.ones(5, 5).tril() if not reverse else torch.ones(5, 5).triu()
    assert ((jacobian != 0) == allowed.bool()).all()


def test_a_chain_alternates_the_order_so_that_all_dimensions_meet():
    flow = stirred(Flow("iaf", 2, 4), 0.5)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], torch.randn(4, dtype=torch.float64))
    assert (jacobian != 0).all()


def test_the_density_of_a_flow_integrates_to_one():
    flow = stirred(Flow("planar", 4, 1), 0.7)
    z = torch.linspace(-9, 9, 200_001, dtype=torch.float64)[:, None]
    out, log_det = flow(z)
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z[:, 0]) - log_det
    assert torch.trapezoid(log_p.exp(), out[:, 0]).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("arguments", "message"), [
    (("spline", 3, 4), "expected one of planar, radial, iaf"), (("planar", 0, 4), "depth"), (("iaf", 2, 0), "latent_dim"),
    (("iaf", 2.0, 4), "depth")])
def test_what_cannot_work_is_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Flow(*arguments)


@pytest.mark.parametrize("raw_alpha, raw_beta", [(0.5, -20.0), (3.0, -80.0), (-20.0, 4.0), (-60.0, -60.0), (-200.0, 1.0)])
@pytest.mark.parametrize("distance", [0.0, 1e-12, 1e-4, 1.0, 1e4])
def test_a_radial_flow_near_its_centre_agrees_with_float64(raw_alpha, raw_beta, distance):
    def value(dtype):
        flow = RadialFlow(2).to(dtype)
        with torch.no_grad():
            flow.center.zero_()
            flow.raw_alpha.fill_(raw_alpha)
            flow.raw_beta.fill_(raw_beta)
        z, log_det = flow(torch.tensor([[distance, 0.0]], dtype=dtype))
        assert torch.isfinite(torch.autograd.grad(log_det.sum(), list(flow.parameters()))[2])
        return log_det.double().item(), z.double()

    (a, za), (b, zb) = value(torch.float32), value(torch.float64)
    assert math.isfinite(a)
    if raw_alpha > -87:  # where float32 still has a number for alpha
        assert a == pytest.approx(b, rel=1e-4, abs=1e-4)
        torch.testing.assert_close(za, zb, rtol=1e-4, atol=1e-6)
