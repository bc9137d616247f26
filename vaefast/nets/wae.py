"""The convolutional networks of Wasserstein auto-encoders on 64x64 images, in two versions.

Dai & Wipf's (class `Wae`) leaves the first convolution unstrided; Tolstikhin et al.'s own halves the image there too,
adds noise to its input and averages batch statistics faster. `vaefast.nets.NETS` has them as "wae" and "wae-stride2".
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.global_batch import own_rows
from vaefast.nets.layers import BatchNorm, init_glorot, init_normal
from vaefast.nets.same import SameConv2d, SameConvTranspose2d
from vaefast.nets.shapes import checked_image_shape

INIT_STD = 0.0099999
LOG_FLOOR = math.log(1e-8)
"""Tolstikhin et al. add 1e-8 to the variance, of which the logarithm was clipped to [-50, 50]."""


def _grid(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    channels, height, width = checked_image_shape(image_shape)
    if height % 8 or width % 8:
        raise ArgumentError(
            f"image_shape is {(channels, height, width)}; the wae networks halve the image three times, so height and width "
            "must be multiples of 8 (32, 64, ...). Resize or pad the images, or use nets='infogan' (multiples of 4).")
    return channels, height // 8, width // 8


def _initialise(module: nn.Module, init_std: float | None) -> None:
    module.apply(init_glorot if init_std is None else partial(init_normal, std=init_std))


def truncated_normal(shape: torch.Size, std: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Normal noise truncated at two (untruncated) standard deviations `std`, as TensorFlow draws it."""
    edge = math.erf(math.sqrt(2.0))
    uniform = torch.empty(shape, device=device, dtype=dtype).uniform_(-edge, edge)
    return torch.erfinv(uniform).mul_(std * math.sqrt(2.0))


