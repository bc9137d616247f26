"""Generator and discriminators of Lucic et al.'s GANs (the InfoGAN networks, as in their compare_gan code)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.nets import infogan
from vaefast.nets.biggan.conditional import ConditionalBatchNorm, SpectralEmbedding, check_labels, class_table, projection
from vaefast.nets.infogan import InfoGANDecoder, check_image_shape
from vaefast.nets.layers import BatchNorm, SpectralConv2d, SpectralLinear, init_normal
from vaefast.nets.shapes import whole_number

EPS = 1e-3
"""Of their batch norm."""


def _norm(features: int, wanted: bool = True) -> nn.Module:
    return BatchNorm(features, eps=EPS) if wanted else nn.Identity()


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class InfoGANGenerator(InfoGANDecoder):
    """Code [B, latent_dim] (and labels [B], if it has classes) -> logits [B, C, H, W]; the image is their sigmoid.

    `nets.InfoGANDecoder` with leaky ReLU and another eps; with `classes` each batch norm has a gain and a bias for each class.
    6,642,241 parameters at 28x28x1 with 64 latent dimensions; height and width must be multiples of 4 (`ArgumentError`).
    Source: Lucic et al. 2018, "Are GANs Created Equal?", as in their code; classes: see `ConditionalBatchNorm`.
    """

    image_range = (0, 1)

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 64, *, classes: int | None = None) -> None:
        super().__init__(image_shape, whole_number("latent_dim", latent_dim), eps=EPS)
        self.classes = classes
        if classes is not None:
            count = whole_number("classes", classes)
            for name in ("norm1", "norm2", "norm3"):
                plain = getattr(self, name)
                setattr(self, name, ConditionalBatchNorm(plain.features, count, class_table, decay=plain.decay, eps=EPS))

    def activate(self, x: Tensor) -> Tensor:
        return _activate(x)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:  # type: ignore[override]
        check_labels(labels, self.classes)
        return super().forward(z) if labels is None else super().forward(z, labels)


class InfoGANDiscriminator(nn.Module):
    """Image [B, C, H, W] (and labels [B], if it has classes) -> logit [B, 1].

    Args:
        image_shape: (C, H, W), multiples of 4 (`ArgumentError`).
        batch_norm: in the middle two layers.
        spectral_norm: on all four weight layers, and the embedding; not in the source, an option of later GANs.
        classes: number of classes; the logit then has the product of the label's embedding and the head's input (`projection`).

    6,559,169 parameters at 28x28x1 with batch norm. Source: as `InfoGANGenerator`.
    """

    rowwise = True

    def __init__(self, image_shape: tuple[int, int, int], *, batch_norm: bool = True, spectral_norm: bool = False,
                 classes: int | None = None) -> None:
        super().__init__()
        channels, height, width = check_image_shape(image_shape)
        conv, linear = (SpectralConv2d, SpectralLinear) if spectral_norm else (nn.Conv2d, nn.Linear)
        self.conv1 = conv(channels, 64, 4, stride=2, padding=1)
        self.conv2 = conv(64, 128, 4, stride=2, padding=1)
        self.norm2 = _norm(128, batch_norm)
        self.fc3 = linear(128 * (height // 4) * (width // 4), infogan.HIDDEN)
        self.norm3 = _norm(infogan.HIDDEN, batch_norm)
        self.head = linear(infogan.HIDDEN, 1)
        self.apply(init_normal)
        self.classes, self.embedding = classes, None
        if classes is not None:
            table = SpectralEmbedding if spectral_norm else nn.Embedding
            self.embedding = table(whole_number("classes", classes), infogan.HIDDEN)
            nn.init.normal_(self.embedding.weight, std=0.02)  # as the head's, so that neither outweighs the other at first

    def features(self, x: Tensor) -> Tensor:
        """What the head sees, [B, 1024]."""
        h = _activate(self.conv1(x))
        h = _activate(self.norm2(self.conv2(h)))
        return _activate(self.norm3(self.fc3(h.flatten(1))))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        check_labels(labels, self.classes)
        h = self.features(x)
        logits = self.head(h)
        return logits if self.embedding is None or labels is None else logits + projection(self.embedding, labels, h)


class BEGANDiscriminator(nn.Module):
    """Image [B, C, H, W] in [0, 1] -> its reconstruction, the same shape, in [0, 1]: an autoencoder, for BEGAN.

    Args:
        image_shape: (C, H, W), multiples of 4 (`ArgumentError`).
        batch_norm: in the dense layers and the first transposed convolution.

    1,073,601 parameters at 28x28x1 without batch norm. Source: compare_gan's version of Berthelot et al. 2017.
    """

    rowwise = True

    def __init__(self, image_shape: tuple[int, int, int], *, batch_norm: bool = False) -> None:
        super().__init__()
        channels, height, width = check_image_shape(image_shape)
        self.grid = (128, height // 4, width // 4)
        flat = 128 * (height // 4) * (width // 4)
        self.conv1 = nn.Conv2d(channels, 64, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(64, 128, 4, stride=2, padding=1)
        self.fc3 = nn.Linear(flat, 64)
        self.norm3 = _norm(64, batch_norm)
        self.fc4 = nn.Linear(64, flat)
        self.norm4 = _norm(flat, batch_norm)
        self.up5 = nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1)
        self.norm5 = _norm(64, batch_norm)
        self.up6 = nn.ConvTranspose2d(64, channels, 4, stride=2, padding=1)
        self.apply(init_normal)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(_activate(self.conv1(x))).flatten(1)
        h = _activate(self.norm3(self.fc3(h)))
        h = _activate(self.norm4(self.fc4(h))).unflatten(1, self.grid)
        h = _activate(self.norm5(self.up5(h)))
        return torch.sigmoid(self.up6(h))
