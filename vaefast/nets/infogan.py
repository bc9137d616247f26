"""The neutral encoder and decoder of Dai & Wipf (the InfoGAN networks; their class `Infogan`)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.layers import BatchNorm, SpectralConv2d, SpectralLinear, init_normal
from vaefast.nets.shapes import checked_image_shape

HIDDEN = 1024
"""Units of the dense layer of every InfoGAN network."""


def check_image_shape(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """`image_shape` as (channels, height, width) that two halvings divide; `ArgumentError` otherwise."""
    channels, height, width = checked_image_shape(image_shape)
    if height % 4 or width % 4:
        raise ArgumentError(
            f"image_shape is {(channels, height, width)}; the infogan networks halve the image twice, so height "
            "and width must be multiples of 4 (28, 32, 64, ...). Resize the images, or pass your own encoder and decoder.")
    return channels, height, width


class InfoGANEncoder(nn.Module):
    """Image [B, C, H, W] in [0, 1] -> (mu, a), [B, latent_dim] each, with s = 1e-6 + softplus(a); mu alone if `deterministic`.

    Spectral norm on all four weight layers, batch norm on the middle two. Source: Dai & Wipf's
    code, class `Infogan`; 6,689,344 parameters at 28x28x1 with 64 latent dimensions.
    """

    scale_param = "softplus"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, *, deterministic: bool = False) -> None:
        super().__init__()
        self.deterministic = deterministic
        channels, height, width = check_image_shape(image_shape)
        self.conv1 = SpectralConv2d(channels, 64, 4, stride=2, padding=1)
        self.conv2 = SpectralConv2d(64, 128, 4, stride=2, padding=1)
        self.norm2 = BatchNorm(128)
        self.fc3 = SpectralLinear(128 * (height // 4) * (width // 4), HIDDEN)
        self.norm3 = BatchNorm(HIDDEN)
        self.head = SpectralLinear(HIDDEN, latent_dim if deterministic else 2 * latent_dim)
        self.apply(init_normal)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        h = F.leaky_relu(self.conv1(x), 0.2)
        h = F.leaky_relu(self.norm2(self.conv2(h)), 0.2)
        h = F.leaky_relu(self.norm3(self.fc3(h.flatten(1))), 0.2)
        if self.deterministic:
            return self.head(h)
        mu, raw = self.head(h).chunk(2, dim=1)
        return mu, raw


class InfoGANDecoder(nn.Module):
    """Code [B, latent_dim] -> logits [B, C, H, W]; the image is their sigmoid.

    No spectral norm; `eps` is that of batch norm. Source: Dai & Wipf's code, class `Infogan`; 6,642,241 parameters at 28x28x1
    with 64 latent dimensions. A `condition` goes to the norms, for those that take one.
    """

    output = "logits"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        channels, height, width = check_image_shape(image_shape)
        self.grid = (128, height // 4, width // 4)
        flat = 128 * (height // 4) * (width // 4)
        self.fc1 = nn.Linear(latent_dim, HIDDEN)
        self.norm1 = BatchNorm(HIDDEN, eps=eps)
        self.fc2 = nn.Linear(HIDDEN, flat)
        self.norm2 = BatchNorm(flat, eps=eps)
        self.up3 = nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1)
        self.norm3 = BatchNorm(64, eps=eps)
        self.up4 = nn.ConvTranspose2d(64, channels, 4, stride=2, padding=1)
        self.apply(init_normal)

    def activate(self, x: Tensor) -> Tensor:
        """The activation between layers."""
        return F.relu(x)

    def forward(self, z: Tensor, *condition: Tensor) -> Tensor:
        h = self.activate(self.norm1(self.fc1(z), *condition))
        h = self.activate(self.norm2(self.fc2(h), *condition)).unflatten(1, self.grid)
        h = self.activate(self.norm3(self.up3(h), *condition))
        return self.up4(h)
