"""Images drawn from a trained model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vaefast import api
from vaefast.errors import ArgumentError
from vaefast.experiments.codes import code_sampler

Sampler = Callable[[int, torch.Generator], Tensor]
"""(n, generator) -> images [n, C, H, W] in [0, 1]."""


def sampling_seed(seed: int) -> int:
    """Seed of the samples that a run of `seed` draws: its pictures, its score curve. The next one, so that they do not repeat the
    noise of the training; 1 for the default seed 0."""
    return seed + 1


def image_sampler(model: api.ImageModel, name: str, codes: Callable[[], Tensor] | None = None, seed: int = 0) -> Sampler:
    """Images of the codes that the sampler called `name` draws; arguments and errors are `code_sampler`'s."""
    if not isinstance(model, api.ImageAutoencoder):
        if name != "prior":
            raise ArgumentError(f"sampler is {name!r}; a {model.kind} model, which has no encoder, has prior alone.")
        return model.sample
    draw = code_sampler(model, name, codes, seed)
    return lambda n, generator: model.decode(draw(n, generator), generator)


@torch.no_grad()
def sample_images(model: api.ImageModel, draw: Sampler, n: int, *, seed: int = 0, batch_size: int = 1000) -> Tensor:
    """n images that `draw` gives, as uint8 [n, C, H, W] on the CPU, drawn in batches on the model's device."""
    generator = torch.Generator(model.device).manual_seed(seed)
    sizes = [min(batch_size, n - start) for start in range(0, n, batch_size)]
    return torch.cat([to_uint8(draw(size, generator)) for size in sizes])


def to_uint8(x: Tensor) -> Tensor:
    """Images in [0, 1] as uint8 on the CPU, rounded to the nearest level."""
    return x.mul(255).round_().clamp_(0, 255).to(torch.uint8).cpu()
