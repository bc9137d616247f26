"""A residual encoder and decoder for sequences (C, L) and volumes (C, D, H, W): what `residual` is for images, in 1 and 3
dimensions, without norms and with a linear output.

Data are folded first, every p values a side into channels (as pixel unshuffle does), and then halved until a side is at most
`SMALLEST`; sides of one value are left as they are. An odd side is halved upwards, and cut to its size again on the way back, so
that any size will do and little is computed twice. Blocks are pre-activation (He et al. 2016) and begin as the identity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.nets.shapes import checked_data_shape, whole_number

CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 3: nn.Conv3d}
SMALLEST = {1: 16, 3: 4}
"""Cells a side, of sequences and of volumes, down to which they are halved."""
WIDEST = 4
"""Channels, at most, in multiples of the first level's."""


class Block(nn.Module):
    """[B, width, *space] -> the same: x + conv(relu(conv(relu(x)))), the identity at first."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[rank]
        self.inner, self.outer = (convolution(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(F.relu(self.inner(F.relu(x))))


def fold(x: Tensor, sides: Sequence[int]) -> Tensor:
    """[B, C, n1 p1, n2 p2, ...] -> [B, C p1 p2 ..., n1, n2, ...] for sides (p1, p2, ...): pixel unshuffle in any dimensions."""
    rank = len(sides)
    cells = [size // side for size, side in zip(x.shape[2:], sides)]
    x = x.reshape(x.shape[0], x.shape[1], *(n for pair in zip(cells, sides) for n in pair))
    x = x.permute(0, 1, *(3 + 2 * i for i in range(rank)), *(2 + 2 * i for i in range(rank)))
    return x.reshape(x.shape[0], -1, *cells)


def unfold(x: Tensor, sides: Sequence[int]) -> Tensor:
    """The way back of `fold`."""
    rank, cells = len(sides), x.shape[2:]
    x = x.reshape(x.shape[0], -1, *sides, *cells)
    x = x.permute(0, 1, *(n for i in range(rank) for n in (2 + rank + i, 2 + i)))
    return x.reshape(x.shape[0], x.shape[1], *(n * side for n, side in zip(cells, sides)))


class Levels:
    """How data of a shape are folded, halved, and brought back.

    Attributes:
        sides: values a side of a cell.
        padding: what `F.pad` adds at each side's end, so that cells fill it.
        cells: cells of each level, the finest first.
        strides: how each level is halved to the next.
        widths: channels of each level.
    """

    def __init__(self, data_shape: tuple[int, ...], width: int | None) -> None:
        self.channels, *sizes = data_shape
        self.sizes, self.rank = tuple(sizes), len(sizes)
        small = max(sizes) <= 32
        patch, smallest = 2 if small else 4, SMALLEST[self.rank]
        self.sides = tuple(min(patch, size) for size in sizes)
        self.cells = [tuple(-(-size // side) for size, side in zip(sizes, self.sides))]
        self.padding = [n for size, side, cells in reversed(list(zip(sizes, self.sides, self.cells[0])))
                        for n in (0, side * cells - size)]
        self.strides: list[tuple[int, ...]] = []
        # one halving where there is room, and more while a side is long
        while max(self.cells[-1]) > (1 if len(self.cells) == 1 else smallest):
            stride = tuple(2 if n > (1 if len(self.cells) == 1 else smallest) else 1 for n in self.cells[-1])
            self.strides.append(stride)
            self.cells.append(tuple(-(-n // s) for n, s in zip(self.cells[-1], stride)))
        first = whole_number("width", width if width is not None else 16 if small else 32)
        self.widths = [min(2**level, WIDEST) * first for level in range(len(self.cells))]

    @property
    def folded(self) -> int:
        """Channels of folded data."""
        return self.channels * math.prod(self.sides)

    def cut(self, x: Tensor) -> Tensor:
        """[B, C, *sizes] -> [B, folded, *cells[0]]; what is missing at an end is its last value."""
        return fold(F.pad(x, self.padding, "replicate") if any(self.padding) else x, self.sides)

    def join(self, x: Tensor) -> Tensor:
        """The way back."""
        return cropped(unfold(x, self.sides), self.sizes)


def cropped(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """The first `sizes` of each side."""
    for axis, size in enumerate(sizes, start=2):
        x = x.narrow(axis, 0, size)
    return x


class _Up(nn.Module):
    """A level's cells to the next finer one's, by a convolution to more channels that are then unfolded."""

    def __init__(self, width: int, channels: int, stride: tuple[int, ...], cells: tuple[int, ...]) -> None:
        super().__init__()
        self.stride, self.cells = stride, cells
        self.conv = CONVOLUTIONS[len(cells)](width, channels * math.prod(stride), 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return cropped(unfold(self.conv(x), self.stride), self.cells)


def _hidden(hidden: int | None, levels: Levels) -> int:
    return whole_number("hidden", hidden if hidden is not None else 256 if max(levels.sizes) <= 32 else 512)


class ResidualGridEncoder(nn.Module):
    """Sequence [B, C, L] or volume [B, C, D, H, W] -> (mu, log std), [B, latent_dim] each; mu alone if `deterministic`.

    Args:
        data_shape: (C, L) or (C, D, H, W), of any sizes.
        latent_dim: k.
        deterministic: one head, mu, and that alone is returned.
        width: channels of the finest level, twice as many of the next and four times of those below; 16 if None, 32 for sides
            above 32.
        depth: residual blocks of each level.
        hidden: width of the dense layer; 256 if None, 512 for sides above 32.

    Raises:
        ArgumentError: a shape or setting that cannot work.
    """

    scale_param = "logstd"

    def __init__(self, data_shape: tuple[int, ...], latent_dim: int, *, deterministic: bool = False, width: int | None = None,
                 depth: int = 2, hidden: int | None = None) -> None:
        super().__init__()
        self.levels = levels = Levels(checked_data_shape(data_shape, sizes=(2, 4)), width)
        convolution, depth, k = CONVOLUTIONS[levels.rank], whole_number("depth", depth), whole_number("latent_dim", latent_dim)
        hidden = _hidden(hidden, levels)
        layers: list[nn.Module] = [convolution(levels.folded, levels.widths[0], 3, padding=1)]
        for level, width_here in enumerate(levels.widths):
            if level:
                layers.append(convolution(levels.widths[level - 1], width_here, 3, stride=levels.strides[level - 1], padding=1))
            layers += [Block(width_here, levels.rank) for _ in range(depth)]
        self.trunk = nn.Sequential(*layers)
        self.dense = nn.Linear(levels.widths[-1] * math.prod(levels.cells[-1]), hidden)
        self.mean = nn.Linear(hidden, k)
        self.deterministic = deterministic
        if not deterministic:
            self.logstd = nn.Linear(hidden, k)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        h = F.relu(self.dense(F.relu(self.trunk(self.levels.cut(x))).flatten(1)))
        mean: Tensor = self.mean(h)
        return mean if self.deterministic else (mean, self.logstd(h))


class ResidualGridDecoder(nn.Module):
    """Code [B, latent_dim] -> sequence [B, C, L] or volume [B, C, D, H, W], linear. The encoder's way back.

    Args:
        data_shape, latent_dim, width, depth, hidden: as in `ResidualGridEncoder`.
    """

    output = "linear"

    def __init__(self, data_shape: tuple[int, ...], latent_dim: int, *, width: int | None = None, depth: int = 2,
                 hidden: int | None = None) -> None:
        super().__init__()
        self.levels = levels = Levels(checked_data_shape(data_shape, sizes=(2, 4)), width)
        depth, hidden = whole_number("depth", depth), _hidden(hidden, levels)
        last, cells = levels.widths[-1], levels.cells[-1]
        self.dense = nn.Sequential(nn.Linear(whole_number("latent_dim", latent_dim), hidden), nn.ReLU(),
                                   nn.Linear(hidden, last * math.prod(cells)), nn.Unflatten(1, (last, *cells)))
        layers: list[nn.Module] = []
        for level in reversed(range(len(levels.widths))):
            layers += [Block(levels.widths[level], levels.rank) for _ in range(depth)]
            if level:
                layers.append(_Up(levels.widths[level], levels.widths[level - 1], levels.strides[level - 1],
                                  levels.cells[level - 1]))
        self.trunk = nn.Sequential(*layers, nn.ReLU(),
                                   CONVOLUTIONS[levels.rank](levels.widths[0], levels.folded, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        return self.levels.join(self.trunk(self.dense(z)))
