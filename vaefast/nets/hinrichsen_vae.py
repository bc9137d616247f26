"""The residual encoder and decoder of Hinrichsen's own VAE repository, made for faces at 45x45."""

from __future__ import annotations

from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.layers import BatchNorm
from vaefast.nets.shapes import checked_image_shape, whole_number
from vaefast.nets.upsampling import bilinear

SIDES = (32, 64)
FEATURES = 512
ENCODER = ((64, 128), (128, 256), (256, 256), (512, 1024))
"""Width of each resolution, and the inner width of its second residual block."""
DECODER = (((128, 128), (256, 128)), ((128, 128), (128, 64)), ((64, 64), (64, 32)), ((32, 32), (32, 32)), ((16, 16), (16, None)))
"""(inner, outer) width of the two residual blocks behind each upsampling; None stands for the image's channels."""


def _check(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    channels, height, width = checked_image_shape(image_shape)
    if height != width or not SIDES[0] <= height <= SIDES[1]:
        raise ArgumentError(f"image_shape is {(channels, height, width)}; the hinrichsen networks are for square images of a "
                            f"side of {SIDES[0]} to {SIDES[1]} (45 in the original). Crop or resize the images.")
    return channels, height


def _conv(inputs: int, outputs: int, *, bias: bool = True) -> nn.Sequential:
    """3x3 convolution, batch norm (torch's settings) and ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias), BatchNorm(outputs, decay=0.9), nn.ReLU())


class ResidualBlock(nn.Module):
    """[B, inputs, H, W] -> [B, outputs, H, W]: two convolutions with batch norm and ReLU, and the input (1x1 if it differs)."""

    def __init__(self, inputs: int, inner: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(inputs, inner, bias=False), _conv(inner, outputs, bias=False))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.skip(x)


class HinrichsenEncoder(nn.Module):
    """Image [B, C, S, S] in [0, 1] -> (mu, logvar), [B, latent_dim] each; mu alone if `deterministic`. S: 32 to 64.

    Four resolutions (45, 22, 11, 5), residual blocks at three of them, then the largest value of each of 512 features and dense
    heads. At sides of 48 or more that is the largest over more than the 5x5 window of the original's last pooling.

    Raises:
        ArgumentError: an image shape or setting that cannot work.

    Source: Hinrichsen's code (repository Variational-Autoencoder-VAE-), `model/VAE.py`.
    """

    scale_param = "logvar"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 512, *, deterministic: bool = False) -> None:
        super().__init__()
        channels, _ = _check(image_shape)
        latent_dim = whole_number("latent_dim", latent_dim)
        self.resolutions = nn.ModuleList()
        inputs = channels
        for width, inner in ENCODER:
            # the third resolution has no residual blocks
            blocks = [] if width == inner else [ResidualBlock(width, width, width), ResidualBlock(width, inner, width)]
            halved = [nn.MaxPool2d(2)] if len(self.resolutions) else []
            self.resolutions.append(nn.Sequential(_conv(inputs, width), *halved, *blocks))
            inputs = width
        self.mean = nn.Linear(FEATURES, latent_dim)
        self.deterministic = deterministic
        if not deterministic:
            self.logvar = nn.Linear(FEATURES, latent_dim)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        for resolution in self.resolutions:
            x = resolution(x)
        h = x.amax((2, 3))
        return self.mean(h) if self.deterministic else (self.mean(h), self.logvar(h))


class HinrichsenDecoder(nn.Module):
    """Code [B, latent_dim] -> logits [B, C, S, S]; the image is their sigmoid. S: 32 to 64.

    A dense layer to 2x2, five bilinear upsamplings (4, 8, 16, 32, S), each with two residual blocks behind it. The logits are
    ReLU(.) plus a 1x1 convolution, as in the original.

    Raises, Source: as `HinrichsenEncoder`.
    """

    output = "logits"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 512) -> None:
        super().__init__()
        channels, side = _check(image_shape)
        self.sides = (4, 8, 16, 32, side)
        self.fc = nn.Linear(whole_number("latent_dim", latent_dim), FEATURES)
        self.resolutions = nn.ModuleList()
        inputs = FEATURES // 4
        for blocks in DECODER:
            layers = []
            for inner, outer in blocks:
                layers.append(ResidualBlock(inputs, inner, outer or channels))
                inputs = outer or channels
            self.resolutions.append(nn.Sequential(*layers))

    def forward(self, z: Tensor) -> Tensor:
        h = self.fc(z).unflatten(1, (-1, 2, 2))
        for side, resolution in zip(self.sides, self.resolutions):
            h = resolution(bilinear(h, side))
        return h
