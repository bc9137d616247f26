"""Infusion training: the Sequential VAE whose inference reveals true pixels, and learns nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models.doors import takes_images
from vaefast.models.images import as_float
from vaefast.models.sequential import SequentialVAE
from vaefast.nets.global_batch import own_rows


class RevealedPixels:
    """q_t(z_t|x) that reveals each pixel of x with probability `rate`: z_t holds what to write into the state, and where.

    Args:
        x: images [B, C, H, W] in [0, 1].
        rate: probability.
        from_noise: z_t replaces the whole state, by uniform noise where nothing is revealed (the first step).
    """

    def __init__(self, x: Tensor, rate: float, from_noise: bool) -> None:
        self.x, self.rate, self.from_noise = x, rate, from_noise

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw, [B, (C + 1) H W]: values [C, H, W], and a mask [1, H, W] of where to write them."""
        mask = (_uniform(self.x[:, :1], generator) < self.rate).to(self.x.dtype)
        if not self.from_noise:
            return torch.cat([self.x * mask, mask], 1).flatten(1)
        values = torch.where(mask > 0, self.x, _uniform(self.x, generator))
        return torch.cat([values, torch.ones_like(mask)], 1).flatten(1)

    def sample_and_kl(self, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """A draw, and 0 for each image: nothing of it is learned, so nothing is regularised."""
        return self.sample(generator), self.x.new_zeros(len(self.x))


class InfusionPosterior:
    """The revealed pixels of all steps, `steps`; a draw is a code of `InfusionChain`."""

    def __init__(self, steps: Sequence[RevealedPixels]) -> None:
        self.steps = tuple(steps)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw of all steps, [B, T (C + 1) H W]."""
        return torch.cat([q.sample(generator) for q in self.steps], 1)


class InfusionChain(SequentialVAE):
    """A Sequential VAE with q_t "reveal random pixels": infusion training.

    The state starts as uniform noise; before step t each of its pixels becomes that of the true image with probability
    t * `reveal`, and G_t then draws the image anew from the state alone. In sampling nothing is revealed. The transitions are
    deterministic: what one sample has and another has not comes from the noise that they start from. A code is all that is
    written into the states, [T (C + 1) H W]; it has no density, and the KL is 0.

    Args:
        decoders: modules (None, x_{t-1}) -> (logits of the image, logits of its gate or None); fewer than steps as for
            `SequentialVAE`.
        reveal: rate of the first step; steps * reveal is at most 1.
        data_shape, steps, last_only, reconstruction_weight: as of `SequentialVAE`.

    Source: Bordes, Honari and Vincent 2017, "Learning to Generate Samples from Noise through Infusion Training", as a special
    case of Zhao, Song and Ermon 2017, section 5.
    """

    infers = False

    def __init__(self, decoders: Sequence[nn.Module], *, data_shape: tuple[int, int, int], steps: int, reveal: float = 0.05,
                 last_only: bool = False, reconstruction_weight: float = 16.0) -> None:
        if not 0 < reveal <= 1 / steps:
            raise ArgumentError(f"reveal is {reveal!r}; expected a rate above 0, and at most {1 / steps:.3g} for {steps} steps.")
        super().__init__((), decoders, data_shape=data_shape, steps=steps, last_only=last_only,
                         reconstruction_weight=reconstruction_weight)
        self.reveal = reveal

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """Numbers of each step's code: values of a whole image, and a mask."""
        channels, height, width = self.data_shape
        return ((channels + 1) * height * width,) * self.num_steps

    def _posterior(self, t: int, x: Tensor) -> RevealedPixels:  # type: ignore[override]  # no density
        return RevealedPixels(x, self.reveal * (t + 1), t == 0)

    def _step(self, t: int, z: Tensor | None, previous: Tensor | None) -> Tensor:
        assert z is not None
        channels, height, width = self.data_shape
        values, mask = z.view(-1, channels + 1, height, width).split([channels, 1], 1)
        state = values if previous is None else torch.lerp(previous, values, mask)
        return super()._step(t, None, state)

    @takes_images
    def encode(self, x: Tensor) -> InfusionPosterior:  # type: ignore[override]
        """The revealed pixels of images [B, C, H, W] (uint8, or float in [0, 1]), B of 2 or more: draws are codes."""
        self._check_batch(x)
        x = as_float(x, self.kl_weight.dtype)
        return InfusionPosterior([self._posterior(t, x) for t in range(self.num_steps)])

    def _noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        like, (channels, height, width) = self.kl_weight, self.data_shape
        z = torch.zeros(n, self.num_steps, channels + 1, height, width, device=like.device, dtype=like.dtype)
        z[:, 0, :channels] = torch.rand(n, *self.data_shape, generator=generator, device=like.device, dtype=like.dtype)
        z[:, 0, channels] = 1
        return z.flatten(1)


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return own_rows(like, lambda shape: torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype))
