"""The residual encoder and decoder of Dai & Wipf (their class `Resnet`), for square images of a power-of-two side."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.layers import BatchNorm, init_glorot
from vaefast.nets.same import SameConv2d, SameConvTranspose2d
from vaefast.nets.shapes import checked_image_shape, whole_number

MAX_WIDTH = 1024


def _checked(image_shape: tuple[int, int, int], **options: int) -> tuple[int, int]:
    """Channels and side; `ArgumentError` for images that are not square with a power-of-two side, or bad options."""
    channels, height, width = checked_image_shape(image_shape)
    if height != width or height < 4 or height & (height - 1):
        raise ArgumentError(
            f"image_shape is {(channels, height, width)}; the resnet networks double a 2x2 map up to the image, so it must be "
            "square with a side of 4, 8, 16, 32, 64, ... Pad 28x28 images to 32x32, or use nets='infogan'.")
    for name, value in options.items():
        whole_number(name, value)
    return channels, height


class ResidualBlock(nn.Module):
    """[B, inputs, H, W] -> [B, width, H, W]: `depth` times (batch norm, ReLU, convolution), plus a convolution of the input."""

    def __init__(self, inputs: int, width: int, depth: int, kernel: int) -> None:
        super().__init__()
        sizes = [inputs] + [width] * depth
        self.norms = nn.ModuleList(BatchNorm(n) for n in sizes[:-1])
        self.convs = nn.ModuleList(SameConv2d(a, b, kernel) for a, b in zip(sizes, sizes[1:]))
        self.shortcut = SameConv2d(inputs, width, kernel)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for norm, conv in zip(self.norms, self.convs):
            h = conv(F.relu(norm(h)))
        return h + self.shortcut(x)


class DenseResidualBlock(nn.Module):
    """[B, inputs] -> [B, width]: `depth` times (ReLU, dense) beside a dense layer; no batch norm."""

    def __init__(self, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [inputs] + [width] * depth
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.shortcut = nn.Linear(inputs, width)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in self.layers:
            h = layer(F.relu(h))
        return h + self.shortcut(x)


class ResNetEncoder(nn.Module):
    """Image [B, C, S, S] in [0, 1] -> (mu, log std), [B, latent_dim] each; mu alone if `deterministic`. S: a power of two.

    1,147,056 parameters at 64x64x3 with 64 latent dimensions.

    Args:
        image_shape: (channels, S, S).
        latent_dim: k.
        deterministic: one head, mu, and that alone is returned.
        num_scale: resolutions, each half of the one before with twice its width.
        block_per_scale, depth_per_block: residual blocks at a resolution, and layers in a block.
        kernel_size: of every convolution.
        base_dim: width at the image's own resolution.
        fc_dim: width of the dense residual block.

    Raises:
        ArgumentError: an image shape or setting that cannot work.

    Source: Dai & Wipf's code, class `Resnet`; their CelebA run has base_dim 32 and k = 128.
    """

    scale_param = "logstd"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, *, deterministic: bool = False, num_scale: int = 4,
                 block_per_scale: int = 1, depth_per_block: int = 2, kernel_size: int = 3, base_dim: int = 16,
                 fc_dim: int = 512) -> None:
        super().__init__()
        channels, _ = _checked(image_shape, num_scale=num_scale, block_per_scale=block_per_scale, fc_dim=fc_dim,
                               depth_per_block=depth_per_block, kernel_size=kernel_size, base_dim=base_dim)
        width = base_dim
        layers: list[nn.Module] = [SameConv2d(channels, width, kernel_size)]
        for scale in range(num_scale):
            layers += [ResidualBlock(width, width, depth_per_block, kernel_size) for _ in range(block_per_scale)]
            if scale < num_scale - 1:
                layers.append(SameConv2d(width, 2 * width, kernel_size, 2))
                width *= 2
        self.trunk = nn.Sequential(*layers)
        self.dense = DenseResidualBlock(width, fc_dim, depth_per_block)
        self.mean = nn.Linear(fc_dim, latent_dim)
        self.deterministic = deterministic
        if not deterministic:
            self.logstd = nn.Linear(fc_dim, latent_dim)
        self.apply(init_glorot)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        h = self.dense(self.trunk(x).mean((2, 3)))
        return self.mean(h) if self.deterministic else (self.mean(h), self.logstd(h))


class ResNetDecoder(nn.Module):
    """Code [B, latent_dim] -> logits [B, C, S, S]; the image is their sigmoid. S: a power of two.

    4,065,843 parameters at 64x64x3 with 64 latent dimensions.

    Args:
        image_shape: (channels, S, S).
        latent_dim: k.
        block_per_scale, depth_per_block, kernel_size, base_dim: as in `ResNetEncoder`; the width doubles from the image down
            to the 2x2 map, up to 1,024.

    Raises:
        ArgumentError: an image shape or setting that cannot work.

    Source: Dai & Wipf's code, class `Resnet`.
    """

    output = "logits"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, *, block_per_scale: int = 1,
                 depth_per_block: int = 2, kernel_size: int = 3, base_dim: int = 16) -> None:
        super().__init__()
        channels, side = _checked(image_shape, block_per_scale=block_per_scale, depth_per_block=depth_per_block,
                                  kernel_size=kernel_size, base_dim=base_dim)
        widths = [min(base_dim * 2**i, MAX_WIDTH) for i in reversed(range(side.bit_length() - 1))]
        self.fc = nn.Linear(latent_dim, 4 * widths[0])
        layers: list[nn.Module] = []
        for inputs, width in zip(widths, widths[1:]):
            layers.append(SameConvTranspose2d(inputs, width, kernel_size, 2))
            layers += [ResidualBlock(width, width, depth_per_block, kernel_size) for _ in range(block_per_scale)]
        layers.append(SameConv2d(widths[-1], channels, kernel_size))
        self.trunk = nn.Sequential(*layers)
        self.apply(init_glorot)

    def forward(self, z: Tensor) -> Tensor:
        return self.trunk(self.fc(z).unflatten(1, (-1, 2, 2)))
