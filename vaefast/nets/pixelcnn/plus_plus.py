"""PixelCNN++ as a decoder: p(x|z) of colour images, one pixel after the other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets import logistic_mixture
from vaefast.nets.pixelcnn.activations import both_elu, linear_gate
from vaefast.nets.pixelcnn.causal import CausalConv2d
from vaefast.nets.pixelcnn.checks import checked_codes, checked_image, checked_uniforms
from vaefast.nets.pixelcnn.plus_plus_steps import PlusPlusSteps
from vaefast.nets.shapes import checked_image_shape, whole_number
from vaefast.nets.weight_norm import weight_normed

SCALES = 3
ABOVE = ((2, 3), (-1, -1))
"""Window of the stream that sees the rows above: two rows, three columns."""
LEFT = ((2, 2), (-1, -1))
"""Window of the stream that also sees what is left of the pixel."""


class GatedBlock(nn.Module):
    """x + gate(conv(elu(conv(elu(x)) + elu(a)) + code)): [B, F, H, W], a of `extra` channels, z [B, k]."""

    def __init__(self, filters: int, extra: int, latent_dim: int, window: tuple[tuple[int, int], tuple[int, int]],
                 dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.first = weight_normed(CausalConv2d(2 * filters, filters, *window))
        self.skip = weight_normed(nn.Conv2d(2 * extra, filters, 1)) if extra else None
        self.second = weight_normed(CausalConv2d(2 * filters, 2 * filters, *window), scale=0.1)
        self.condition = nn.Linear(latent_dim, 2 * filters, bias=False)
        nn.init.normal_(self.condition.weight, std=0.05)

    def forward(self, x: Tensor, z: Tensor, a: Tensor | None = None) -> Tensor:
        h = self.first(both_elu(x))
        if self.skip is not None:
            assert a is not None
            h = h + self.skip(both_elu(a))
        h = F.dropout(both_elu(h), self.dropout, self.training)
        return x + linear_gate(self.second(h) + self.condition(z)[:, :, None, None])


class Stream(nn.Module):
    """The blocks of one of the two streams of features, over all scales, finest first.

    `up[s]` are the blocks on the way to the coarsest scale, `coarsen[s]` leads from scale s to s + 1; `refine[s]` leads
    from s + 1 back to s, and `down[s]` are the blocks on the way back, which also get what was there on the way up.
    """

    def __init__(self, filters: int, blocks: int, latent_dim: int, window: tuple[tuple[int, int], tuple[int, int]],
                 dropout: float, extra: tuple[int, int]) -> None:
        super().__init__()

        def rows(count: int, extra: int) -> nn.ModuleList:
            return nn.ModuleList(GatedBlock(filters, extra, latent_dim, window, dropout) for _ in range(count))

        self.up = nn.ModuleList(rows(blocks, extra[0]) for _ in range(SCALES))
        self.down = nn.ModuleList(rows(blocks + (s < SCALES - 1), extra[1]) for s in range(SCALES))
        self.coarsen = nn.ModuleList(weight_normed(CausalConv2d(filters, filters, *window, stride=2))
                                     for _ in range(SCALES - 1))
        wide = window[0][1] - 2  # three columns wide, a window lies around the pixel
        self.refine = nn.ModuleList(weight_normed(nn.ConvTranspose2d(filters, filters, window[0], 2, (0, wide), (0, wide)))
                                    for _ in range(SCALES - 1))


class PixelCNNPlusPlus(nn.Module):
    """An image given a code, pixel by pixel in raster order: (z [B, k], x [B, C, H, W]) -> raw [B, R, H, W].

    x is uint8, or in [0, 1]. raw at a pixel depends on z and on the pixels before it, and holds the parameters of a mixture
    of discretised logistics over all its channels (`vaefast.nets.logistic_mixture`).

    Args:
        image_shape: (channels, height, width); height and width are multiples of 4.
        latent_dim: k.
        filters: feature maps of each stream.
        blocks: gated blocks at each of the three scales, on the way up (and on the way down).
        mixtures: logistics in the mixture.
        dropout: share of the features that a block drops in training.

    `initialise_from_data(decoder, z, x)` of `vaefast.nets` sets its weight-normed layers by some images and codes.

    Raises:
        ArgumentError: sizes that two halvings do not divide, or numbers out of range.

    Source: Salimans et al. 2017, "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other
    Modifications"; the code z in every block: the code of Zhao, Song & Ermon (their CIFAR-10 experiment).
    """

    autoregressive = True
    output = "linear"
    family = "logistic-mixture"

    def __init__(self, image_shape: tuple[int, int, int] = (3, 32, 32), latent_dim: int = 20, *, filters: int = 160,
                 blocks: int = 5, mixtures: int = 10, dropout: float = 0.5) -> None:
        super().__init__()
        self.image_shape = checked_image_shape(image_shape)
        channels, height, width = self.image_shape
        if height % 4 or width % 4:
            raise ArgumentError(f"image_shape is {self.image_shape}; PixelCNNPlusPlus halves the image twice, so height and "
                                "width must be multiples of 4.")
        for name, value in (("latent_dim", latent_dim), ("filters", filters), ("blocks", blocks), ("mixtures", mixtures)):
            whole_number(name, value)
        if not 0 <= dropout < 1:
            raise ArgumentError(f"dropout is {dropout!r}; expected a number from 0 to below 1.")
        self.latent_dim, self.mixtures = latent_dim, mixtures
        self.first_above = weight_normed(CausalConv2d(channels + 1, filters, (2, 3), (-2, -1)))
        self.first_row = weight_normed(CausalConv2d(channels + 1, filters, (1, 3), (-1, -1)))
        self.first_left = weight_normed(CausalConv2d(channels + 1, filters, (2, 1), (-1, -1)))
        self.above = Stream(filters, blocks, latent_dim, ABOVE, dropout, (0, filters))
        self.left = Stream(filters, blocks, latent_dim, LEFT, dropout, (filters, 2 * filters))
        self.head = weight_normed(nn.Conv2d(filters, logistic_mixture.raw_channels(channels, mixtures), 1))

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        x = 2 * checked_image(x, checked_codes(z, self.latent_dim), self.image_shape) - 1
        x = F.pad(x, (0, 0, 0, 0, 0, 1), value=1.0)  # a channel of ones tells the image from what lies outside
        u, v = self.first_above(x), self.first_row(x) + self.first_left(x)
        kept: list[list[tuple[Tensor, Tensor]]] = []
        for s in range(SCALES):
            kept.append([(u, v)])
            for above, left in zip(self.above.up[s].children(), self.left.up[s].children()):
                u = above(u, z)
                v = left(v, z, u)
                kept[s].append((u, v))
            if s < SCALES - 1:
                u, v = self.above.coarsen[s](u), self.left.coarsen[s](v)
        u, v = kept[-1].pop()
        for s in reversed(range(SCALES)):
            for above, left in zip(self.above.down[s].children(), self.left.down[s].children()):
                then_u, then_v = kept[s].pop()
                u = above(u, z, then_u)
                v = left(v, z, torch.cat([u, then_v], 1))
            if s:
                u, v = self.above.refine[s - 1](u), self.left.refine[s - 1](v)
        return self.head(F.elu(v))

    def draw(self, raw: Tensor, uniforms: Tensor) -> Tensor:
        """A pixel [B, C] in [0, 1] from raw [B, R] and uniforms [B, 1 + C]."""
        return logistic_mixture.from_uniforms(raw, self.image_shape[0], self.mixtures, uniforms)

    @torch.no_grad()
    def generate(self, z: Tensor, generator: torch.Generator | None = None, uniforms: Tensor | None = None) -> Tensor:
        """Draw an image for each code z [B, k]: [B, C, H, W], levels / 255 in [0, 1], of the decoder's dtype.

        Without dropout. A pixel costs one column of activations, at those scales where one is due, not a forward pass.

        Args:
            generator: where uniforms come from; torch's default generator if None.
            uniforms: [B, 1 + C, H, W] in [0, 1), in its place: for the component, and for each channel.

        Raises:
            ArgumentError: wrong shapes, or both a generator and uniforms.
        """
        z = checked_codes(z, self.latent_dim).to(self.head.weight.dtype)
        channels, height, width = self.image_shape
        uniforms = checked_uniforms(uniforms, z, (1 + channels, height, width), generator)
        if not len(z):
            return z.new_zeros(0, *self.image_shape)
        with torch.autocast(z.device.type, enabled=False):
            return PlusPlusSteps(self, z, uniforms).run()

    def extra_repr(self) -> str:
        return f"{self.image_shape}"
