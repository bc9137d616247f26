"""The neutral networks with the second stage's on them and no noise between: one larger VAE, a control of Dai & Wipf's."""

from __future__ import annotations

from torch import Tensor, nn

from vaefast.nets.infogan import InfoGANDecoder, InfoGANEncoder
from vaefast.nets.second_stage import DEPTH, WIDTH, SecondStageDecoder, SecondStageEncoder


class StackedEncoder(nn.Module):
    """Image [B, C, H, W] in [0, 1] -> (mu, log std) of u, [B, latent_dim] each; mu alone if `deterministic`.

    The neutral encoder's mean, of `latent_dim` dimensions, goes on into the second stage's encoder. The parameters are those of
    both stages' encoders but for the 1,025 latent_dim of the neutral one's other head, which no code is drawn by.

    Args:
        width, depth: hidden layers of the second stage's encoder.
    """

    scale_param = "logstd"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, *, deterministic: bool = False, width: int = WIDTH,
                 depth: int = DEPTH) -> None:
        super().__init__()
        self.first = InfoGANEncoder(image_shape, latent_dim, deterministic=True)
        self.second = SecondStageEncoder(latent_dim, latent_dim, width, depth, deterministic=deterministic)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return self.second(self.first(x))


class StackedDecoder(nn.Module):
    """Latent u [B, latent_dim] -> logits [B, C, H, W]; the image is their sigmoid.

    The second stage's mean of z, of `latent_dim` dimensions, goes on into the neutral decoder. The parameters are those of both
    stages' decoders; gamma_z, a scalar beside them, has no place where no z is drawn.

    Args:
        width, depth: hidden layers of the second stage's decoder.
    """

    output = "logits"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, *, width: int = WIDTH, depth: int = DEPTH) -> None:
        super().__init__()
        self.second = SecondStageDecoder(latent_dim, latent_dim, width, depth)
        self.first = InfoGANDecoder(image_shape, latent_dim)

    def forward(self, u: Tensor) -> Tensor:
        return self.first(self.second(u))
