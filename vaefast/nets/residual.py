"""A small residual encoder and decoder for images of any size, made for CPUs: most of the work is at a quarter of the image's
side and below, in few channels, without norms.

The image is cut into p x p patches (pixel unshuffle), p = 2 up to a side of 32 and 4 beyond, so that no convolution runs at the
image's own resolution. Blocks are pre-activation (He et al. 2016) and begin as the identity (the last convolution of each is
0, as in SkipInit, De & Smith 2020), which makes up for norms. One norm is left, before the last convolution: without it logits
grow with every layer at once, and on images that are mostly black the first steps drive them so far down that they never return.

Codes are vectors behind a dense layer, or maps (c, h, w), which keep their places: then the whole network is convolutions, at the
lower resolution and, for smaller maps, at halves of it. Maps are flat outside, [B, c h w].
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.shapes import CodeShape, checked_image_shape, checked_latents, whole_number


class ResidualBlock(nn.Module):
    """[B, width, H, W] -> the same: x + conv(relu(conv(relu(x)))), the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.outer = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(F.relu(self.inner(F.relu(x))))


class Grid:
    """How an image is cut: `patch` pixels a side of a cell, and `height` x `width` cells at the lower of two resolutions.

    Images whose sides are no multiples of 2 * patch are padded at the bottom and right by their last pixels, and cut again.
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.channels, self.rows, self.columns = checked_image_shape(image_shape)
        self.patch = 2 if max(self.rows, self.columns) <= 32 else 4
        step = 2 * self.patch
        self.height, self.width = -(-self.rows // step), -(-self.columns // step)
        self.padding = (0, step * self.width - self.columns, 0, step * self.height - self.rows)

    def cut(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C patch^2, 2 height, 2 width]."""
        return F.pixel_unshuffle(F.pad(x, self.padding, "replicate") if any(self.padding) else x, self.patch)

    def join(self, x: Tensor) -> Tensor:
        """The way back."""
        return F.pixel_shuffle(x, self.patch)[..., :self.rows, :self.columns]


    def halvings(self, shape: tuple[int, int, int]) -> int:
        """How often the lower of the two resolutions is halved to that of maps (c, h, w).

        Raises:
            ArgumentError: it never is.
        """
        sizes = [(self.height, self.width)]
        while not (sizes[-1][0] % 2 or sizes[-1][1] % 2):
            sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
        if shape[1:] not in sizes:
            raise ArgumentError(f"latent_dim is {'x'.join(map(str, shape))}; maps of codes of {self.rows}x{self.columns} images "
                                f"are {' or '.join(f'{h}x{w}' for h, w in sizes)} here.")
        return sizes.index((shape[1], shape[2]))


def _blocks(width: int, depth: int) -> list[nn.Module]:
    return [ResidualBlock(width) for _ in range(depth)]


def _up(width: int, channels: int) -> list[nn.Module]:
    """Twice the resolution, by a convolution to four times the channels: a quarter of the work of one after a doubling."""
    return [nn.Conv2d(width, 4 * channels, 3, padding=1), nn.PixelShuffle(2)]


def _sizes(width: int | None, depth: int, hidden: int | None, grid: Grid) -> tuple[int, int, int]:
    """Channels at the higher resolution, blocks at each, and the width of the dense layer."""
    small = grid.patch == 2
    width = whole_number("width", width if width is not None else 16 if small else 32)
    return width, whole_number("depth", depth), whole_number("hidden", hidden if hidden is not None else 256 if small else 512)


class ResidualEncoder(nn.Module):
    """Image [B, C, H, W] in [0, 1] -> (mu, log std), [B, latent_dim] each; mu alone if `deterministic`.

    Args:
        image_shape: (channels, height, width), of any size.
        latent_dim: k, or (c, h, w) for maps of codes; h x w is the image's side / (2 patch), or a half of it, a quarter...
        deterministic: one head, mu, and that alone is returned.
        width: channels at the side of H / patch, and twice as many at H / (2 patch); 16 if None, 32 for sides above 32.
        depth: residual blocks at each of the two resolutions.
        hidden: width of the dense layer; 256 if None, 512 for sides above 32. Maps have none.

    Raises:
        ArgumentError: an image shape or setting that cannot work.
    """

    scale_param = "logstd"
    channels_last_on_cpu = True  # a step takes 0.9 of the time at 28x28 (AVX2, fp32), as long at 64x64

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: CodeShape, *, deterministic: bool = False,
                 width: int | None = None, depth: int = 2, hidden: int | None = None) -> None:
        super().__init__()
        self.grid = grid = Grid(image_shape)
        k, maps = checked_latents(latent_dim)
        width, depth, hidden = _sizes(width, depth, hidden, grid)
        smaller: list[nn.Module] = []
        for _ in range(grid.halvings(maps) if maps else 0):
            smaller += [nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1), *_blocks(2 * width, depth)]
        self.trunk = nn.Sequential(
            nn.Conv2d(grid.channels * grid.patch**2, width, 3, padding=1), *_blocks(width, depth),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), *_blocks(2 * width, depth), *smaller)
        self.dense = None if maps else nn.Linear(2 * width * grid.height * grid.width, hidden)

        def head() -> nn.Module:
            return nn.Conv2d(2 * width, maps[0], 1) if maps else nn.Linear(hidden, k)

        self.mean = head()
        self.deterministic = deterministic
        if not deterministic:
            self.logstd = head()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        h = F.relu(self.trunk(self.grid.cut(x)))
        if self.dense is not None:
            h = F.relu(self.dense(h.flatten(1)))
        mean: Tensor = self.mean(h).flatten(1)
        return mean if self.deterministic else (mean, self.logstd(h).flatten(1))


class ResidualDecoder(nn.Module):
    """Code [B, latent_dim] -> logits [B, C, H, W]; the image is their sigmoid. The encoder's way back.

    Args:
        image_shape, latent_dim, width, depth, hidden: as in `ResidualEncoder`.
    """

    output = "logits"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: CodeShape, *, width: int | None = None,
                 depth: int = 2, hidden: int | None = None) -> None:
        super().__init__()
        self.grid = grid = Grid(image_shape)
        k, maps = checked_latents(latent_dim)
        width, depth, hidden = _sizes(width, depth, hidden, grid)
        first: list[nn.Module] = []
        if maps:
            self.dense = nn.Sequential(nn.Unflatten(1, maps), nn.Conv2d(maps[0], 2 * width, 3, padding=1))
            for _ in range(grid.halvings(maps)):
                first += [*_blocks(2 * width, depth), *_up(2 * width, 2 * width)]
        else:
            self.dense = nn.Sequential(nn.Linear(k, hidden), nn.ReLU(), nn.Linear(hidden, 2 * width * grid.height * grid.width),
                                       nn.Unflatten(1, (2 * width, grid.height, grid.width)))
        self.trunk = nn.Sequential(
            *first, *_blocks(2 * width, depth), *_up(2 * width, width), *_blocks(width, depth), nn.GroupNorm(1, width), nn.ReLU(),
            nn.Conv2d(width, grid.channels * grid.patch**2, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        return self.grid.join(self.trunk(self.dense(z)))
