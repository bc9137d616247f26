"""The networks of Hinrichsen's own VAE."""

from __future__ import annotations

import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.nets import NETS, HinrichsenDecoder, HinrichsenEncoder
from vaefast.nets.hinrichsen_vae import ResidualBlock


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def conv(a: int, b: int, bias: bool = True) -> int:
    """Parameters of a 3x3 convolution and its batch norm."""
    return 9 * a * b + bias * b + 2 * b


def block(a: int, inner: int, b: int) -> int:
    return conv(a, inner, False) + conv(inner, b, False) + (a * b + b if a != b else 0)


def test_counts():
    with torch.device("meta"):
        encoder, decoder = HinrichsenEncoder((3, 45, 45)), HinrichsenDecoder((3, 45, 45))
    expected = conv(3, 64) + block(64, 64, 64) + block(64, 128, 64) + conv(64, 128) + block(128, 128, 128) + block(128, 256, 128)
    expected += conv(128, 256) + conv(256, 512) + block(512, 512, 512) + block(512, 1024, 512)
    assert count(encoder) == expected + 2 * 512 * 513
    blocks = [(128, 128, 128), (128, 256, 128), (128, 128, 128), (128, 128, 64), (64, 64, 64), (64, 64, 32), (32, 32, 32),
              (32, 32, 32), (32, 16, 16), (16, 16, 3)]
    assert count(decoder) == 512 * 513 + sum(block(*b) for b in blocks)


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 45, 45), (1, 64, 64)])
def test_shapes(shape):
    encoder, decoder = (build(shape, 6) for build in NETS["hinrichsen"])
    sides = []
    for part in (*encoder.resolutions, *decoder.resolutions):
        part.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[-1]))
    mu, raw = encoder(torch.rand(2, *shape))
    assert mu.shape == raw.shape == (2, 6) and encoder.scale_param == "logvar"
    assert decoder(mu).shape == (2, *shape) and decoder.output == "logits"
    side = shape[1]
    assert sides == [side, side // 2, side // 4, side // 8, 4, 8, 16, 32, side]
    assert HinrichsenEncoder(shape, 5, deterministic=True).eval()(torch.rand(1, *shape)).shape == (1, 5)


def test_the_block_adds_its_input_behind_the_activation():
    block = ResidualBlock(3, 5, 3).double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(block(x) - x, block.body(x))
    assert (block.body(x) >= 0).all() and isinstance(ResidualBlock(3, 5, 4).skip, torch.nn.Conv2d)


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 65, 65), (3, 45, 40)])
def test_other_sides_are_refused(shape):
    for build in NETS["hinrichsen"]:
        with pytest.raises(ArgumentError, match="a side of 32 to 64"):
            build(shape, 4)
