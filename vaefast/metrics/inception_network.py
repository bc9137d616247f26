"""The Inception network of 2015-12-05 (Szegedy et al. 2015, as TensorFlow's frozen graph has it), for inference alone.

What FID, KID and Inception score are defined on. It differs from later Inception-v3 networks: 1008 classes, average pools
that leave padding out, a max pool in the last block. Weights are read in the layout of pytorch-fid's file. Batch norm is
folded into the convolutions (in float64), memory is channels-last, and average pools come after their 1x1 convolution, which
commutes with them and has fewer channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import CheckpointError

FEATURES, CLASSES, SIDE = 2048, 1008, 299
_BATCH_NORM_EPS = 1e-3

Size = int | tuple[int, int]


class _Unit(nn.Module):
    """A convolution with its batch norm folded in, then ReLU."""

    def __init__(self, inputs: int, outputs: int, size: Size = 1, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        height, width = (size, size) if isinstance(size, int) else size
        self.stride, self.padding = stride, padding
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, height, width), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False)

    def linear(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.linear(x))

    def pooled(self, x: Tensor) -> Tensor:
        """ReLU of the 1x1 convolution of the 3x3 average pool of x."""
        return F.relu_(F.avg_pool2d(self.linear(x), 3, stride=1, padding=1, count_include_pad=False))

    def fold(self, state: Mapping[str, Tensor], name: str) -> None:
        """Take the weights that the file holds under `name`."""
        weight, gain, shift, mean, variance = (
            state[f"{name}.{part}"].double()
            for part in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
        )
        factor = gain / (variance + _BATCH_NORM_EPS).sqrt()
        self.weight.data.copy_(weight * factor[:, None, None, None])
        self.bias.data.copy_(shift - mean * factor)


class _Wide(nn.Module):
    """35x35: 1x1, 5x5, two 3x3, pool."""

    def __init__(self, inputs: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = _Unit(inputs, 64)
        self.branch5x5_1, self.branch5x5_2 = _Unit(inputs, 48), _Unit(48, 64, 5, padding=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Unit(inputs, 64), _Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Unit(96, 96, 3, padding=1)
        self.branch_pool = _Unit(inputs, pool)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.branch_pool.pooled(x),
        ), 1)  # fmt: skip


class _ToMiddle(nn.Module):
    """35x35 -> 17x17."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = _Unit(288, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Unit(288, 64), _Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Unit(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat((self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)), 1)


class _Middle(nn.Module):
    """17x17: 1x1, 7x7 and two 7x7 in strips, pool."""

    def __init__(self, width: int) -> None:
        super().__init__()
        row, column = partial(_Unit, size=(1, 7), padding=(0, 3)), partial(_Unit, size=(7, 1), padding=(3, 0))
        self.branch1x1 = _Unit(768, 192)
        self.branch7x7_1, self.branch7x7_2 = _Unit(768, width), row(width, width)
        self.branch7x7_3 = column(width, 192)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = _Unit(768, width), column(width, width)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = row(width, width), column(width, width)
        self.branch7x7dbl_5 = row(width, 192)
        self.branch_pool = _Unit(768, 192)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        return torch.cat((
            self.branch1x1(x),
            self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
            self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
            self.branch_pool.pooled(x),
        ), 1)  # fmt: skip


class _ToNarrow(nn.Module):
    """17x17 -> 8x8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = _Unit(768, 192), _Unit(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = _Unit(768, 192), _Unit(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3, self.branch7x7x3_4 = _Unit(192, 192, (7, 1), padding=(3, 0)), _Unit(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        strips = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat((self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(strips), F.max_pool2d(x, 3, stride=2)), 1)


class _Narrow(nn.Module):
    """8x8: 1x1, and 3x3 strips side by side; the pool is a maximum in the last block."""

    def __init__(self, inputs: int, max_pool: bool) -> None:
        super().__init__()
        row, column = partial(_Unit, size=(1, 3), padding=(0, 1)), partial(_Unit, size=(3, 1), padding=(1, 0))
        self.max_pool = max_pool
        self.branch1x1 = _Unit(inputs, 320)
        self.branch3x3_1 = _Unit(inputs, 384)
        self.branch3x3_2a, self.branch3x3_2b = row(384, 384), column(384, 384)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Unit(inputs, 448), _Unit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = row(384, 384), column(384, 384)
        self.branch_pool = _Unit(inputs, 192)

    def forward(self, x: Tensor) -> Tensor:
        single, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        if self.max_pool:
            pool = self.branch_pool(F.max_pool2d(x, 3, stride=1, padding=1))
        else:
            pool = self.branch_pool.pooled(x)
        return torch.cat((
            self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), pool,
        ), 1)  # fmt: skip


class InceptionNetwork(nn.Module):
    """Images in, 2048 features of the last average pool out; `logits` makes the 1008 class scores of them."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = _Unit(3, 32, 3, stride=2), _Unit(32, 32, 3)
        self.Conv2d_2b_3x3 = _Unit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = _Unit(64, 80), _Unit(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _Wide(192, 32), _Wide(256, 64), _Wide(288, 64)
        self.Mixed_6a = _ToMiddle()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (_Middle(width) for width in (128, 160, 160, 192))
        self.Mixed_7a = _ToNarrow()
        self.Mixed_7b, self.Mixed_7c = _Narrow(1280, max_pool=False), _Narrow(2048, max_pool=True)
        self.classes = nn.Parameter(torch.zeros(CLASSES, FEATURES), requires_grad=False)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> InceptionNetwork:
        """The network in `dtype`, with the weights of pytorch-fid's file as a mapping of names to tensors.

        Raises:
            CheckpointError: a tensor is missing or has another shape.
        """
        network = cls().to(dtype)
        try:
            for name, module in network.named_modules():
                if isinstance(module, _Unit):
                    module.fold(state, name)
            network.classes.data.copy_(state["fc.weight"])
        except KeyError as error:
            raise CheckpointError(f"these are not weights of the 2015 Inception network: there is no {error}.") from None
        except (RuntimeError, AttributeError, IndexError) as error:
            raise CheckpointError(f"these are not weights of the 2015 Inception network: {error}.") from None
        return network.to(memory_format=torch.channels_last).eval()

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, 2048] of images [N, 3, 299, 299] in [-1, 1]."""
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, stride=2)))
        x = F.max_pool2d(x, 3, stride=2)
        for block in (self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d,
                      self.Mixed_6e, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c):  # fmt: skip
            x = block(x)
        return x.mean((2, 3))

    def logits(self, features: Tensor) -> Tensor:
        """Class scores [N, 1008] without their bias, as the Inception score has always been computed."""
        return features @ self.classes.T