class WAEEncoder(nn.Module):
    """Image [B, C, H, W] -> (mu, raw), [B, latent_dim] each; mu alone if `deterministic`. H and W are multiples of 8.

    Four 5x5 convolutions with batch norm and ReLU, then dense heads. 25,607,296 parameters at 64x64x3 with 64 latent
    dimensions and two heads; 18,267,200 with first_stride 2 and one.

    Args:
        image_shape: (channels, height, width).
        latent_dim: k.
        first_stride: 1 (Dai & Wipf) or 2 (Tolstikhin et al.), of the first convolution; the other three have 2.
        deterministic: one head, mu, and that alone is returned.
        scale_param: "logstd" (Dai & Wipf), or "logvar", raw then clipped to [-50, 50] and 1e-8 added to the variance
            (Tolstikhin et al.).
        input_noise: standard deviation of the truncated normal noise that training adds to the input.
        norm_decay: of the batch norm's moving statistics.
        init_std: of normal initial weights (convolutions truncated); None for Glorot's.
        width: channels of the first convolution; each next one has twice as many.

    Raises:
        ArgumentError: an image shape or setting that cannot work.

    Source: Dai & Wipf's code, class `Wae`; Tolstikhin et al.'s code, `config_celebA`.
    """

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, *, first_stride: int = 1,
                 deterministic: bool = False, scale_param: str = "logstd", input_noise: float = 0.0,
                 norm_decay: float = 0.999, init_std: float | None = None, width: int = 128) -> None:
        super().__init__()
        channels, rows, columns = _grid(image_shape)
        if first_stride not in (1, 2):
            raise ArgumentError(f"first_stride is {first_stride!r}; expected 1 or 2.")
        if scale_param not in ("logstd", "logvar"):
            raise ArgumentError(f"scale_param is {scale_param!r}; expected 'logstd' or 'logvar'.")
        if not 0 <= input_noise < math.inf:
            raise ArgumentError(f"input_noise is {input_noise!r}; expected 0 or more.")
        self.scale_param, self.deterministic, self.input_noise = scale_param, deterministic, input_noise
        widths = [channels, width, 2 * width, 4 * width, 8 * width]
        strides = (first_stride, 2, 2, 2)
        self.convs = nn.ModuleList(SameConv2d(a, b, 5, s) for a, b, s in zip(widths, widths[1:], strides))
        self.norms = nn.ModuleList(BatchNorm(n, decay=norm_decay) for n in widths[1:])
        # SAME rounds up, so that a side of 8 survives the fourth halving as well
        flat = widths[-1] * -(-rows // first_stride) * -(-columns // first_stride)
        self.mean = nn.Linear(flat, latent_dim)
        if not deterministic:
            self.raw = nn.Linear(flat, latent_dim)
        _initialise(self, init_std)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.training and self.input_noise:
            x = x + own_rows(x, lambda shape: truncated_normal(shape, self.input_noise, x.device, x.dtype))
        for conv, norm in zip(self.convs, self.norms):
            x = F.relu(norm(conv(x)))
        h = x.flatten(1)
        if self.deterministic:
            return self.mean(h)
        raw = self.raw(h)
        if self.scale_param == "logvar":
            raw = F.softplus(raw.clamp(-50.0, 50.0) - LOG_FLOOR) + LOG_FLOOR  # log(exp(raw) + 1e-8)
        return self.mean(h), raw


class WAEDecoder(nn.Module):
    """Code [B, latent_dim] -> logits [B, C, H, W]; the image is their sigmoid. H and W are multiples of 8.

    A dense layer with ReLU (no batch norm), three 5x5 transposed convolutions of stride 2 with batch norm and ReLU, and one
    of stride 1. 21,475,331 parameters at 64x64x3 with 64 latent dimensions.

    Args:
        image_shape: (channels, height, width).
        latent_dim: k.
        activation: what the published decoder ends with: "sigmoid", image in [0, 1], or "tanh", image in [-1, 1]. As
            (tanh(a) + 1) / 2 = sigmoid(2 a), the second doubles the logits, and the image in [0, 1] is the same.
        norm_decay, init_std, width: as in `WAEEncoder`; the map of the dense layer has 8 width channels.

    Raises:
        ArgumentError: an image shape or setting that cannot work.

    Source: Dai & Wipf's code, class `Wae`; Tolstikhin et al.'s code, "dcgan_mod".
    """

    output = "logits"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, *, activation: str = "sigmoid",
                 norm_decay: float = 0.999, init_std: float | None = None, width: int = 128) -> None:
        super().__init__()
        channels, rows, columns = _grid(image_shape)
        if activation not in ("sigmoid", "tanh"):
            raise ArgumentError(f"activation is {activation!r}; expected 'sigmoid' or 'tanh'.")
        self.slope = 2.0 if activation == "tanh" else 1.0
        self.grid = (8 * width, rows, columns)
        self.fc = nn.Linear(latent_dim, math.prod(self.grid))
        widths = [8 * width, 4 * width, 2 * width, width]
        self.ups = nn.ModuleList(SameConvTranspose2d(a, b, 5, 2) for a, b in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(BatchNorm(n, decay=norm_decay) for n in widths[1:])
        self.last = SameConvTranspose2d(width, channels, 5)
        _initialise(self, init_std)

    def forward(self, z: Tensor) -> Tensor:
        h = F.relu(self.fc(z)).unflatten(1, self.grid)
        for up, norm in zip(self.ups, self.norms):
            h = F.relu(norm(up(h)))
        logits = self.last(h)
        return logits if self.slope == 1.0 else self.slope * logits


stride2_encoder = partial(WAEEncoder, first_stride=2, scale_param="logvar", input_noise=0.01, norm_decay=0.9, init_std=INIT_STD)
"""`WAEEncoder` as Tolstikhin et al. have it."""
stride2_decoder = partial(WAEDecoder, activation="tanh", norm_decay=0.9, init_std=INIT_STD)
"""`WAEDecoder` as Tolstikhin et al. have it."""
