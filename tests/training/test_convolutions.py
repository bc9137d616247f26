"""In 16 bits on a CPU, gradients of convolutions over sides shorter than their kernels."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

from vaefast.training.convolutions import SmallInFloat32, right_convolutions

# function, sides, kernel, options, whether it is short of the kernel
CASES = [
    (F.conv3d, (2, 4, 5), 3, {"padding": 1}, True),
    (F.conv3d, (2, 2, 3), 3, {"padding": (1, 1, 1)}, True),
    (F.conv3d, (1, 1, 1), 3, {"padding": 1, "stride": 2}, True),
    (F.conv3d, (4, 6, 6), 7, {"padding": 3}, True),
    (F.conv3d, (3, 4, 5), 3, {"padding": 1}, False),
    (F.conv3d, (2, 4, 5), 2, {"padding": 0}, False),
    (F.conv3d, (2, 4, 5), (1, 3, 3), {"padding": (0, 1, 1)}, False),
    (F.conv3d, (3, 5, 5), 2, {"padding": "same", "dilation": 3}, True),
    (F.conv2d, (1, 1), 4, {"padding": 2, "stride": 2}, True),
    (F.conv2d, (8, 8), 4, {"padding": 1, "stride": 2}, False),
    (F.conv2d, (8, 2), 3, {"padding": "same"}, True),
    (F.conv2d, (8, 8), 3, {"padding": "valid"}, False),
    (F.conv1d, (1,), 5, {"padding": [2], "stride": [2]}, True),
    (F.conv1d, (6,), 3, {"padding": 2, "dilation": 2}, False),
    (F.conv_transpose3d, (2, 2, 2), 3, {"padding": 1}, True),
    (F.conv_transpose3d, (2, 2, 2), 4, {"padding": 1, "stride": 2}, False),
    (F.conv_transpose2d, (1, 1), 3, {"padding": 1, "stride": 2}, True),
    (F.conv_transpose2d, (1, 1), 3, {"padding": 1, "stride": 2, "output_padding": 1}, True),
    (F.conv_transpose2d, (2, 2), 5, {"padding": 2, "stride": 2, "output_padding": 1}, True),
    (F.conv_transpose1d, (7,), 4, {"padding": 1, "stride": 2}, False),
]


def arguments(sides, kernel, seed):
    g = torch.Generator().manual_seed(seed)
    kernel = kernel if isinstance(kernel, tuple) else (kernel,) * len(sides)
    # values that bfloat16 holds, so that rounding of the inputs is no difference
    return (torch.randn(4, 16, *sides, generator=g).bfloat16().float(),
            (torch.randn(16, 16, *kernel, generator=g) / 10).bfloat16().float())


def gradients(convolution, x, weight, options, dtype=None):
    x, weight = (t.detach().to(dtype or t.dtype).requires_grad_() for t in (x, weight))
    y = convolution(x, weight, **options)
    y.to(weight.dtype).square().sum().backward()
    return y, x.grad, weight.grad


def poison():
    """Memory that was freed last holds NaN."""
    for n in (500, 2_000, 8_000, 30_000, 100_000, 400_000):
        torch.full((n,), float("nan"))


@pytest.mark.parametrize(("convolution", "sides", "kernel", "options", "small"), CASES)
def test_gradients_are_those_of_float64(convolution, sides, kernel, options, small):
    for seed in range(6):
        x, weight = arguments(sides, kernel, seed)
        poison()
        with torch.autocast("cpu", torch.bfloat16), SmallInFloat32():
            y, *grads = gradients(convolution, x, weight, options)
        assert y.dtype == (torch.float32 if small else torch.bfloat16)
        for grad, right in zip(grads, gradients(convolution, x, weight, options, torch.float64)[1:]):
            assert (grad - right).abs().max() <= 0.03 * right.abs().max()


def test_positional_arguments_are_read_in_torchs_order():
    x, weight = arguments((4, 4), 3, 0)
    with torch.autocast("cpu", torch.bfloat16), SmallInFloat32():
        assert F.conv2d(x, weight, None, 1, 1, 1, 1).dtype == torch.bfloat16
        assert F.conv2d(x, weight, None, 1, 2, 2, 1).dtype == torch.float32  # three taps span five cells
        assert F.conv_transpose2d(x, weight, None, 1, 1, 0, 1, 1).dtype == torch.bfloat16
        assert F.conv_transpose2d(x, weight, None, 1, 2, 0, 1, 2).dtype == torch.float32
        assert torch.nn.Conv2d(16, 16, 5, padding=2)(x).dtype == torch.float32
        assert torch.nn.Conv2d(16, 16, 5, padding="same")(x).dtype == torch.float32


def test_nothing_changes_without_autocast_and_where_it_is_not_needed():
    x, weight = arguments((2, 2), 3, 0)
    with SmallInFloat32():
        assert torch.equal(F.conv2d(x, weight, padding=1), F.conv2d(x, weight, padding=1))
        assert F.conv2d(x.bfloat16(), weight.bfloat16(), padding=1).dtype == torch.bfloat16
    assert isinstance(right_convolutions(torch.device("cpu"), "bf16"), SmallInFloat32)
    for device, precision in (("cpu", "fp32"), ("cuda", "bf16")):
        assert isinstance(right_convolutions(torch.device(device), precision), nullcontext)


def test_a_step_of_a_volume_compiles_with_it():
    x = torch.randn(4, 16, 2, 3, 3)
    conv = torch.nn.Conv3d(16, 16, 3, padding=1)
    with torch.autocast("cpu", torch.bfloat16), SmallInFloat32():
        assert torch.compile(conv, backend="eager", fullgraph=True)(x).dtype == torch.float32
