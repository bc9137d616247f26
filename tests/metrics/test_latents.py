import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.metrics import active_dimensions, reconstruction_error, singular_values


def test_active_dimensions():
    assert active_dimensions(torch.tensor([0.01, 0.49, 0.5, 1.0])) == 2
    assert active_dimensions(torch.tensor([0.01, 0.49, 0.5, 1.0]), threshold=0.1) == 1
    with pytest.raises(ArgumentError, match=">= 0"):
        active_dimensions(torch.tensor([0.1, float("nan")]))


def test_singular_values_of_the_prior_lie_near_one():
    z = torch.randn(10_000, 64, generator=torch.Generator().manual_seed(0))
    values = singular_values(z)
    assert values.shape == (64,) and (values.diff() <= 0).all()
    assert 0.91 < values[-1] and values[0] < 1.09
    # Not centred: a constant column of ones is a singular value of 1.
    torch.testing.assert_close(singular_values(torch.ones(10, 1)), torch.ones(1, dtype=torch.float64))
    with pytest.raises(ArgumentError, match="matrix"):
        singular_values(torch.zeros(3))


def test_reconstruction_error():
    images = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8)
    assert reconstruction_error(images, images.float() / 255) < 1e-12
    assert reconstruction_error(images, images.float() / 255 + 0.1, batch_size=2) == pytest.approx(0.01, rel=1e-4)
    with pytest.raises(ArgumentError, match="one shape"):
        reconstruction_error(images, images[:3])
