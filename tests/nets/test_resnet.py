"""The residual networks of the reference."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vaefast.errors import ArgumentError
from vaefast.nets import NETS, ResNetDecoder, ResNetEncoder
from vaefast.nets.resnet import DenseResidualBlock, ResidualBlock


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("side", "k", "base", "encoder", "decoder_and_gamma"), [
    (64, 64, 16, 1_147_056, 4_065_844), (64, 128, 32, 3_399_008, 16_250_468), (32, 64, 16, 1_147_056, 1_048_116)])
def test_parameter_counts(side, k, base, encoder, decoder_and_gamma):
    assert count(ResNetEncoder((3, side, side), k, base_dim=base)) == encoder
    assert count(ResNetDecoder((3, side, side), k, base_dim=base)) + 1 == decoder_and_gamma


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 32, 32), (2, 16, 16)])
def test_shapes(shape):
    build_encoder, build_decoder = NETS["resnet"]
    x = torch.rand(3, *shape)
    encoder = build_encoder(shape, 5, base_dim=4, fc_dim=8)
    mu, raw = encoder(x)
    assert mu.shape == raw.shape == (3, 5) and encoder.scale_param == "logstd"
    assert build_encoder(shape, 5, base_dim=4, fc_dim=8, deterministic=True)(x).shape == (3, 5)
    decoder = build_decoder(shape, 5, base_dim=4)
    assert decoder(mu).shape == x.shape and decoder.output == "logits"


def test_the_blocks_are_pre_activation_with_a_shortcut_of_their_own():
    block = ResidualBlock(3, 3, 2, 3).double().eval()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    h = x
    for norm, conv in zip(block.norms, block.convs):
        h = F.conv2d(F.relu(norm(h)), conv.weight, conv.bias, padding=1)
    shortcut = F.conv2d(x, block.shortcut.weight, block.shortcut.bias, padding=1)
    torch.testing.assert_close(block(x), h + shortcut)
    dense = DenseResidualBlock(3, 4, 2).double()
    v = torch.randn(2, 3, dtype=torch.float64)
    torch.testing.assert_close(dense(v), dense.layers[1](F.relu(dense.layers[0](F.relu(v)))) + dense.shortcut(v))


def test_widths_stop_at_1024():
    assert ResNetDecoder((1, 64, 64), 2, base_dim=64).fc.out_features == 4 * 1024


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 32, 16), (1, 2, 2), (3, 48, 48)])
def test_other_sides_than_powers_of_two_are_refused(shape):
    for build in NETS["resnet"]:
        with pytest.raises(ArgumentError, match="square with a side of 4, 8, 16"):
            build(shape, 4)


def test_options_that_cannot_work_are_refused():
    with pytest.raises(ArgumentError, match="base_dim is 0"):
        ResNetEncoder((1, 32, 32), 4, base_dim=0)
    with pytest.raises(ArgumentError, match="block_per_scale is 1.5"):
        ResNetDecoder((1, 32, 32), 4, block_per_scale=1.5)
