"""Residual networks of vectors, sequences and volumes: any size, the identity at first, a way back of the same shape."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vaefast.errors import ArgumentError
from vaefast.nets import NETS, ResidualGridEncoder, ResidualVectorDecoder, ResidualVectorEncoder, nets_for
from vaefast.nets.residual_grids import Block, Levels, fold, unfold
from vaefast.nets.residual_vectors import DenseBlock

VECTORS = [(1,), (2,), (17,), (30,)]
GRIDS = [(1, 1), (1, 2), (3, 17), (2, 33), (1, 100), (1, 5, 7, 9), (2, 1, 1, 1), (1, 1, 6, 5), (1, 33, 2, 3)]


@pytest.mark.parametrize("shape", VECTORS + GRIDS)
def test_data_of_any_size(shape):
    small = {"width": 4, "depth": 1} if len(shape) == 1 else {"width": 4, "depth": 1, "hidden": 8}
    make_encoder, make_decoder = nets_for(shape)["residual"]
    encoder, decoder = make_encoder(shape, 6, **small), make_decoder(shape, 6, **small)
    mean, logstd = encoder(torch.randn(3, *shape))
    assert mean.shape == logstd.shape == (3, 6) and encoder.scale_param == "logstd"
    assert decoder(torch.randn(2, 6)).shape == (2, *shape) and decoder.output == "linear"
    assert make_encoder(shape, 6, deterministic=True, **small)(torch.randn(2, *shape)).shape == (2, 6)


@pytest.mark.parametrize("shape", GRIDS)
def test_what_is_cut_is_joined_again_and_every_value_counts(shape):
    levels, x = Levels(shape, 4), torch.randn(2, *shape, requires_grad=True)
    assert torch.equal(levels.join(levels.cut(x)), x)
    assert levels.cut(x).shape == (2, levels.folded, *levels.cells[0])
    ResidualGridEncoder(shape, 3, width=4, depth=1, hidden=16)(x)[0].sum().backward()
    assert (x.grad != 0).float().mean() > 0.8


@pytest.mark.parametrize("shape", [(3, 17), (1, 5, 7, 9)])
def test_every_value_of_a_decoded_example_depends_on_the_code(shape):
    decoder = nets_for(shape)["residual"][1](shape, 3, width=4, depth=1, hidden=16)
    assert (decoder(torch.randn(1, 3)) != decoder(torch.randn(1, 3))).all()


def test_folding_is_pixel_unshuffle_and_the_way_back_its_inverse():
    x = torch.randn(2, 3, 8, 12)
    assert torch.equal(fold(x, (2, 2)), F.pixel_unshuffle(x, 2))
    assert torch.equal(unfold(fold(x, (2, 3)), (2, 3)), x)
    volume = torch.arange(2 * 4 * 6 * 2.0).view(1, 2, 4, 6, 2)
    cells = fold(volume, (2, 3, 1))
    assert cells.shape == (1, 12, 2, 2, 2) and torch.equal(cells[0, :6, 0, 0, 0], volume[0, 0, :2, :3, 0].flatten())
    assert torch.equal(unfold(cells, (2, 3, 1)), volume)


def test_long_sides_are_halved_and_single_ones_left():
    assert Levels((1, 4096), None).cells == [(1024,), (512,), (256,), (128,), (64,), (32,), (16,)]
    assert Levels((1, 17), None).cells == [(9,), (5,)]
    flat = Levels((1, 1, 9, 9), None)
    assert flat.sides == (1, 2, 2) and flat.cells == [(1, 5, 5), (1, 3, 3)] and flat.strides == [(1, 2, 2)]


@pytest.mark.parametrize(("block", "shape"), [(DenseBlock(4), (4,)), (Block(4, 1), (4, 5)), (Block(4, 3), (4, 3, 2, 5))])
def test_blocks_begin_as_the_identity(block, shape):
    for layer in (block.outer,):
        torch.nn.init.zeros_(layer.bias)
    x = torch.randn(2, *shape)
    assert torch.equal(block(x), x)


def test_names_by_rank():
    assert nets_for((1, 8, 8)) is NETS and not nets_for((1, 2, 2, 2, 2))
    assert all(list(nets_for(shape)) == ["residual"] for shape in ((3,), (1, 3), (1, 3, 3, 3)))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: ResidualVectorEncoder((3, 4), 2), "data_shape is \\(3, 4\\); expected the sizes of one example, 1 of them"),
    (lambda: ResidualGridEncoder((3,), 2), "2 or 4 of them"), (lambda: ResidualGridEncoder((3, 0), 2), "above 0"),
    (lambda: ResidualGridEncoder(7, 2), "data_shape is 7"), (lambda: ResidualVectorDecoder((3,), 0), "latent_dim is 0"),
    (lambda: ResidualVectorEncoder((3,), 2, width=0), "width is 0"), (lambda: ResidualGridEncoder((1, 9), 2, depth=1.5), "depth"),
    (lambda: ResidualGridEncoder((1, 9), 2, hidden=0), "hidden is 0")])
def test_what_cannot_work_is_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
