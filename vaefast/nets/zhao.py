"""The convolutional encoders of Zhao, Song & Ermon's experiments with PixelCNN decoders."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from vaefast.errors import ArgumentError
from vaefast.nets.layers import init_glorot
from vaefast.nets.older import ReadsOlder
from vaefast.nets.shapes import checked_image_shape, whole_number
from vaefast.nets.weight_norm import weight_normed

DENSE = ("dense", "mean", "spread")


class ZhaoEncoder(ReadsOlder):
    """Image [B, C, H, W] in [0, 1] -> (mu, log s), [B, latent_dim] each; mu alone if `deterministic`.

    Convolutions of kernel 4 and stride 2, a dense layer, leaky ReLUs of slope 0.1, and no normalisation of batches. The
    standard deviation s is a sigmoid, so never above 1, and not below `floor`.

    Args:
        image_shape: (channels, height, width); every convolution halves height and width.
        latent_dim: k.
        channels: of the convolutions.
        features: of the dense layer.
        floor: least standard deviation.
        weight_norm: weight-normed layers.
        centred: map the image to [-1, 1] first.
        deterministic: one head.

    Raises:
        ArgumentError: sizes that the halvings do not divide, or a floor that is not in (0, 1).

    Source: Zhao, Song & Ermon, "Towards Deeper Understanding of Variational Autoencoding Models", the code of the MNIST
    experiment (the defaults) and of the CIFAR-10 one (`zhao_cifar_encoder`).
    """

    scale_param = "logstd"

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), latent_dim: int = 10, *,
                 channels: tuple[int, ...] = (64, 128), features: int = 512, floor: float = 1e-3,
                 weight_norm: bool = False, centred: bool = False, deterministic: bool = False) -> None:
        super().__init__()
        shape = checked_image_shape(image_shape)
        unit = 2 ** len(channels)
        if shape[1] % unit or shape[2] % unit:
            raise ArgumentError(f"image_shape is {shape}; {len(channels)} convolutions halve the image, so height and width "
                                f"must be multiples of {unit}.")
        if not 0 < floor < 1:
            raise ArgumentError(f"floor is {floor!r}; expected a standard deviation between 0 and 1.")
        for name, value in (("latent_dim", latent_dim), ("features", features)):
            whole_number(name, value)
        self.centred, self.deterministic, self.log_floor = centred, deterministic, math.log(floor)
        widths = (shape[0], *channels)
        convs = [nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(widths, widths[1:])]
        self.convs = nn.ModuleList(convs)
        self.dense = nn.Linear(widths[-1] * (shape[1] // unit) * (shape[2] // unit), features)
        self.mean = nn.Linear(features, latent_dim)
        self.spread = None if deterministic else nn.Linear(features, latent_dim)
        self.apply(init_glorot)
        if weight_norm:
            for layer in (*convs, *(getattr(self, name) for name in DENSE)):
                if layer is not None:
                    weight_normed(layer)

    def read_older(self, state: dict[str, Tensor], prefix: str) -> None:
        """Of earlier versions convolutions alone were weight-normed."""
        for name in DENSE:
            weight = state.get(f"{prefix}{name}.weight")
            if weight is not None and is_parametrized(getattr(self, name)):
                del state[f"{prefix}{name}.weight"]
                now = f"{prefix}{name}.parametrizations.weight.original"
                state[f"{now}0"], state[f"{now}1"] = weight.norm(dim=1, keepdim=True), weight

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        h = 2 * x - 1 if self.centred else x
        for conv in self.convs:
            h = F.leaky_relu(conv(h), 0.1)
        h = F.leaky_relu(self.dense(h.flatten(1)), 0.1)
        if self.spread is None:
            return self.mean(h)
        return self.mean(h), F.logsigmoid(self.spread(h)).clamp_min(self.log_floor)


def zhao_cifar_encoder(image_shape: tuple[int, int, int] = (3, 32, 32), latent_dim: int = 20, *,
                       deterministic: bool = False) -> ZhaoEncoder:
    """`ZhaoEncoder` as in the CIFAR-10 experiment: three convolutions, weight-normed layers, and a floor of 0.01."""
    return ZhaoEncoder(image_shape, latent_dim, channels=(64, 128, 256), floor=0.01, weight_norm=True, centred=True,
                       deterministic=deterministic)
