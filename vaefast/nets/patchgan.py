"""A discriminator of image patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.global_batch import own_rows, processes
from vaefast.nets.layers import init_glorot
from vaefast.nets.norms import checked_norm, make_norm
from vaefast.nets.older import ReadsOlder
from vaefast.nets.same import SameConv2d
from vaefast.nets.shapes import whole_number

FILTERS = (128, 128, 128, 64, 64, 1)
STRIDES = (2, 2, 2, 1, 1, 1)
SLOPE = 0.3
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Of a batch norm."""


class PatchGAN(ReadsOlder):
    """Image [B, C, H, W] -> logits [B, 1, H / 8, W / 8] (rounded up), each of a patch of 63x63 pixels; above 0 is "real".

    Six 3x3 convolutions, each followed by a normaliser, a leaky ReLU of slope 0.3 (not the last) and dropout (the last, too).
    411,075 parameters for three channels.

    Args:
        channels: C.
        norm: "affine", what the released training has in effect, or, as the paper describes, "batch" (or "group"). With these two
            the discriminator learns next to nothing: real and reconstructed images are judged in passes of their own, a norm over
            the logits of a pass gives both the same mean, and the loss cannot fall below that of chance, 2 log 2.
        dropout: share that is dropped in training; None for 0.25, and for 0 with norm="affine", as in the released training,
            in which neither batch norm nor dropout does anything.
        width: channels of the first three convolutions; the next two have half as many.

    Raises:
        ArgumentError: a setting that cannot work.

    Source: Rivera 2023, "How to train your VAE", and its released code; after Isola et al. 2017.
    """

    def __init__(self, channels: int = 3, *, norm: str = "affine", dropout: float | None = None, width: int = 128) -> None:
        super().__init__()
        checked_norm(norm)
        if whole_number("width", width) % 2:
            raise ArgumentError(f"width is {width}; expected an even number.")
        dropout = (0.0 if norm == "affine" else 0.25) if dropout is None else dropout
        if not 0 <= dropout < 1:
            raise ArgumentError(f"dropout is {dropout!r}; expected a share from 0 to below 1.")
        self.dropout = float(dropout)
        filters = [whole_number("channels", channels), *(n * width // 128 if n > 1 else 1 for n in FILTERS)]
        self.convs = nn.ModuleList(SameConv2d(a, b, 3, s) for a, b, s in zip(filters, filters[1:], STRIDES))
        self.norms = nn.ModuleList(make_norm(norm, n) for n in filters[1:])
        self.apply(init_glorot)

    def forward(self, x: Tensor) -> Tensor:
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            x = norm(conv(x))
            if i < len(self.convs) - 1:
                x = F.leaky_relu(x, SLOPE)
            x = self._dropped(x)
        return x

    def read_older(self, state: dict[str, Tensor], prefix: str) -> None:
        """Of weights that were saved when batch norm was the default: without its statistics."""
        own = self.state_dict()
        for name in (f"norms.{i}.{name}" for i in range(len(self.norms)) for name in STATISTICS):
            if name not in own:
                state.pop(prefix + name, None)

    def _dropped(self, x: Tensor) -> Tensor:
        if not (self.training and self.dropout):
            return x
        if processes() == 1:
            return F.dropout(x, self.dropout)
        kept = own_rows(x, lambda shape: torch.rand(shape, device=x.device)) >= self.dropout
        return x * kept / (1 - self.dropout)
