"""A VAE whose posterior goes through a normalizing flow."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vaefast.errors import ArgumentError
from vaefast.models import VAE, DiagonalGaussian, FlowPosterior
from vaefast.nets import FLOWS, Flow, InverseAutoregressiveFlow, PlanarFlow, RadialFlow


class Scaled(nn.Module):
    """z = a z0 + b: an affine flow, under which the posterior stays Gaussian."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.a * z + self.b, z.shape[1] * self.a.abs().log().expand(len(z))


def model(flow: nn.Module | None = None, **options) -> VAE:
    torch.manual_seed(2)
    return VAE(nn.Linear(5, 6), nn.Linear(3, 5), data_shape=(5,), latent_dim=3, flow=flow, **options)


@pytest.mark.parametrize("param", ["logvar", "logstd", "softplus"])
def test_log_prob_is_the_normal_density(param):
    q = DiagonalGaussian(torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64), param)
    z = torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(q.log_std.exp(), q.std)
    torch.testing.assert_close(q.log_prob(z), torch.distributions.Normal(q.mean, q.std).log_prob(z).sum(1))


def test_without_a_flow_nothing_changes():
    plain = model()
    assert plain.flow is None and set(plain.state_dict()) == {"log_gamma", *(f"{n}.{p}" for n in ("encoder", "decoder")
                                                                          for p in ("weight", "bias"))}
    assert isinstance(plain.encode(torch.rand(2, 5)), DiagonalGaussian)


def test_the_one_sample_kl_averages_to_the_exact_one_where_that_is_known():
    base = DiagonalGaussian(torch.tensor([[0.5, -1.0, 0.0]]), torch.tensor([[-1.0, 0.3, 0.0]]), "logstd")
    rows = DiagonalGaussian(base.mean.expand(200_000, 3), base.raw.expand(200_000, 3), "logstd")
    for a, b in ((1.0, 0.0), (1.7, -0.4)):
        z, kl = FlowPosterior(rows, Scaled(a, b)).sample_and_kl()
        exact = DiagonalGaussian(a * base.mean + b, base.raw + math.log(a), "logstd").kl().sum()
        assert abs(kl.mean() - exact) < 5 * kl.std() / len(kl) ** 0.5
        assert abs(z.mean(0) - (a * base.mean[0] + b)).max() < 0.02


@pytest.mark.parametrize("kind", FLOWS)
def test_the_kl_is_that_of_the_density_that_the_flow_makes(kind):
    """In one dimension, where the integral of q log(q / p) can be taken on a grid."""
    flow = Flow(kind, 2, 1).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.5 * torch.randn_like(p))
    zero = torch.zeros(1, 1, dtype=torch.float64)
    q0 = DiagonalGaussian(zero + 0.7, zero - 0.5, "logstd")
    grid = torch.linspace(-8, 8, 100_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        z, log_det = flow(grid)
        log_q = q0.log_prob(grid) - log_det
        log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z[:, 0])
        exact = torch.trapezoid(log_q.exp() * (log_q - log_p), z[:, 0])
        many = DiagonalGaussian(q0.mean.expand(100_000, 1), q0.raw.expand(100_000, 1), "logstd")
        kl = FlowPosterior(many, flow).sample_and_kl()[1]
    assert abs(kl.mean() - exact) < 5 * kl.std() / len(kl) ** 0.5


def test_loss_and_samples_go_through_the_flow():
    flow = Scaled(2.0, 1.0)
    vae, x = model(flow), torch.rand(8, 5)
    torch.manual_seed(3)
    terms = vae(x)
    torch.manual_seed(3)
    q = vae.encode(x)
    z0 = q.base.sample()
    expected = q.base.log_prob(z0) - 3 * math.log(2) - torch.distributions.Normal(0.0, 1.0).log_prob(2 * z0 + 1).sum(1)
    torch.testing.assert_close(terms["kl"], expected.mean())
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["kl"])
    torch.manual_seed(3)
    torch.testing.assert_close(vae.reconstruct(x), vae.decoder(2 * z0 + 1))
    torch.testing.assert_close(q.mean, 2 * q.base.mean + 1)
    torch.manual_seed(4)
    z = torch.randn(3, 3)
    torch.manual_seed(4)
    torch.testing.assert_close(vae.sample(3), vae.decoder(z))  # the prior is that of the flow's end
    terms["loss"].backward()
    assert flow.a.grad is not None and flow.b.grad is not None


def test_a_flow_lowers_the_loss_where_the_posterior_is_not_gaussian():
    """An encoder of fixed unit variance can only reach the prior's moments by its flow."""
    torch.manual_seed(0)
    flow = PlanarFlow(2)
    q = FlowPosterior(DiagonalGaussian(torch.ones(512, 2), torch.full((512, 2), -0.5), "logstd"), flow)
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.05)
    first = q.sample_and_kl()[1].mean().item()
    for _ in range(150):
        kl = q.sample_and_kl()[1].mean()
        optimizer.zero_grad()
        kl.backward()
        optimizer.step()
    assert kl.item() < 0.7 * first


def test_under_autocast_the_flow_keeps_full_precision():
    vae, x = model(Flow("iaf", 2, 3)), torch.rand(4, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, kl = vae.encode(x).sample_and_kl()
        loss = vae(x)["loss"]
    assert z.dtype == kl.dtype == loss.dtype == torch.float32


@pytest.mark.parametrize("flow", [PlanarFlow(3), RadialFlow(3), InverseAutoregressiveFlow(3, width=5)])
def test_gradients_in_float64(flow):
    vae, x = model(flow).double(), torch.rand(3, 5, dtype=torch.float64)

    def loss(*_: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(5)
        return vae(x)["loss"]

    assert torch.autograd.gradcheck(loss, tuple(flow.parameters()))


def test_compiled_in_one_graph():
    vae, x = model(Flow("planar", 2, 3)), torch.rand(4, 5)
    compiled = torch.compile(vae.loss, fullgraph=True, backend="aot_eager")
    torch.manual_seed(6)
    a = vae(x)["loss"]
    torch.manual_seed(6)
    torch.testing.assert_close(compiled(x)["loss"], a)


def test_a_flow_of_another_size_is_refused():
    with pytest.raises(ArgumentError, match="built for 4 dimensions; latent_dim is 3"):
        model(Flow("planar", 2, 4))
