"""Ways through codes: right ends, right dimensions, right neighbours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import vaefast
from vaefast.errors import ArgumentError

IMAGES = torch.rand(9, 1, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return vaefast.VAE((1, 6, 6), 3, nets="residual", net_options={"width": 4, "depth": 1, "hidden": 8})


def decoded(model, codes):
    with torch.no_grad():
        return model.decode(codes)


@pytest.mark.parametrize("spherical", [False, True])
def test_interpolations_begin_and_end_at_the_examples(model, spherical):
    path = model.interpolate(IMAGES[:2], IMAGES[2:4].numpy(), 5, spherical=spherical)
    assert path.shape == (2, 5, 1, 6, 6) and not path.requires_grad
    codes = model.mean_codes(IMAGES)
    torch.testing.assert_close(path[:, 0], decoded(model, codes[:2]))
    torch.testing.assert_close(path[:, -1], decoded(model, codes[2:4]))
    if not spherical:
        torch.testing.assert_close(path[:, 2], decoded(model, (codes[:2] + codes[2:4]) / 2))


def test_the_great_circle_keeps_lengths():
    from vaefast.models.exploration import _circle

    a, b = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 1.0], [4.0, 0.0], [-1.0, -1.0]])
    path = _circle(a, b, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(path[0, 1], torch.tensor([math.sqrt(0.5)] * 2))
    torch.testing.assert_close(path[1, 1], torch.tensor([3.0, 0.0]))
    assert path.isfinite().all()
    torch.testing.assert_close(path[:, 0], a)
    torch.testing.assert_close(path[:, 2], b)


def test_traversals_move_one_dimension(model):
    rows = model.traverse(IMAGES[:1], [2, 0], span=3.0, steps=5)
    assert rows.shape == (2, 5, 1, 6, 6)
    code = model.mean_codes(IMAGES[:1])[0].clone()
    code[0] = 1.5
    torch.testing.assert_close(rows[1, 3], decoded(model, code[None])[0])
    assert model.traverse(IMAGES[:1]).shape == (3, 7, 1, 6, 6)


def test_the_nearest_of_an_example_is_itself(model):
    near = model.nearest(IMAGES[3:5], IMAGES, 2)
    assert near.shape == (2, 2) and near[:, 0].tolist() == [3, 4]
    codes = model.mean_codes(IMAGES)
    assert near[0].tolist() == (codes - codes[3]).norm(dim=1).argsort()[:2].tolist()


@pytest.mark.parametrize("call, words", [
    (lambda m: m.interpolate(IMAGES[:1], IMAGES[:1], 1), "steps is 1"),
    (lambda m: m.interpolate(IMAGES[:1], IMAGES[:2]), "a has 1 examples and b 2"),
    (lambda m: m.traverse(IMAGES[:2]), "x holds 2 examples"),
    (lambda m: m.traverse(IMAGES[:1], [3]), "dims holds 3; expected dimensions of the code, 0 to 2"),
    (lambda m: m.nearest(IMAGES[:1], IMAGES, 10), "count is 10, of 9 examples"),
    (lambda m: m.traverse(np.zeros((1, 1, 5, 5), np.float32)), "image_shape=")])
def test_ways_that_lead_nowhere_are_refused(model, call, words):
    with pytest.raises(ArgumentError, match=words):
        call(model)
