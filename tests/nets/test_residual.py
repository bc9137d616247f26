"""The small residual networks, and the velocity's."""

from __future__ import annotations

import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.nets import NETS, ResidualDecoder, ResidualEncoder, VelocityMaps, VelocityNet
from vaefast.nets.residual import Grid
from vaefast.nets.velocity import time_features


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 5, 9), (3, 33, 70), (2, 64, 48), (3, 128, 128)])
def test_images_of_any_size(shape):
    encoder, decoder = (make(shape, 6, width=4, depth=1, hidden=8) for make in NETS["residual"])
    mean, logstd = encoder(torch.rand(3, *shape))
    assert mean.shape == logstd.shape == (3, 6) and encoder.scale_param == "logstd"
    assert decoder(torch.randn(2, 6)).shape == (2, *shape) and decoder.output == "logits"
    x = torch.rand(2, *shape)
    assert torch.equal(Grid(shape).join(Grid(shape).cut(x)), x)
    assert ResidualEncoder(shape, 6, width=4, depth=1, hidden=8, deterministic=True)(x).shape == (2, 6)


def test_every_pixel_counts():
    encoder = ResidualEncoder((1, 7, 10), 3, width=4, depth=1, hidden=16)
    x = torch.rand(1, 1, 7, 10, requires_grad=True)
    encoder(x)[0].sum().backward()
    assert (x.grad != 0).float().mean() > 0.8


def test_sizes_stay_small():
    count = [sum(p.numel() for make in NETS["residual"] for p in make(shape, 16).parameters()) for shape in
             ((1, 28, 28), (3, 64, 64))]
    assert count[0] < 1e6 and count[1] < 5.5e6


def test_dark_images_do_not_end_in_black():
    """A bright square somewhere on black, as digits are: after 40 steps the error is below the mean image's."""
    import vaefast

    g, n = torch.Generator().manual_seed(0), 256
    x = torch.zeros(n, 1, 16, 16, dtype=torch.uint8)
    for i, (row, column) in enumerate(torch.randint(0, 11, (n, 2), generator=g).tolist()):
        x[i, 0, row:row + 5, column:column + 5] = 255
    torch.manual_seed(0)
    model = vaefast.VAE((1, 16, 16), 4, nets="residual", net_options={"width": 8, "hidden": 64}, gamma="optimal")
    model.fit(x, steps=40, batch_size=64, lr=2e-3, schedule="constant", device="cpu", progress=False)
    images = x.float() / 255
    error = float((model.reconstruct(x).detach() - images).square().mean())
    assert error < 0.9 * float((images - images.mean(0)).square().mean())


MAPS = [((1, 28, 28), (4, 7, 7)), ((3, 32, 32), (2, 8, 8)), ((3, 32, 32), (3, 2, 2)), ((3, 64, 64), (1, 4, 4)),
        ((1, 30, 50), (2, 4, 7))]


@pytest.mark.parametrize("shape, maps", MAPS)
def test_codes_are_maps(shape, maps):
    k = maps[0] * maps[1] * maps[2]
    encoder, decoder = (make(shape, maps, width=4, depth=1) for make in NETS["residual"])
    mean, logstd = encoder(torch.rand(3, *shape))
    assert mean.shape == logstd.shape == (3, k)
    assert decoder(torch.randn(2, k)).shape == (2, *shape)
    assert not any(isinstance(m, torch.nn.Linear) for net in (encoder, decoder) for m in net.modules())


def test_maps_keep_places():
    """A pixel in a corner has no say in the code of the other corner."""
    encoder = ResidualEncoder((1, 64, 64), (2, 8, 8), width=4, depth=1)
    for p in encoder.parameters():
        torch.nn.init.normal_(p, std=0.3)
    x = torch.rand(1, 1, 64, 64, requires_grad=True)
    encoder(x)[0].view(2, 8, 8)[:, 0, 0].sum().backward()
    assert x.grad[..., :8, :8].abs().max() > 0 and x.grad[..., -16:, -16:].abs().max() == 0


@pytest.mark.parametrize("maps, message", [((4, 5, 5), "7x7 here"), ((4, 14, 14), "7x7 here"), ((4, 7), "height, width"),
                                           ((0, 7, 7), "each of latent_dim")])
def test_maps_that_do_not_fit_are_refused(maps, message):
    for make in (ResidualEncoder, ResidualDecoder):
        with pytest.raises(ArgumentError, match=message):
            make((1, 28, 28), maps)


def test_a_shape_that_is_none_of_maps_is_refused():
    with pytest.raises(ArgumentError, match="shape is 5; expected"):
        VelocityMaps(5)


def test_velocities_of_maps():
    """0 at first; afterwards of the maps' shape, with attention: every place has a say in every other."""
    torch.manual_seed(0)
    net = VelocityMaps((2, 5, 8), width=8, depth=1, classes=3)
    x, t, labels = torch.randn(4, 80), torch.rand(4), torch.tensor([0, 1, 2, 1])
    assert torch.equal(net(x, t), torch.zeros(4, 80))
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.2)
    x.requires_grad_()
    v = net(x, t, labels)
    assert v.shape == (4, 80) and not torch.equal(v, net(x, t)) and not torch.equal(v, net(x, t * 0.5, labels))
    v[0].view(2, 5, 8)[0, 0, 0].backward()
    assert (x.grad[0] != 0).all() and (x.grad[1:] == 0).all()


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": 0}, {"hidden": 1.5}])
def test_settings_that_cannot_work_are_refused(options):
    for make in (ResidualEncoder, ResidualDecoder):
        with pytest.raises(ArgumentError):
            make((1, 28, 28), 4, **options)


def test_times_are_told_apart():
    t = torch.linspace(0, 1, 1000, dtype=torch.float64)
    features = time_features(t)
    assert features.shape == (1000, 64) and (torch.cdist(features, features) + 9 * torch.eye(1000)).min() > 0.05


def test_a_velocity_is_0_at_first_and_knows_its_label():
    net = VelocityNet(3, 8, 2, classes=2)
    x, t = torch.randn(4, 3), torch.rand(4)
    assert not net(x, t).any()
    for layer in (net.out, net.blocks[0].outer):
        torch.nn.init.normal_(layer.weight)
    assert not torch.equal(net(x, t, torch.tensor([0, 1, 0, 1])), net(x, t))
