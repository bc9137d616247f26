"""SAME padding against explicit padding and autograd, for each kernel, stride and size of the reference's networks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vaefast.nets import SameConv2d, SameConvTranspose2d
from vaefast.nets.same import same_padding

ROWS = [  # kernel, stride, sides, zeros before and after
    (4, 2, (4, 10, 28), (1, 1)), (5, 2, (4, 10, 28), (1, 2)), (3, 2, (4, 10, 28), (0, 1)), (1, 2, (4, 6), (0, 0)),
    (5, 1, (3, 8), (2, 2)), (3, 1, (3, 8), (1, 1)), (4, 1, (3, 8), (1, 2))]


@pytest.mark.parametrize(("kernel", "stride", "sides", "pads"), ROWS)
def test_convolution_pads_as_tensorflow(kernel, stride, sides, pads):
    for side in sides:
        assert same_padding(side, kernel, stride) == pads
        layer = SameConv2d(2, 3, kernel, stride).double()
        x = torch.randn(2, 2, side, side + stride, dtype=torch.float64)
        expected = F.conv2d(F.pad(x, (*pads, *pads)), layer.weight, layer.bias, stride)
        torch.testing.assert_close(layer(x), expected)
        assert layer(x).shape[2:] == (-(-side // stride), -(-(side + stride) // stride))


@pytest.mark.parametrize(("side", "kernel", "stride"), [(7, 5, 2), (9, 3, 2), (5, 4, 2), (1, 5, 2), (7, 3, 3)])
def test_odd_sides_round_up(side, kernel, stride):
    before, after = same_padding(side, kernel, stride)
    assert 0 <= after - before <= 1
    out = -(-side // stride)
    assert SameConv2d(1, 1, kernel, stride)(torch.randn(1, 1, side, side)).shape[2:] == (out, out)


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (5, 2), (3, 2), (4, 1), (5, 1), (3, 1), (1, 2), (2, 3)])
def test_transposed_convolution_is_the_gradient_of_the_convolution_of_its_output(kernel, stride):
    layer = SameConvTranspose2d(3, 2, kernel, stride).double()
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    image = torch.randn(2, 2, 5 * stride, 4 * stride, dtype=torch.float64, requires_grad=True)
    pads_h, pads_w = (same_padding(n * stride, kernel, stride) for n in (5, 4))
    # a transposed convolution's weight [in, out, h, w] is that of the convolution from out to in
    y = F.conv2d(F.pad(image, (*pads_w, *pads_h)), layer.weight, stride=stride)
    expected, = torch.autograd.grad(y, image, x)
    torch.testing.assert_close(layer(x), expected + layer.bias.view(1, -1, 1, 1))


def test_torchs_symmetric_padding_would_shift_the_image():
    layer = SameConvTranspose2d(1, 1, 5, 2).double()
    x = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    tempting = F.conv_transpose2d(x, layer.weight, layer.bias, stride=2, padding=2, output_padding=1)
    torch.testing.assert_close(layer(x)[:, :, 1:, 1:], tempting[:, :, :-1, :-1])
