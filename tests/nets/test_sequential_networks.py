"""The Sequential VAE's networks: the paper's sizes, shapes of any image, batch statistics always."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vaefast.errors import ArgumentError
from vaefast.nets import LatentPredictor, SequentialDecoder, SequentialEncoder
from vaefast.nets.sequential import BatchShift, _up, scaled_widths

FACES = (3, 64, 64)
SMALL = {"widths": (4, 6, 8, 10, 12), "rungs": (2, 3, 1, 2)}


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def meta(kind, **options):
    with torch.device("meta"):
        return count(kind(FACES, **options))


@pytest.mark.parametrize("widths, rungs, encoder, first, later, total", [
    (None, None, 7_204_240, 7_559_747, 13_559_428, 160_109_663),
    (None, (20, 30, 30, 30), None, None, None, 189_847_743),
    ((32, 64, 128, 384, 512), (20, 30, 30, 30), None, None, None, 145_560_703)])
def test_the_papers_parameter_counts(widths, rungs, encoder, first, later, total):
    options = {name: value for name, value in (("widths", widths), ("rungs", rungs)) if value}
    found = meta(SequentialEncoder, **options), meta(SequentialDecoder, with_image=False, **options), \
        meta(SequentialDecoder, **options)
    if encoder:
        assert found == (encoder, first, later)
    assert 8 * found[0] + found[1] + 7 * found[2] == total


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 128, 128), (3, 45, 30)])
def test_shapes(shape):
    x = torch.rand(3, *shape)
    mean, raw = SequentialEncoder(shape, **SMALL)(x)
    assert mean.shape == raw.shape == (3, 8) and (raw < 0).all()  # deviations below 1
    image, gate = SequentialDecoder(shape, **SMALL)(mean, x)
    assert image.shape == x.shape and gate.shape == (3, 1, *shape[1:])
    image, gate = SequentialDecoder(shape, **SMALL, with_image=False)(mean)
    assert image.shape == x.shape and gate is None
    image, gate = SequentialDecoder(shape, widths=SMALL["widths"], rungs=(), gated=False)(None, x)
    assert image.shape == x.shape and gate is None


def test_the_paper_image_is_halved_four_times():
    features, top = SequentialEncoder((1, 28, 28), **SMALL).pyramid(torch.rand(2, 1, 28, 28))
    assert [f.shape[2] for f in features] == [14, 7, 4] and top.shape == (2, 10 * 2 * 2)


def test_cropped_transposed_convolutions_are_gradients_of_same_convolutions():
    torch.manual_seed(0)
    up = _up(3, 2, 2, (7, 7)).double()
    y = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    ours = up.layer(y)[:, :, :7, :7] - up.layer.bias.view(1, -1, 1, 1)
    x = torch.zeros(2, 2, 7, 7, dtype=torch.float64, requires_grad=True)
    # SAME of 7 to 4: three rows of zeros, one of them before
    conv = F.conv2d(F.pad(x, (1, 2, 1, 2)), up.layer.weight, stride=2)
    torch.testing.assert_close(ours, torch.autograd.grad(conv, x, y)[0])


def test_normalisation_goes_by_the_batch_in_both_modes():
    norm = BatchShift(3).double()
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(5, 3, 4, 2, dtype=torch.float64) * 3 + 1
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
    expected = (x - mean) / (var + 1e-3).sqrt() + norm.bias.view(1, 3, 1, 1)
    torch.testing.assert_close(norm(x), expected)
    torch.testing.assert_close(norm.eval()(x), expected)
    assert [name for name, _ in norm.named_parameters()] == ["bias"] and list(norm.state_dict()) == ["bias"]


def test_the_predictor():
    mean, raw = LatentPredictor(5, 7, width=16)(torch.randn(4, 5))
    assert mean.shape == raw.shape == (4, 7) and (raw < 0).all()


def test_double_precision():
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    mean, raw = SequentialEncoder((1, 8, 8), **SMALL).double()(x)
    assert mean.dtype == raw.dtype == torch.float64
    assert SequentialDecoder((1, 8, 8), **SMALL).double()(mean, x)[0].dtype == torch.float64


@pytest.mark.parametrize("options, message", [
    ({"widths": (1, 2, 3)}, "widths has 3"), ({"rungs": (1,)}, "rungs has 1"), ({"rungs": (1, 0, 1, 1)}, "rungs is 0"),
    ({"rungs": (), "with_image": False}, "has to see the image")])
def test_sizes_that_cannot_work(options, message):
    with pytest.raises(ArgumentError, match=message):
        SequentialDecoder((1, 8, 8), **{**SMALL, **options})


def test_widths_are_scaled():
    assert scaled_widths((48, 96, 192, 384, 512), 1 / 6) == (8, 16, 32, 64, 85)
    with pytest.raises(ArgumentError, match="width is 0"):
        scaled_widths((48,), 0)
