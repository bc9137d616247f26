"""What every model does with its autoencoder: codes of images (or other data), and images of codes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vaefast.models.chains import chain
from vaefast.models.condition import told
from vaefast.models.doors import no_loss
from vaefast.models.draws import Draws
from vaefast.models.exploration import Exploration
from vaefast.models.images import clipped
from vaefast.models.mode import evaluating
from vaefast.models.posterior import Posterior


class Autoencoder(Exploration, Draws, nn.Module):
    """Codes and images by the module `first`, which has encode, decode, data_shape and latent_dim.

    Everything but training (encode, decode, reconstruct, sample) runs in eval mode, whatever mode the modules are in:
    samples that depend on their batch's statistics are not samples of the model.

    Where `first` is conditioned, on classes or vectors, `condition` is what examples and codes are: one for all, or one each.
    """

    first: Any

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one example; (C, H, W) of images."""
        return self.first.data_shape

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of one image; a model of other data has none."""
        if len(self.data_shape) != 3:
            raise AttributeError(f"a model of data of shape {self.data_shape} has no image_shape; see its data_shape.")
        return self.data_shape

    @property
    def latent_dim(self) -> int:
        """Dimensions k of a code z."""
        return self.first.latent_dim

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Not the whole: each stage has a loss of its own, so that a training loop calls `first` (and `second`)."""
        raise no_loss(self, "model.first(images) for the terms of stage 1's loss, and model.second(codes) for stage 2's")

    def encode(self, x: Tensor, condition: Any = None) -> Posterior:
        """q(z|x) of images [B, C, H, W] (uint8, or float in [0, 1]): `mean`, `std` and `sample()`, [B, k] each."""
        with evaluating(self.first):
            return self.first.encode(x, **told(self.first, condition))

    def decode(self, z: Tensor, generator: torch.Generator | None = None, *, condition: Any = None) -> Tensor:
        """Images [B, C, H, W] of codes [B, k], clipped to [0, 1], as a linear decoder keeps to no range; drawn by `generator`
        where the decoder is autoregressive. Other data, [B, *data_shape], are in their own units and not clipped."""
        with evaluating(self.first):
            given = told(self.first, condition)
            if getattr(self.first, "autoregressive", False):
                return self.first.decode(z, generator)
            decoded = self.first.decode(z, **given)
            return clipped(decoded, getattr(self.first, "decoder", None)) if len(self.data_shape) == 3 else decoded

    def reconstruct(self, x: Tensor, generator: torch.Generator | None = None, *, condition: Any = None) -> Tensor:
        """Images decoded from a *drawn* code of each image, [B, C, H, W] in [0, 1]."""
        given = told(self.first, condition)
        return self.decode(self.encode(x, **given).sample(generator), generator, **given)

    def chain(self, n: int, steps: int, start: str = "noise", *, data: Tensor | None = None, pixel_noise: bool = False,
              keep: str = "last", generator: torch.Generator | None = None, condition: Any = None) -> Tensor:
        """Images after `steps` transitions z ~ q(z|x), x from p(x|z), [n, C, H, W], or of all steps (keep="all"), [steps + 1, n,
        C, H, W]; from noise, or from images of `data`. See `vaefast.models.chain`."""
        return chain(self.first, n, steps, start, data=data, pixel_noise=pixel_noise, keep=keep, generator=generator,
                     condition=condition)
