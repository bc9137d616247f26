"""The gated PixelCNN as a decoder: p(x|z), one pixel after the other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.layers import init_glorot
from vaefast.nets.pixelcnn.activations import tanh_gate
from vaefast.nets.pixelcnn.causal import CausalConv2d
from vaefast.nets.pixelcnn.checks import checked_codes, checked_image, checked_uniforms
from vaefast.nets.pixelcnn.gated_steps import GatedSteps
from vaefast.nets.shapes import checked_image_shape, whole_number

MASKS = ("standard", "reference")
CONDITIONS = ("bias", "maps")
MAPS = 8
"""Feature maps that a code becomes, with the condition "maps"."""


class GatedLayer(nn.Module):
    """One layer: the vertical stack v and the horizontal stack h, [B, width, H, W] each, and a code z in both gates.

    With the reference's masks the vertical stack sees the left part of its own row, too; the path from v to h gives both
    halves of the gate the same, after a ReLU; so does the path on from the gate; and only z gives the gates a bias.

    z is [B, latent_dim], or with `maps` feature maps [B, maps, H, W] made of it.
    """

    def __init__(self, in_channels: int, width: int, latent_dim: int, *, first: bool, reference: bool, maps: int = 0) -> None:
        super().__init__()
        self.first, self.reference = first, reference
        reach = 3 if first else 1
        self.condition = (nn.Conv2d(maps, 4 * width, 1, bias=not reference) if maps else
                          nn.Linear(latent_dim, 4 * width, bias=not reference))
        above = reach if first and not reference else reach + 1
        hidden = reach + first if reference else 0
        self.vertical = CausalConv2d(in_channels, 2 * width, (above, 2 * reach + 1), (-reach, -reach), hidden=hidden, bias=False)
        # the reference masks the 1x1 convolutions of the first layer away, and the ReLU after them keeps their biases at the
        # zero they begin with: nothing but zeros comes from its horizontal stack
        self.silent = first and reference
        if not self.silent:
            self.horizontal = CausalConv2d(in_channels, 2 * width, (1, reach + (not first)), (0, -reach), bias=False)
            self.across = nn.Conv2d(width, width if reference else 2 * width, 1)
            self.onward = nn.Conv2d(width, width, 1)

    def forward(self, v: Tensor, h: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        bias = self.condition(z)
        z_v, z_h = (bias if bias.ndim == 4 else bias[:, :, None, None]).chunk(2, dim=1)
        v = tanh_gate(self.vertical(v) + z_v)
        if self.silent:
            return v, torch.zeros_like(v)
        across = self.across(v)
        if self.reference:
            across = F.relu(across).repeat(1, 2, 1, 1)
        out = self.onward(tanh_gate(self.horizontal(h) + across + z_h))
        if self.reference:
            out = F.relu(out)
        return v, out if self.first else out + h


class GatedPixelCNN(nn.Module):
    """A grey image given a code, pixel by pixel in raster order: (z [B, k], x [B, 1, H, W]) -> raw [B, R, H, W].

    x is uint8, or in [0, 1]. raw at a pixel depends on z and on the pixels before it: for `levels` 2 the logit of the pixel
    being 1 (R = 1), otherwise the logits of its levels 0, ..., levels - 1 (R = levels), of which the pixel is
    level / (levels - 1).

    Args:
        image_shape: (1, height, width).
        latent_dim: k.
        layers: gated layers; the first sees 7x7 pixels, the others 3x3 features.
        width: feature maps of each stack.
        condition: "bias": z gives every gate a bias, the same at all pixels. "maps": z becomes feature maps of the image's size,
            which give every gate a bias at each pixel, so that z can say where; what few layers do not see of the image, they
            can learn from it.
        masks: "standard": the vertical stack sees the rows above, the horizontal stack the left part of the own row and the
            vertical stack, and together they see every pixel before. "reference": those of Zhao et al.'s code, whose
            vertical stack also sees the left part of the own row and therefore alone brings in the image.
        levels: 2 for binarised images, up to 256 for grey ones.

    Raises:
        ArgumentError: a shape of more than one channel, or numbers out of range.

    Source: van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders", sections 2 and, of maps, 2.3;
    layers, width and the "reference" masks: the code of Zhao, Song & Ermon, "Towards Deeper Understanding of Variational
    Autoencoding Models".
    """

    autoregressive = True
    output = "logits"

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), latent_dim: int = 10, *, layers: int = 12,
                 width: int = 32, masks: str = "standard", levels: int = 2, condition: str = "bias") -> None:
        super().__init__()
        self.image_shape = checked_image_shape(image_shape)
        if self.image_shape[0] != 1:
            raise ArgumentError(f"image_shape is {self.image_shape}; GatedPixelCNN draws one channel. Use PixelCNNPlusPlus for "
                                "colour images.")
        if masks not in MASKS:
            raise ArgumentError(f"masks is {masks!r}; expected one of {', '.join(MASKS)}.")
        if condition not in CONDITIONS:
            raise ArgumentError(f"condition is {condition!r}; expected one of {', '.join(CONDITIONS)}.")
        if not 2 <= whole_number("levels", levels) <= 256:
            raise ArgumentError(f"levels is {levels}; expected 2 to 256.")
        for name, value in (("latent_dim", latent_dim), ("layers", layers), ("width", width)):
            whole_number(name, value)
        self.latent_dim, self.width, self.levels, self.masks = latent_dim, width, levels, masks
        self.maps = nn.Linear(latent_dim, MAPS * self.image_shape[1] * self.image_shape[2]) if condition == "maps" else None
        self.family = "bernoulli" if levels == 2 else "categorical"
        maps = MAPS if condition == "maps" else 0
        self.layers = nn.ModuleList(GatedLayer(width if i else 1, width, latent_dim, first=i == 0,
                                               reference=masks == "reference", maps=maps) for i in range(layers))
        self.last = nn.Conv2d(width, width, 1)
        self.head = nn.Conv2d(width, 1 if levels == 2 else levels, 1)
        self.apply(init_glorot)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        v = h = checked_image(x, checked_codes(z, self.latent_dim), self.image_shape)
        z = self.condition(z)
        for layer in self.layers:
            v, h = layer(v, h, z)
        return self.head(F.relu(self.last(h)))

    def condition(self, z: Tensor) -> Tensor:
        """What the layers are given of codes [B, k]: the codes themselves, or maps [B, m, H, W]."""
        return z if self.maps is None else self.maps(z).unflatten(1, (MAPS, *self.image_shape[1:]))

    def draw(self, raw: Tensor, uniforms: Tensor) -> Tensor:
        """A pixel in [0, 1] from raw [B, R] and one uniform [B, 1] each: by inversion, [B, 1]."""
        if self.levels == 2:
            return (uniforms < torch.sigmoid(raw)).to(raw.dtype)
        edges = torch.softmax(raw, dim=1).cumsum(1)
        level = (uniforms >= edges).sum(1, keepdim=True).clamp_max(self.levels - 1)
        return level.to(raw.dtype) / (self.levels - 1)

    @torch.no_grad()
    def generate(self, z: Tensor, generator: torch.Generator | None = None, uniforms: Tensor | None = None) -> Tensor:
        """Draw an image for each code z [B, k]: [B, 1, H, W] in [0, 1], of the decoder's dtype.

        A pixel costs one column of activations, not a forward pass: what the windows of later pixels will see is kept.

        Args:
            generator: where uniforms come from; torch's default generator if None.
            uniforms: [B, 1, H, W] in [0, 1), in its place.

        Raises:
            ArgumentError: wrong shapes, or both a generator and uniforms.
        """
        z = checked_codes(z, self.latent_dim).to(self.head.weight.dtype)
        uniforms = checked_uniforms(uniforms, z, self.image_shape, generator)
        if not len(z):
            return z.new_zeros(0, *self.image_shape)
        with torch.autocast(z.device.type, enabled=False):
            return GatedSteps(self, z, uniforms).run()

    def extra_repr(self) -> str:
        return f"{self.image_shape}, masks={self.masks!r}, levels={self.levels}"
