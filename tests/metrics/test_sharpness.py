import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.metrics import sharpness


def test_known_values():
    flat, ramp = torch.full((1, 1, 6, 7), 0.3), torch.linspace(0, 1, 7).expand(1, 1, 6, 7)
    board = ((torch.arange(8)[:, None] + torch.arange(8)) % 2).view(1, 1, 8, 8)
    found = [sharpness(x.float()) for x in (flat, ramp, board)]
    assert all(f.dtype == torch.float64 and f.shape == (1,) for f in found)
    assert found[0] < 1e-12 and found[1] < 1e-12
    assert found[2].item() == 16.0  # the Laplacian of a chess board is -4 and 4
    dot = torch.zeros(1, 1, 5, 5)
    dot[..., 2, 2] = 1
    values = torch.tensor([0, 1, 0, 1, -4, 1, 0, 1, 0]).double()
    assert sharpness(dot).item() == pytest.approx(values.var(correction=0).item())


def test_colour_bytes_and_batches():
    x = torch.randint(0, 256, (1003, 3, 5, 4), dtype=torch.uint8)
    found = sharpness(x)
    assert found.shape == (1003,)
    torch.testing.assert_close(found, sharpness(x.double() / 255))
    torch.testing.assert_close(found[1000:], sharpness(x[1000:]))
    grey = x[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(sharpness(grey), sharpness(x[:, :1]), rtol=1e-6, atol=0)
    assert sharpness(x[:0]).shape == (0,)


def test_a_blurred_image_is_less_sharp():
    x = torch.rand(4, 1, 16, 16)
    assert (sharpness(torch.nn.functional.avg_pool2d(x, 3, 1, 1)) < 0.2 * sharpness(x)).all()


@pytest.mark.parametrize(
    "x", [torch.rand(3, 3), torch.rand(1, 2, 4, 4), torch.rand(1, 1, 2, 9), torch.zeros(1, 1, 4, 4).int(), 3])
def test_what_is_no_image(x):
    with pytest.raises(ArgumentError, match="expected uint8 or float"):
        sharpness(x)
