"""The networks of the Sequential VAE: one inference network, one generator and one latent predictor for a step of its chain.

All normalise by the statistics of the batch at hand, always: they know no moving averages, and no difference between
training and evaluation. Source: the authors' code for Zhao, Song and Ermon 2017, "Towards Deeper Understanding of
Variational Autoencoding Models", section 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.global_batch import global_mean, processes
from vaefast.nets.same import SameConv2d, SameConvTranspose2d
from vaefast.nets.shapes import checked_image_shape, whole_number

WIDTHS = (48, 96, 192, 384, 512)
"""Maps of the four scales, and width of the dense layers."""
RUNGS = (10, 10, 10, 10)
"""Latent dimensions of the three scales, and of the dense layer."""
INIT_STD = 0.02
SLOPE = 0.1
EPS = 1e-3
PREDICTOR_WIDTH = 1024


class BatchShift(nn.Module):
    """Batch normalisation by the batch's own statistics, in training and evaluation alike, with a shift and no scale.

    Args:
        features: channels of an input [B, C, ...]; there must be two values or more of each.

    With `sync` set, statistics are those of the batch of all processes that train together.
    """

    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.sync = False
        self.bias = nn.Parameter(torch.zeros(features))
        # a constant: cuDNN's kernels want both
        self.register_buffer("scale", torch.ones(features), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not (self.sync and self.training and processes() > 1):
            return F.batch_norm(x, None, None, self.scale, self.bias, training=True, eps=EPS)
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        dims, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        centred = wide - global_mean(wide.mean(dims)).view(shape)
        variance = global_mean(centred.square().mean(dims))
        return (centred * torch.rsqrt(variance + EPS).view(shape) + self.bias.view(shape)).to(x.dtype)


class _Block(nn.Module):
    """A layer, its batch normalisation and a leaky ReLU (of slope 0 where it is a plain one).

    With `crop` the maps are cut to that size: a transposed convolution of stride 2 gives an even one, and dropping the last
    row or column makes it the gradient of a SAME convolution of the odd one. What is `added` comes before the activation.
    """

    def __init__(self, layer: nn.Module, features: int, *, slope: float = SLOPE, crop: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.layer, self.norm, self.slope, self.crop = layer, BatchShift(features), slope, crop

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        y = self.layer(x)
        if self.crop is not None:
            y = y[:, :, :self.crop[0], :self.crop[1]]
        y = self.norm(y)
        return F.leaky_relu(y if added is None else y + added, self.slope)


def _conv(inputs: int, outputs: int, stride: int) -> _Block:
    return _Block(SameConv2d(inputs, outputs, 4, stride), outputs)


def _up(inputs: int, outputs: int, stride: int, size: tuple[int, int], slope: float = SLOPE) -> _Block:
    return _Block(SameConvTranspose2d(inputs, outputs, 4, stride), outputs, slope=slope, crop=size)


def _dense(inputs: int, outputs: int, slope: float = SLOPE) -> _Block:
    return _Block(nn.Linear(inputs, outputs), outputs, slope=slope)


def _sizes(image_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Height and width of the image and of its four halvings, each rounded up."""
    _, height, width = image_shape
    return [(-(-height // 2**i), -(-width // 2**i)) for i in range(5)]


def _initialise(module: nn.Module, heads: Sequence[nn.Module]) -> None:
    """Normal weights of deviation 0.02; Glorot uniform ones in the heads, which have no normalisation; biases 0."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, std=INIT_STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for head in heads:
        assert isinstance(head.weight, Tensor)
        nn.init.xavier_uniform_(head.weight)


def scaled_widths(widths: Sequence[int], factor: float) -> tuple[int, ...]:
    """`widths` times `factor`, rounded, at least 1 each."""
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor < math.inf:
        raise ArgumentError(f"width is {factor!r}; expected a number above 0 (1 for the paper's networks).")
    return tuple(max(1, round(factor * w)) for w in widths)


def _five_widths(widths: Sequence[int]) -> tuple[int, ...]:
    if len(widths) != 5:
        raise ArgumentError(f"widths has {len(widths)} values; expected 5: of the four scales and of the dense layers.")
    return tuple(whole_number("a value of widths", w) for w in widths)


def _four_rungs(rungs: Sequence[int]) -> tuple[int, ...]:
    if len(rungs) != 4:
        raise ArgumentError(f"rungs has {len(rungs)} values; expected 4: of the three scales and of the dense layer.")
    return tuple(whole_number("a value of rungs", r) for r in rungs)


class _Pyramid(nn.Module):
    """Image [B, C, H, W] in [0, 1] -> features of its three scales, [B, c_i, H / 2^i, W / 2^i], and flat ones of the fourth."""

    def __init__(self, image_shape: tuple[int, int, int], widths: Sequence[int]) -> None:
        super().__init__()
        inputs = [image_shape[0], *widths[:2]]
        self.down = nn.ModuleList(_conv(i, o, 2) for i, o in zip(inputs, widths))
        self.same = nn.ModuleList(_conv(o, o, 1) for o in widths[:3])
        self.top = _conv(widths[2], widths[3], 2)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        y, features = 2 * x - 1, []
        for down, same in zip(self.down, self.same):
            y = same(down(y))
            features.append(y)
        return features, self.top(y).flatten(1)


class SequentialEncoder(nn.Module):
    """The inference network of one step: image [B, C, H, W] in [0, 1] -> (mu, raw), [B, k] each; B of 2 or more.

    The code is the concatenation of four rungs: of the features of three scales, and of a dense layer. `raw` is the logarithm
    of a sigmoid, so that no posterior's standard deviation exceeds 1. 7,204,240 parameters at 64x64x3.

    Args:
        image_shape: (channels, height, width); each scale has half the size of the one before it, rounded up.
        widths: maps of the four scales, and width of the dense layer.
        rungs: latent dimensions of each rung; k is their sum.
    """

    scale_param = "logstd"

    def __init__(self, image_shape: tuple[int, int, int], *, widths: Sequence[int] = WIDTHS,
                 rungs: Sequence[int] = RUNGS) -> None:
        super().__init__()
        image_shape, widths, rungs = checked_image_shape(image_shape), _five_widths(widths), _four_rungs(rungs)
        sizes = _sizes(image_shape)
        flat = [c * h * w for c, (h, w) in zip(widths, sizes[1:])]
        self.pyramid = _Pyramid(image_shape, widths)
        self.dense = _dense(flat[3], widths[4])
        inputs = [*flat[:3], widths[4]]
        self.mean = nn.ModuleList(nn.Linear(i, r) for i, r in zip(inputs, rungs))
        self.scale = nn.ModuleList(nn.Linear(i, r) for i, r in zip(inputs, rungs))
        _initialise(self, [*self.mean, *self.scale])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features, top = self.pyramid(x)
        flat = [f.flatten(1) for f in features] + [self.dense(top)]
        mean = torch.cat([head(f) for head, f in zip(self.mean, flat)], 1)
        scale = torch.cat([head(f) for head, f in zip(self.scale, flat)], 1)
        return mean, F.logsigmoid(scale.float() if scale.dtype in (torch.bfloat16, torch.float16) else scale)


class SequentialDecoder(nn.Module):
    """The generator of one step: code z [B, k] and the image of the step before, [B, C, H, W] in [0, 1], -> (raw, gate).

    The image's new version is sigmoid(raw) [B, C, H, W]; where sigmoid(gate) [B, 1, H, W] is below 1, the earlier one shows
    through. The first step sees no image and has no gate (None). 7,559,747 parameters at 64x64x3, 13,559,428 with an image.

    Args:
        image_shape, widths, rungs: as of `SequentialEncoder`; without rungs (()) there is no code, and the image is all it sees.
        with_image: take the image of the step before.
        gated: give a gate (with an image alone).
    """

    output = "logits"

    def __init__(self, image_shape: tuple[int, int, int], *, widths: Sequence[int] = WIDTHS, rungs: Sequence[int] = RUNGS,
                 with_image: bool = True, gated: bool = True) -> None:
        super().__init__()
        image_shape, widths = checked_image_shape(image_shape), _five_widths(widths)
        self.rungs = _four_rungs(rungs) if rungs else ()
        if not (self.rungs or with_image):
            raise ArgumentError("a generator without rungs has to see the image of the step before it; pass with_image=True.")
        self.image_shape, self.latent_dim = image_shape, sum(self.rungs)
        sizes = _sizes(image_shape)
        c1, c2, c3, c4, c5 = widths
        self.maps = [(c, *s) for c, s in zip((c1, c2, c3), sizes[1:])]
        self.codes = nn.ModuleList(_dense(r, math.prod(m)) for r, m in zip(self.rungs, [*self.maps, (c5,)]))
        flat = c4 * math.prod(sizes[4])
        self.pyramid = _Pyramid(image_shape, widths) if with_image else None
        self.seen = nn.ModuleList([_dense(flat, c5), _dense(c5, c5)]) if with_image else None
        self.grid = (c4, *sizes[4])
        self.dense = nn.ModuleList([_dense(c5 * (bool(self.rungs) + with_image), c5, 0.0), _dense(c5, flat, 0.0)])
        slope, with_code = 0.0 if with_image else SLOPE, 1 + bool(self.rungs)
        self.up = nn.ModuleList([_up(c4, c3, 2, sizes[3], slope), _up(c3, c2, 2, sizes[2], slope),
                                 _up(c2, c1, 2, sizes[1], slope)])
        self.same = nn.ModuleList(_up(with_code * c, c, 1, s) for c, s in zip((c3, c2, c1), sizes[3:0:-1]))
        self.image = SameConvTranspose2d(c1, image_shape[0], 4, 2)
        self.gate = SameConvTranspose2d(c1, 1, 4, 2) if with_image and gated else None
        _initialise(self, [self.image] if self.gate is None else [self.image, self.gate])

    def forward(self, z: Tensor | None, previous: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        codes = []
        if self.rungs:
            assert z is not None
            codes = [code(part) for code, part in zip(self.codes, z.split(self.rungs, 1))]
        features: list[Tensor | None] = [None] * 3
        parts = codes[3:]
        if self.pyramid is not None and self.seen is not None:
            features, top = self.pyramid(previous)
            parts = [*parts, self.seen[1](self.seen[0](top))]
        y = self.dense[1](self.dense[0](torch.cat(parts, 1))).view(-1, *self.grid)
        for scale, up, same in zip((2, 1, 0), self.up, self.same):
            y = up(y, features[scale])
            if codes:
                y = torch.cat([y, codes[scale].view(-1, *self.maps[scale])], 1)
            y = same(y)
        _, height, width = self.image_shape
        gate = None if self.gate is None else self.gate(y)[:, :, :height, :width]
        return self.image(y)[:, :, :height, :width], gate


class LatentPredictor(nn.Module):
    """Code of a step [B, k] -> (mu, raw) of a Gaussian for the next step's code, [B, outputs] each; raw is log std below 0.

    Args:
        latent_dim: k.
        outputs: dimensions of the next code; k if None.
        width: of its three dense layers.
    """

    scale_param = "logstd"

    def __init__(self, latent_dim: int, outputs: int | None = None, *, width: int = PREDICTOR_WIDTH) -> None:
        super().__init__()
        outputs = latent_dim if outputs is None else outputs
        self.dense = nn.Sequential(_dense(latent_dim, width), _dense(width, width), _dense(width, width))
        self.mean, self.scale = nn.Linear(width, outputs), nn.Linear(width, outputs)
        _initialise(self, [self.mean, self.scale])

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        y = self.dense(z)
        scale = self.scale(y)
        return self.mean(y), F.logsigmoid(scale.float() if scale.dtype in (torch.bfloat16, torch.float16) else scale)
