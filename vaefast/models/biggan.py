"""A GAN of BigGAN's networks: orthogonal regularisation, and what helps when sampling."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.float32 import widest
from vaefast.models.doors import takes_images
from vaefast.models.gan import GAN, Net
from vaefast.models.gan_losses import LOSSES
from vaefast.models.mode import evaluating
from vaefast.models.orthogonal import orthogonal_penalty
from vaefast.nets import BatchNorm
from vaefast.nets.shapes import whole_number


class BigGAN(GAN):
    """`GAN` with the training of Hinrichsen's BigGAN by default, and what Brock et al. add to it.

    An iteration is D, G, and D once more on the same images, with fresh codes each.

    Args:
        generator: module (code [B, latent_dim], labels [B] if it has classes) -> image, discriminator: module (image, labels) ->
            logit [B, 1], such as `nets.BigGANGenerator` and `nets.BigGANDiscriminator`.
        image_shape, latent_dim: as in `GAN`.
        orthogonal_weight: times `orthogonal_penalty` of G, added to its loss.
        loss, order, z: as in `GAN`, with other defaults.
        options: as in `GAN`, with other defaults; of `classes`, losses take the labels before the codes.

    Raises:
        ArgumentError: a setting has a value that cannot work.

    Source: Hinrichsen 2023, "Variational Autoencoders aren't Very Varied (As Generators)", and its code (with logits, where that
    has probabilities); Brock et al. 2019, "Large Scale GAN Training for High Fidelity Natural Image Synthesis".
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, *, image_shape: tuple[int, ...], latent_dim: int = 256,
                 orthogonal_weight: float = 0.0, loss: str = "ns", order: str = "dgd", z: str = "normal",
                 **options: Any) -> None:
        super().__init__(generator, discriminator, image_shape=image_shape, latent_dim=latent_dim, loss=loss, order=order, z=z,
                         **options)
        if loss in LOSSES and LOSSES[loss].reconstructs:
            raise ArgumentError(f"loss is {loss!r}, whose discriminator returns images; BigGAN's returns logits.")
        if isinstance(orthogonal_weight, bool) or not 0 <= orthogonal_weight < math.inf:
            raise ArgumentError(f"orthogonal_weight is {orthogonal_weight!r}; expected a number of 0 or more.")
        self.orthogonal_weight = float(orthogonal_weight)

    @takes_images
    def discriminator_loss(  # type: ignore[override]  # labels come with the images
            self, x: Tensor, labels: Tensor | None = None, z: Tensor | None = None) -> dict[str, Tensor]:
        """As `GAN.discriminator_loss`."""
        return super().discriminator_loss(x, z, labels)

    @takes_images
    def generator_loss(  # type: ignore[override]
            self, x: Tensor, labels: Tensor | None = None, z: Tensor | None = None) -> dict[str, Tensor]:
        """As `GAN.generator_loss`; and the term `orthogonal`, if it is weighed."""
        return super().generator_loss(x, z, labels)

    def generator_terms(self, x: Tensor, fake: Tensor, net: Net | None = None) -> dict[str, Tensor]:
        """As `GAN.generator_terms`."""
        terms = super().generator_terms(x, fake, net)
        if not self.orthogonal_weight:
            return terms
        penalty = orthogonal_penalty(self.generator)
        return {**terms, "loss": terms["loss"] + self.orthogonal_weight * penalty, "orthogonal": penalty.detach()}

    # Sampling.

    def prior(self, n: int, generator: torch.Generator | None = None, truncation: float | None = None) -> Tensor:
        """n codes, [n, latent_dim]; with `truncation`, each dimension from N(0, 1) cut off beyond +-truncation, which trades
        variety for quality (Brock et al., section 3.1)."""
        if truncation is None:
            return super().prior(n, generator)
        if self.z != "normal" or not 0 < truncation < math.inf:
            raise ArgumentError(f"truncation is {truncation!r} and z {self.z!r}; expected a number above 0, and normal codes.")
        like, share = self.lambda_, math.erf(truncation / math.sqrt(2.0))
        uniform = torch.rand(n, self.latent_dim, generator=generator, device=like.device, dtype=widest(like.device))
        codes = torch.erfinv(uniform.mul_(2).sub_(1).mul_(share)).mul_(math.sqrt(2.0))
        return codes.clamp_(-truncation, truncation).to(like.dtype)

    def sample(self, n: int, generator: torch.Generator | None = None, *, truncation: float | None = None,
               labels: Tensor | None = None) -> Tensor:
        """n images, [n, *image_shape] in [0, 1]; see `prior` and `decode`."""
        return self.decode(self.prior(n, generator, truncation), labels)

    @torch.no_grad()
    def standing_statistics(self, batches: int, *, batch_size: int = 64, truncation: float | None = None,
                            generator: torch.Generator | None = None) -> None:
        """Replace G's moving batch statistics by their means over `batches` batches of samples.

        Moving statistics are those of the weights of the last steps; after averaging weights, or with truncated codes, they are
        of another network or other codes. Source: Brock et al., appendix A.
        """
        whole_number("batches", batches)
        norms = [m for m in self.generator.modules() if isinstance(m, BatchNorm)]
        sums = [[torch.zeros_like(norm.running_mean), torch.zeros_like(norm.running_var)] for norm in norms]
        with evaluating(self.generator):
            for norm in norms:
                norm.train()
            for _ in range(batches):
                for norm in norms:
                    norm.forget()
                with self._given(self.labels_for(batch_size)):
                    self.generate(self.prior(batch_size, generator, truncation))
                for norm, (mean, var) in zip(norms, sums):
                    for total, of_batch in zip((mean, var), norm.moving_statistics()):
                        total.add_(of_batch)
            for norm, (mean, var) in zip(norms, sums):
                norm.eval()
                norm.set_statistics(mean / batches, var / batches)
