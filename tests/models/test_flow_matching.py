"""Flow matching: its density, draws and loss against the velocity of a mixture of Gaussians, which is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError, DataError
from vaefast.models import FlowMatching
from vaefast.models.flow_matching import divergence
from vaefast.models.ode import SOLVERS, integrate
from vaefast.nets import VelocityNet


class KnownVelocity(nn.Module):
    """E[z - u | (1 - t) u + t z = x] for z of the mixture of N(mean_j, scale_j^2 I), with equal weights."""

    def __init__(self, means: Tensor, scales: Tensor) -> None:
        super().__init__()
        self.register_buffer("means", means)
        self.register_buffer("scales", scales)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        t, x = t[:, None, None], x[:, None]
        variance = (t * self.scales[:, None]) ** 2 + (1 - t) ** 2
        away = x - t * self.means
        log_share = -0.5 * (away**2 / variance + variance.log()).sum(2)
        slope = (t * self.scales[:, None] ** 2 - (1 - t)) / variance
        return (log_share.softmax(1)[:, :, None] * (self.means + slope * away)).sum(1)


def known(k: int) -> FlowMatching:
    g = torch.Generator().manual_seed(k)
    means = 2 * torch.randn(3, k, generator=g, dtype=torch.float64)
    return FlowMatching(KnownVelocity(means, torch.tensor([0.4, 0.7, 1.1], dtype=torch.float64)), k).double()


def log_density(flow: FlowMatching, z: Tensor) -> Tensor:
    means, scales = flow.velocity.means, flow.velocity.scales
    away = (z[:, None] - means).square().sum(2) / scales**2
    return (-0.5 * away - flow.latent_dim * (scales.log() + 0.5 * math.log(2 * math.pi))).logsumexp(1) - math.log(3)


def draws(flow: FlowMatching, n: int) -> Tensor:
    g = torch.Generator().manual_seed(1)
    which = torch.randint(3, (n,), generator=g)
    eps = torch.randn(n, flow.latent_dim, generator=g, dtype=torch.float64)
    return flow.velocity.means[which] + flow.velocity.scales[which, None] * eps


@pytest.mark.parametrize("k", [1, 3, 7])
def test_the_density_is_that_of_the_mixture(k):
    flow = known(k)
    z = draws(flow, 50)
    torch.testing.assert_close(flow.log_prob(z, steps=400), log_density(flow, z), rtol=2e-3, atol=2e-3)


def test_standardised_codes_have_the_density_of_codes():
    flow, moved = known(3), known(3)
    shift, scale = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([0.5, 2.0, 3.0]).double()
    moved.standardise(shift, scale)
    z = draws(flow, 20)
    volume = scale.log().sum()
    torch.testing.assert_close(moved.log_prob(z * scale + shift, steps=100), flow.log_prob(z, steps=100) - volume)
    torch.testing.assert_close(moved.decode(z[:5]), flow.decode(z[:5]) * scale + shift)


def test_draws_are_the_mixtures():
    flow = known(2)
    z, expected = flow.sample(4000, torch.Generator().manual_seed(0), steps=60), draws(flow, 4000)
    assert (z.mean(0) - expected.mean(0)).abs().max() < 0.12 and (z.T.cov() - expected.T.cov()).abs().max() < 0.25


def test_the_way_back_ends_where_it_began():
    flow = known(5)
    u = torch.randn(20, 5, dtype=torch.float64)
    torch.testing.assert_close(flow.encode(flow.decode(u, steps=200), steps=200), u, rtol=1e-3, atol=1e-3)


def test_beyond_64_dimensions_the_divergence_is_estimated_without_bias():
    matrix = torch.randn(80, 80, dtype=torch.float64)
    x = torch.randn(4000, 80, dtype=torch.float64, requires_grad=True)
    v = torch.tanh(x) @ matrix
    sign = torch.randint(0, 2, x.shape).double() * 2 - 1
    exact = ((1 - torch.tanh(x.detach()) ** 2) * matrix.diagonal()).sum(1)
    error = divergence(v, x, sign) - exact
    assert abs(error.mean()) < 4 * error.std() / 4000**0.5
    few = x[:5].detach().requires_grad_()
    torch.testing.assert_close(divergence(torch.tanh(few) @ matrix, few, None), exact[:5])
    flow = FlowMatching(VelocityNet(65, 8, 1), 65).double()
    assert flow.log_prob(torch.randn(3, 65).double(), steps=2).shape == (3,)


@pytest.mark.parametrize("solver, order", [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_solvers_have_their_order(solver, order):
    """dx/dt = x cos(t) from 1: exp(sin t)."""
    def error(steps: int) -> float:
        found = integrate(lambda s, t: (s[0] * t.cos(),), (torch.ones(1, dtype=torch.float64),), 0.0, 2.0, steps, solver)[0]
        return abs(float(found) - math.exp(math.sin(2.0)))

    assert math.log2(error(40) / error(80)) == pytest.approx(order, abs=0.15)


def test_the_loss_is_least_for_the_known_velocity():
    """Its least value is E |z - u - v|^2 / k, which a velocity that is off by 0.1 exceeds by 0.01."""
    flow = known(3)
    z = draws(flow, 20_000)
    own = flow.loss(z, generator=torch.Generator().manual_seed(3))["loss"]
    velocity = flow.velocity.forward
    flow.velocity.forward = lambda *a: velocity(*a) + 0.1
    off = flow.loss(z, generator=torch.Generator().manual_seed(3))["loss"]
    assert float(off - own) == pytest.approx(0.01, abs=0.004)


def test_labels_guide():
    torch.manual_seed(0)
    flow = FlowMatching(VelocityNet(2, 16, 1, classes=3), 2)
    nn.init.normal_(flow.velocity.out.weight)
    u, labels = torch.randn(6, 2), torch.arange(6) % 3
    one, none, far = (flow.decode(u, steps=1, solver="euler", condition=labels, guidance=g) for g in (1.0, 0.0, 3.0))
    torch.testing.assert_close(far - none, 3 * (one - none))
    assert flow.loss(u, labels)["loss"].isfinite()


def test_a_trained_flow_is_nearer_than_a_gaussian():
    from vaefast import ops
    from vaefast.api import SecondStage

    angle = torch.rand(4000, generator=torch.Generator().manual_seed(0)) * 2 * math.pi
    ring = torch.stack([angle.cos(), angle.sin()], 1) * 3 + 5  # off 0, of another scale than 1
    second = SecondStage(2, kind="flow", width=64, depth=2)
    second.fit(ring, steps=600, batch_size=256, lr=3e-3, device="cpu", progress=False)
    drawn = second.sample(1000, torch.Generator().manual_seed(1))
    radius = (drawn - 5).norm(dim=1)
    assert 2.8 < radius.median() < 3.2 and radius.std() < 0.4
    gauss = torch.randn(1000, 2, generator=torch.Generator().manual_seed(2)) * ring.std(0) + ring.mean(0)
    assert ops.mmd2(drawn, ring[:1000], kernel="energy") < 0.2 * ops.mmd2(gauss, ring[:1000], kernel="energy")


@pytest.mark.parametrize("call, error, words", [
    (lambda f: f.sample(3, steps=0), ArgumentError, "steps is 0"),
    (lambda f: f.sample(3, steps=True), ArgumentError, "whole number"),
    (lambda f: f.sample(3, solver="rk4"), ArgumentError, ", ".join(SOLVERS)),
    (lambda f: f.sample(3, guidance=2.0), ArgumentError, "guidance is 2.0 without a condition"),
    (lambda f: f.sample(3, condition=torch.zeros(3).long()), ArgumentError, "not conditioned"),
    (lambda f: f.standardise(torch.zeros(3), torch.tensor([1.0, math.nan, 1.0])), DataError, "finite"),
    (lambda f: f.standardise(torch.zeros(2), torch.ones(2)), DataError, r"\[3\]"),
    (lambda f: FlowMatching(f.velocity, 3, unlabelled=1.5), ArgumentError, "unlabelled is 1.5")])
def test_what_cannot_work_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(FlowMatching(VelocityNet(3, 8, 1), 3))


def test_a_dimension_that_does_not_vary_keeps_its_scale():
    flow = FlowMatching(VelocityNet(2, 8, 1), 2).standardise(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0]))
    assert flow.std.tolist() == [0.5, 1.0] and flow.sample(4).isfinite().all()
