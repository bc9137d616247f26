"""PixelCNN decoders: what a pixel sees, and that drawing incrementally is drawing by the book."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from vaefast.errors import ArgumentError
from vaefast.nets import GatedPixelCNN, PixelCNNPlusPlus, initialise_from_data
from vaefast.nets.pixelcnn.causal import CausalConv2d
from vaefast.nets.pixelcnn.gated_steps import GatedSteps
from vaefast.nets.pixelcnn.plus_plus_steps import PlusPlusSteps
from vaefast.nets.pixelcnn.steps import generate_naively


def gated(shape=(1, 6, 7), **options) -> GatedPixelCNN:
    return stirred(GatedPixelCNN(shape, 3, **{"layers": 4, "width": 6} | options), 0.3)


def plus_plus(shape=(3, 8, 12), **options) -> PixelCNNPlusPlus:
    net = PixelCNNPlusPlus(shape, 3, **{"filters": 6, "blocks": 2, "mixtures": 3} | options).double().eval()
    initialise_from_data(net, torch.randn(4, 3).double(), torch.rand(4, *shape).double())
    return stirred(net, 0.1)


def stirred(net, scale):
    """In float64 and eval mode, with no parameter left at zero."""
    net = net.double().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(scale * torch.randn_like(p))
    return net


NETS = {
    "standard": lambda: gated(),
    "reference": lambda: gated(masks="reference"),
    "grey": lambda: gated(levels=5),
    "one layer": lambda: gated(layers=1),
    "narrow": lambda: gated((1, 9, 1)),
    "maps": lambda: gated(condition="maps"),
    "maps, reference": lambda: gated(masks="reference", condition="maps"),
    "one row": lambda: gated((1, 1, 5), masks="reference"),
    "plus plus": plus_plus,
    "plus plus grey": lambda: plus_plus((1, 4, 4)),
    "plus plus tall": lambda: plus_plus((2, 12, 4), blocks=1, mixtures=1),
}


def draws(net) -> int:
    return 1 + net.image_shape[0] if isinstance(net, PixelCNNPlusPlus) else 1


@pytest.mark.parametrize("name", ["standard", "reference", "maps", "grey", "plus plus", "plus plus tall"])
def test_no_pixel_sees_itself_or_what_comes_after_it(name):
    net = NETS[name]()
    channels, height, width = net.image_shape
    z, x = torch.randn(1, 3).double(), torch.rand(1, *net.image_shape).double().requires_grad_()
    raw = net(z, x)[0].flatten(1)
    for n in range(height * width):
        grad, = torch.autograd.grad((raw[:, n] * torch.randn_like(raw[:, n])).sum(), x, retain_graph=True)
        assert (grad.flatten(2)[0, :, n:] == 0).all()


@pytest.mark.parametrize("make", [gated, lambda: gated(masks="reference"), lambda: plus_plus((3, 8, 8))])
def test_the_last_pixel_sees_all_that_come_before_it(make):
    net = make()
    z, x = torch.randn(1, 3).double(), torch.rand(1, *net.image_shape).double().requires_grad_()
    grad, = torch.autograd.grad(net(z, x)[..., -1, -1].square().sum(), x)
    assert (grad.flatten(2)[0, :, :-1] != 0).all()


def test_the_standard_masks_have_no_blind_spot():
    net = gated((1, 5, 9), layers=3)
    x = torch.rand(1, 1, 5, 9).double().requires_grad_()
    grad, = torch.autograd.grad(net(torch.randn(1, 3).double(), x)[0, 0, 4, 4], x)
    assert (grad[0, 0, :4] != 0).all()  # what masks on one stack alone never see: the right, a few rows up
    assert (grad[0, 0, 4, :4] != 0).all()


@pytest.mark.parametrize("name", NETS)
def test_drawing_incrementally_is_drawing_by_the_book(name, monkeypatch):
    net = NETS[name]()
    channels, height, width = net.image_shape
    z, u = torch.randn(5, 3).double(), torch.rand(5, draws(net), height, width).double()
    expected = generate_naively(net, z, u)
    seen, draw = [], net.draw

    def recorded(raw, uniforms):
        seen.append(raw)
        return draw(raw, uniforms)

    monkeypatch.setattr(net, "draw", recorded)
    image = net.generate(z, uniforms=u)
    assert image.shape == (5, *net.image_shape) and image.is_contiguous()
    assert torch.equal(image, expected)
    levels = image * (255 if isinstance(net, PixelCNNPlusPlus) else net.levels - 1)
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-9)
    assert len(image.unique()) > 1
    with torch.no_grad():  # one forward pass over the finished image sees what every step saw
        raw = net(z, image).flatten(2).permute(2, 0, 1)
    torch.testing.assert_close(torch.stack(seen), raw, rtol=0, atol=1e-12 * max(1, float(raw.abs().max())))


@pytest.mark.parametrize("name", ["standard", "reference", "plus plus"])
def test_trying_out_the_steps_first_changes_nothing(name):
    """As capturing them does."""
    net = NETS[name]()
    z, u = torch.randn(3, 3).double(), torch.rand(3, draws(net), *net.image_shape[1:]).double()
    with torch.no_grad():
        steps = (PlusPlusSteps if name == "plus plus" else GatedSteps)(net, z, u)
        for step in (steps._row, steps._pixel):
            for scales in range(1, steps.scales + 1):
                step(scales)
                steps.line.zero_()
                steps.at.zero_()
        assert torch.equal(steps.run(), net.generate(z, uniforms=u))


@pytest.mark.parametrize("name", ["standard", "plus plus"])
def test_generators_and_single_precision(name):
    net = NETS[name]().float()
    z = torch.randn(2, 3)
    first, again, other = (net.generate(z, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert first.dtype == torch.float32 and not first.requires_grad
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(copy.deepcopy(net).generate(z, torch.Generator().manual_seed(1)), first)
    assert 0 <= first.min() and first.max() <= 1


def test_dropout_does_not_reach_what_is_generated():
    net = plus_plus((1, 4, 4))
    z, u = torch.randn(2, 3).double(), torch.rand(2, 2, 4, 4).double()
    expected = net.generate(z, uniforms=u)
    net.train()
    assert torch.equal(net.generate(z, uniforms=u), expected) and net.training
    x = torch.rand(2, 1, 4, 4).double()
    assert not torch.equal(net(z, x), net(z, x))


@pytest.mark.parametrize("name", ["standard", "plus plus"])
def test_bytes_are_read_as_numbers_from_0_to_1(name):
    net = NETS[name]()
    z, x = torch.randn(2, 3).double(), torch.randint(256, (2, *net.image_shape), dtype=torch.uint8)
    torch.testing.assert_close(net(z, x), net(z, x.double() / 255), rtol=0, atol=1e-12)


@pytest.mark.parametrize("masks", ["standard", "reference"])
def test_layers_against_convolutions_with_whole_kernels(masks):
    """The vertical stack's cropped kernels are square ones with zeros in them."""
    layer = gated(masks=masks).layers[0].vertical
    whole = torch.zeros(12, 1, 7, 7).double()
    rows = layer.kernel_size[0]
    whole[:, :, :rows] = layer.weight.detach()
    if masks == "reference":
        whole[:, :, 3, 3:] = 0
    x = torch.rand(2, 1, 6, 7).double()
    torch.testing.assert_close(layer(x), F.conv2d(x, whole, padding=3), rtol=0, atol=1e-12)
    assert len(layer.taps()) == (24 if masks == "reference" else 21)


