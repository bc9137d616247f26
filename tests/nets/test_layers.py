"""The reference's layers against independent formulas."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from vaefast.nets.layers import BatchNorm, SpectralConv2d, SpectralLinear, init_normal, recent_statistics


def test_batch_norm_moving_statistics_are_debiased_and_biased_variance():
    norm = BatchNorm(5, decay=0.9).double()
    mean = var = torch.zeros(5, dtype=torch.float64)
    for step in range(1, 8):
        x = torch.randn(7, 5, 3, dtype=torch.float64) * 2 + 1
        norm(x)
        rows = x.transpose(0, 1).flatten(1)
        mean = 0.9 * mean + 0.1 * rows.mean(1)
        var = 0.9 * var + 0.1 * rows.var(1, correction=0)
        found_mean, found_var = norm.moving_statistics()
        torch.testing.assert_close(found_mean, mean / (1 - 0.9**step))
        torch.testing.assert_close(found_var, var / (1 - 0.9**step))


@pytest.mark.parametrize(("steps", "decay"), [(1, 0.9), (300, 1 - 1 / 30), (10_000, 0.999), (10**6, 0.999)])
def test_statistics_of_a_short_training_are_of_a_tenth_of_it(steps, decay):
    """As of a batch norm of that decay, whatever was seen before; in the buffers of the layer's own."""
    found, wanted = BatchNorm(3).double(), BatchNorm(3, decay=decay).double()
    earlier, batches = torch.randn(5, 3), torch.randn(40, 5, 3, dtype=torch.float64) + 1
    assert found.decay_now == 0.999
    with recent_statistics(found, steps):
        for x in batches:
            found(x), wanted(x)
    assert found.decay_now == 0.999 and int(found.num_batches_tracked) == 40
    for a, b in zip(found.moving_statistics(), wanted.moving_statistics()):
        torch.testing.assert_close(a, b)
    trained = BatchNorm(3)
    trained(earlier)
    mean, var = trained.moving_statistics()
    with recent_statistics(trained, 50):
        trained(batches[0].float())
    share = 0.1 / (1 - 0.9**2)
    torch.testing.assert_close(trained.moving_statistics()[0], (1 - share) * mean + share * batches[0].mean(0).float())
    torch.testing.assert_close(trained.moving_statistics()[1],
                               (1 - share) * var + share * batches[0].var(0, correction=0).float())


def test_batch_norm_evaluates_well_after_one_step():
    norm = BatchNorm(4)
    x = torch.randn(4096, 4) * 3 + 5
    trained = norm(x)
    norm.eval()
    torch.testing.assert_close(norm(x), trained, atol=2e-2, rtol=0)


def test_batch_norm_before_training_is_the_affine_map():
    norm = BatchNorm(3).eval()
    x = torch.randn(6, 3)
    torch.testing.assert_close(norm(x), x / (1 + 1e-5) ** 0.5)


def test_batch_norm_gradients():
    norm = BatchNorm(3).double()
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x,))


def test_spectral_norm_follows_the_reference_iteration():
    layer = SpectralLinear(7, 5).double()
    weight, u = layer.weight.detach().t(), layer.u.clone()  # the reference's W is [in, out]
    x = torch.randn(3, 7, dtype=torch.float64)
    for _ in range(3):
        v = F.normalize(weight.t() @ u, dim=0)
        u = F.normalize(weight @ v, dim=0)
        sigma = u @ weight @ v
        torch.testing.assert_close(layer(x), x @ weight / sigma + layer.bias)
    torch.testing.assert_close(layer.u, u)


def test_spectral_norm_gradient_flows_through_sigma_not_through_the_iterates():
    layer = SpectralLinear(6, 4).double()
    x = torch.randn(3, 6, dtype=torch.float64)
    u0 = layer.u.clone()
    out = layer(x)
    out.square().sum().backward()
    weight = layer.weight.detach().clone().requires_grad_()
    v = F.normalize(weight.detach() @ u0, dim=0)
    u = F.normalize(weight.detach().t() @ v, dim=0)
    (F.linear(x, weight / (v @ weight @ u), layer.bias.detach())).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)


def test_largest_singular_value_tends_to_one():
    for layer, x in ((SpectralLinear(40, 30), torch.randn(2, 40)),
                     (SpectralConv2d(3, 16, 4, stride=2, padding=1), torch.randn(2, 3, 8, 8))):
        for _ in range(200):
            layer(x)
        matrix = (layer.weight / layer.sigma()).flatten(1)
        assert abs(torch.linalg.matrix_norm(matrix, 2).item() - 1) < 1e-3


def test_evaluating_leaves_the_iterate_alone():
    layer = SpectralLinear(6, 4).eval()
    x, u = torch.randn(2, 6), layer.u.clone()
    assert torch.equal(layer(x), layer(x)) and torch.equal(layer.u, u)


def test_initialiser_truncates_convolutions_at_two_standard_deviations():
    conv = SpectralConv2d(64, 128, 4, stride=2, padding=1)
    init_normal(conv)
    assert conv.weight.abs().max() <= 0.04
    assert abs(conv.weight.std().item() - 0.0176) < 2e-4
    assert not conv.bias.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("steps", [1, 2, 60])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_of_half_precision_keeps_its_statistics(dtype, steps, affine):
    norm = BatchNorm(3, affine=affine)
    for _ in range(steps):
        norm(torch.randn(16, 3, 5, 5) * 1e-3 + 2)
    x = torch.randn(7, 3, 5, 5) * 1e-3 + 2
    x = x.to(dtype).float()
    right = norm.eval()(x)
    half = copy.deepcopy(norm).to(dtype)
    assert half.running_var.dtype == torch.float32 and torch.equal(half.running_var, norm.running_var)
    got = half(x.to(dtype))
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), right, rtol=0.02, atol=0.02)
    half.train()(x.to(dtype))
    norm.train()(x)
    torch.testing.assert_close(half.running_var, norm.running_var)
    assert copy.deepcopy(half).double().running_var.dtype == torch.float64
