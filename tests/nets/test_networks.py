"""Shapes and parameter counts of the reference's networks."""

from __future__ import annotations

import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.nets import InfoGANDecoder, InfoGANEncoder, SecondStageDecoder, SecondStageEncoder


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("shape", "encoder", "decoder_and_gamma"), [
    ((1, 28, 28), 6_689_344, 6_642_242), ((3, 32, 32), 8_657_472, 8_616_132), ((3, 64, 64), 33_823_296, 33_855_684)])
def test_neutral_parameter_counts(shape, encoder, decoder_and_gamma):
    assert count(InfoGANEncoder(shape, 64)) == encoder
    assert count(InfoGANDecoder(shape, 64)) + 1 == decoder_and_gamma


@pytest.mark.parametrize(("k", "encoder", "decoder_and_gamma"), [(64, 2_305_152, 2_235_457), (128, 2_526_464, 2_378_881)])
def test_second_stage_parameter_counts(k, encoder, decoder_and_gamma):
    assert count(SecondStageEncoder(k, k)) == encoder
    assert count(SecondStageDecoder(k, k)) + 1 == decoder_and_gamma


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 20, 36)])
def test_shapes(shape):
    x = torch.rand(3, *shape)
    mu, raw = InfoGANEncoder(shape, 7)(x)
    assert mu.shape == raw.shape == (3, 7)
    assert InfoGANDecoder(shape, 7)(mu).shape == x.shape


@pytest.mark.parametrize("shape", [(1, 30, 28), (1, 28, 27), (0, 28, 28), (28, 28), (1, 2, 2), "28"])
def test_sizes_that_cannot_be_halved_twice_are_refused(shape):
    with pytest.raises(ArgumentError, match="image_shape"):
        InfoGANEncoder(shape, 7)


def test_the_skip_concatenation_is_there():
    encoder = SecondStageEncoder(4, 3, width=8)
    with torch.no_grad():
        for p in encoder.trunk.parameters():
            p.zero_()  # only the skip can carry z now
    a, b = encoder(torch.randn(2, 4))[0]
    assert not torch.equal(a, b)