def test_strided_windows():
    conv = CausalConv2d(2, 3, (2, 3), (-1, -1), stride=2).double()
    x = torch.rand(1, 2, 6, 8).double()
    expected = F.conv2d(F.pad(x, (1, 1, 1, 0)), conv.weight, conv.bias)[:, :, ::2, ::2]
    torch.testing.assert_close(conv(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("masks", ["reference", pytest.param("standard", marks=pytest.mark.slow)])
def test_it_learns_pictures_by_heart_and_draws_them_again(masks):
    pictures = (torch.rand(2, 1, 6, 6) < 0.5).float()
    z = torch.tensor([[-1.0], [1.0]])
    net = GatedPixelCNN((1, 6, 6), 1, layers=3, width=16, masks=masks)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(250):
        loss = F.binary_cross_entropy_with_logits(net(z, pictures), pictures)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.01
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert torch.equal(net.generate(z, uniforms=torch.full((2, 1, 6, 6), 0.5)), pictures)


@pytest.mark.parametrize("make, message", [
    (lambda: GatedPixelCNN((3, 8, 8)), "Use PixelCNNPlusPlus"),
    (lambda: GatedPixelCNN(masks="none"), "masks is 'none'"),
    (lambda: GatedPixelCNN(condition="all"), "condition is 'all'"),
    (lambda: GatedPixelCNN(levels=300), "levels is 300"),
    (lambda: GatedPixelCNN(layers=0), "layers is 0"),
    (lambda: PixelCNNPlusPlus((3, 30, 32)), "multiples of 4"),
    (lambda: PixelCNNPlusPlus(dropout=1.0), "dropout is 1.0"),
    (lambda: gated()(torch.zeros(2, 4), torch.zeros(2, 1, 6, 7)), "z has shape"),
    (lambda: gated()(torch.zeros(2, 3), torch.zeros(3, 1, 6, 7)), "x has shape"),
    (lambda: gated().generate(torch.zeros(2, 4)), "z has shape"),
    (lambda: gated().generate(torch.zeros(2, 3), uniforms=torch.zeros(2, 2, 6, 7)), "uniforms has shape"),
    (lambda: gated().generate(torch.zeros(2, 3), torch.Generator(), torch.zeros(2, 1, 6, 7)), "one of the two"),
])
def test_errors_at_the_door(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", NETS)
def test_captured_steps_on_a_gpu(name):
    net = NETS[name]().cuda()
    z, u = torch.randn(5, 3).double().cuda(), torch.rand(5, draws(net), *net.image_shape[1:]).double().cuda()
    assert torch.equal(net.generate(z, uniforms=u), generate_naively(net, z, u))
