"""The residual encoder and decoder of GAMIX-VAE (pre-activation blocks, ResNetV2), for square images of a power-of-two side."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.layers import init_glorot
from vaefast.nets.norms import KERAS_EPS, checked_norm, make_norm
from vaefast.nets.recompute import recomputed
from vaefast.nets.same import SameConv2d, SameConvTranspose2d
from vaefast.nets.shapes import checked_image_shape, whole_number

GRID = 4
"""Side of the smallest map."""


def _checked(image_shape: tuple[int, int, int], latent_dim: int, width: int, norm: str) -> tuple[int, int, int]:
    """Channels, side and number of halvings; `ArgumentError` for what cannot work."""
    channels, height, columns = checked_image_shape(image_shape)
    if height != columns or height < 2 * GRID or height & (height - 1):
        raise ArgumentError(
            f"image_shape is {(channels, height, columns)}; the gamix networks halve a square image down to 4x4, so its side "
            "must be 8, 16, 32, 64, 128, 256, 512, ... Resize the images, or pad 28x28 ones to 32x32.")
    whole_number("latent_dim", latent_dim)
    if whole_number("width", width) % 2:
        raise ArgumentError(f"width is {width}; expected an even number, as the smallest map has half as many channels.")
    checked_norm(norm)
    return channels, height, (height // GRID).bit_length() - 1


class Activated(nn.Module):
    """A layer of the normalised, rectified input: layer(relu(norm(x)))."""

    def __init__(self, features: int, layer: nn.Module, norm: str) -> None:
        super().__init__()
        self.norm, self.layer = make_norm(norm, features), layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(F.relu(self.norm(x)))


def _three(width: int, stride: int, norm: str) -> nn.Sequential:
    return nn.Sequential(Activated(width, SameConv2d(width, width, 3), norm), Activated(width, SameConv2d(width, width, 3), norm),
                         Activated(width, SameConv2d(width, width, 1, stride), norm))


class IdentityBlock(nn.Module):
    """[B, width, H, W] -> the same: convolutions 3x3, 3x3, 1x1 added to the input."""

    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.path = _three(width, 1, norm)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.path(x)


class DownBlock(nn.Module):
    """[B, width, H, W] -> [B, width, H / 2, W / 2]: as `IdentityBlock` with a stride in the 1x1 convolution, beside another."""

    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.path = _three(width, 2, norm)
        self.shortcut = Activated(width, SameConv2d(width, width, 1, 2), norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.path(x) + self.shortcut(x)


class UpBlock(nn.Module):
    """[B, inputs, H, W] -> [B, width, 2 H, 2 W]: 1x1 and transposed 3x3 convolution, beside another transposed one."""

    def __init__(self, inputs: int, width: int, norm: str) -> None:
        super().__init__()
        self.path = nn.Sequential(Activated(inputs, SameConv2d(inputs, width, 1), norm),
                                  Activated(width, SameConvTranspose2d(width, width, 3, 2), norm))
        self.shortcut = Activated(inputs, SameConvTranspose2d(inputs, width, 3, 2), norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.path(x) + self.shortcut(x)


class GAMIXEncoder(nn.Module):
    """Image [B, C, S, S] -> (mu, log variance), [B, latent_dim] each; mu alone if `deterministic`. S: a power of two.

    Layer norm over each channel's pixels, a convolution, for each halving two identity blocks and a down block, until the map
    is 4x4, and dense heads. The layer norm takes away the range of the image ([0, 1] and [-1, 1] are much the same to it), and
    with it the image's brightness and colour.

    Args:
        image_shape: (channels, S, S) with S from 8; published for 256.
        latent_dim: k.
        deterministic: one head, mu, and that alone is returned.
        width: channels of every map but the smallest, which has half as many; even.
        norm: "batch" (decay 0.99, eps 1e-3), "affine" (a scale and a shift for each channel), or "group". The paper describes
            batch norm; the released training leaves its statistics at 0 and 1, which is "affine".
        checkpoint: keep one map for each stage and compute the others again in the backward pass: much less memory, about a
            third more time.
        input_norm: begin with the layer norm, as released.

    Raises:
        ArgumentError: an image shape or setting that cannot work.

    Source: Rivera 2023, "How to train your VAE", and its released code; 9,908,140 parameters with the decoder and 1,049,600
    in the heads at 256x256x3 with 512 latent dimensions.
    """

    scale_param = "logvar"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, *, deterministic: bool = False, width: int = 128,
                 norm: str = "batch", checkpoint: bool = False, input_norm: bool = True) -> None:
        super().__init__()
        channels, side, halvings = _checked(image_shape, latent_dim, width, norm)
        self.side, self.checkpoint, self.deterministic, self.input_norm = side, checkpoint, deterministic, input_norm
        if input_norm:
            self.weight = nn.Parameter(torch.ones(side, side))
            self.bias = nn.Parameter(torch.zeros(side, side))
        self.first = SameConv2d(channels, width, 3)
        self.stages = nn.ModuleList(
            nn.Sequential(IdentityBlock(width, norm), IdentityBlock(width, norm), DownBlock(width, norm))
            for _ in range(halvings))
        self.last = SameConv2d(width, width // 2, 1)
        flat = width // 2 * GRID**2
        self.mean = nn.Linear(flat, latent_dim)
        if not deterministic:
            self.logvar = nn.Linear(flat, latent_dim)
        self.apply(init_glorot)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.input_norm:
            x = F.layer_norm(x, (self.side, self.side), self.weight, self.bias, KERAS_EPS)
        h = self.first(x)
        for stage in self.stages:
            h = recomputed(stage, h) if self.checkpoint else stage(h)
        h = self.last(h).flatten(1)
        return self.mean(h) if self.deterministic else (self.mean(h), self.logvar(h))


class GAMIXDecoder(nn.Module):
    """Code [B, latent_dim] -> image [B, C, S, S], linear: nothing keeps it to a range.

    A dense layer, a convolution, for each doubling from 4x4 an identity block and an up block (the last one to the image's
    channels), and a 1x1 convolution.

    Args:
        image_shape, latent_dim, width, norm, checkpoint: as in `GAMIXEncoder`.

    Raises:
        ArgumentError: an image shape or setting that cannot work.

    Source: Rivera 2023, "How to train your VAE", and its released code.
    """

    output = "image"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, *, width: int = 128, norm: str = "batch",
                 checkpoint: bool = False) -> None:
        super().__init__()
        channels, _, doublings = _checked(image_shape, latent_dim, width, norm)
        self.checkpoint, self.grid = checkpoint, (width // 2, GRID, GRID)
        self.fc = nn.Linear(latent_dim, width // 2 * GRID**2)
        self.first = SameConv2d(width // 2, width, 3)
        widths = [width] * (doublings - 1) + [channels]
        self.stages = nn.ModuleList(nn.Sequential(IdentityBlock(width, norm), UpBlock(width, w, norm)) for w in widths)
        self.last = SameConv2d(channels, channels, 1)
        self.apply(init_glorot)

    def forward(self, z: Tensor) -> Tensor:
        h = self.first(self.fc(z).unflatten(1, self.grid))
        for stage in self.stages:
            h = recomputed(stage, h) if self.checkpoint else stage(h)
        return self.last(h)
