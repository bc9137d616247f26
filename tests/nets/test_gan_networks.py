"""Generator and discriminators of the GANs: sizes, shapes, first weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vaefast.errors import ArgumentError
from vaefast.nets import BatchNorm, BEGANDiscriminator, InfoGANDiscriminator, InfoGANGenerator

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64)]


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("shape", "generator", "discriminator", "began"), [
    ((1, 28, 28), 6_642_241, 6_559_169, 1_073_601),
    ((3, 32, 32), 8_616_131, 8_527_297, 1_325_379),
    ((3, 64, 64), 33_855_683, 33_693_121, 4_495_683)])
def test_parameter_counts_are_the_sources(shape, generator, discriminator, began):
    assert _size(InfoGANGenerator(shape)) == generator
    assert _size(InfoGANDiscriminator(shape)) == discriminator
    assert _size(BEGANDiscriminator(shape)) == began
    batch_norm = 2 * (128 + 1024)
    assert _size(InfoGANDiscriminator(shape, batch_norm=False)) == discriminator - batch_norm
    assert _size(InfoGANDiscriminator(shape, spectral_norm=True)) == discriminator


def test_shapes():
    for shape in ((1, 12, 8), (2, 8, 20)):
        z, x = torch.randn(3, 7), torch.rand(3, *shape)
        assert InfoGANGenerator(shape, 7)(z).shape == x.shape
        for options in ({}, {"batch_norm": False}, {"spectral_norm": True}):
            assert InfoGANDiscriminator(shape, **options)(x).shape == (3, 1)
        for batch_norm in (False, True):
            y = BEGANDiscriminator(shape, batch_norm=batch_norm)(x)
            assert y.shape == x.shape and 0 < y.min() and y.max() < 1


def test_first_weights_and_batch_norm_are_the_sources():
    torch.manual_seed(0)
    for module in (*InfoGANGenerator((1, 28, 28)).modules(), *InfoGANDiscriminator((1, 28, 28)).modules(),
                   *BEGANDiscriminator((1, 28, 28), batch_norm=True).modules()):
        if isinstance(module, BatchNorm):
            assert module.eps == 1e-3 and module.decay == 0.999
        elif isinstance(module, (nn.Linear, nn.ConvTranspose2d)):
            assert abs(float(module.weight.detach().std()) - 0.02) < 2e-3 and not module.bias.any()
        elif isinstance(module, nn.Conv2d):
            assert float(module.weight.detach().abs().max()) <= 0.04 and abs(float(module.weight.detach().std()) - 0.0176) < 2e-3


def test_the_generator_is_leaky_where_the_decoder_is_not():
    torch.manual_seed(0)
    generator = InfoGANGenerator((1, 8, 8), 3).eval().double()
    assert torch.equal(generator.activate(torch.tensor([-1.0, 2.0])), torch.tensor([-0.2, 2.0]))
    z = torch.randn(2, 3, dtype=torch.float64)
    h = nn.functional.leaky_relu(generator.norm1(generator.fc1(z)), 0.2)
    h = nn.functional.leaky_relu(generator.norm2(generator.fc2(h)), 0.2).view(2, 128, 2, 2)
    h = nn.functional.leaky_relu(generator.norm3(generator.up3(h)), 0.2)
    torch.testing.assert_close(generator(z), generator.up4(h))


def test_other_sizes_are_refused():
    for build in (InfoGANGenerator, InfoGANDiscriminator, BEGANDiscriminator):
        with pytest.raises(ArgumentError, match="multiples of 4"):
            build((1, 30, 30))
