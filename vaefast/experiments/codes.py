"""Codes of a trained model: those of its images, and new ones by any of the samplers of its aggregate posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor

from vaefast import api
from vaefast.errors import ArgumentError
from vaefast.models import Mixture, TwoStageVAE
from vaefast.models.mode import evaluating

SAMPLERS = ("prior", "mixture", "second")
"""Where codes come from: N(0, I), a Gaussian mixture fitted to q(z) of the training images, or the second stage."""
COMPONENTS = 10

CodeSampler = Callable[[int, torch.Generator], Tensor]
"""(n, generator) -> codes [n, k]."""


def samplers_of(model: api.ImageModel) -> tuple[str, ...]:
    """The model's own samplers, the last of them its best: "prior", and "second" where it has a second stage.

    A model without an encoder has but the first, what its own `sample` draws.
    """
    return ("prior", "second") if has_second_stage(model) else ("prior",)


def has_second_stage(model: api.ImageModel) -> bool:
    """Whether codes can be drawn by a second stage."""
    return getattr(model, "second", None) is not None


def stage_options(model: Any, stage: str) -> dict[str, int]:
    """What `sample` is told while the stage called so trains: by the prior N(0, I) in the first of two, as the second, which
    would give the codes, knows nothing yet."""
    return {"stage": 1} if stage == "stage1" and has_second_stage(model) else {}


def infers(model: api.ImageModel) -> TypeGuard[api.ImageAutoencoder]:
    """Whether the model's codes have a density q(z|x): not those of a GAN, and not the pixels that infusion reveals."""
    return isinstance(model, api.ImageAutoencoder) and bool(getattr(model.first, "infers", True))


@dataclass(frozen=True, eq=False)
class Aggregate:
    """What a model makes of a data set's images.

    Attributes:
        codes: one draw z ~ q(z|x) of each image, [N, k], on the model's device.
        variance: of the posteriors, averaged over the images, [k].
        mean, std: of the posteriors, [N, k]; before the flow, where there is one.
    """

    codes: Tensor
    variance: Tensor
    mean: Tensor
    std: Tensor


def spread_over(images: Tensor, count: int | None) -> Tensor:
    """`count` of the images, spread over the set; all, where `count` is None or there are fewer."""
    return images if count is None or count >= len(images) else images[torch.linspace(0, len(images) - 1, count).long()]


def in_batches(images: Tensor, batch_size: int = 1000) -> list[Tensor]:
    """Images [N, ...] in batches, the last one of 2 or more (where there are as many): networks that normalise by their batch
    take no image alone."""
    found = list(images.split(batch_size))
    return [*found[:-2], torch.cat(found[-2:])] if len(found) > 1 and len(found[-1]) == 1 else found


@torch.no_grad()
def aggregate(model: api.ImageAutoencoder, images: Tensor, seed: int = 0, batch_size: int = 1000) -> Aggregate:
    """Codes and posterior variances of images [N, C, H, W]."""
    generator = torch.Generator(model.device).manual_seed(seed)
    codes, means, stds = [], [], []
    for batch in in_batches(images, batch_size):
        posterior = model.encode(batch.to(model.device))
        codes.append(posterior.sample(generator))
        base = getattr(posterior, "base", posterior)
        means.append(base.mean)
        stds.append(base.std)
    std = torch.cat(stds)
    return Aggregate(torch.cat(codes), std.double().square().mean(0), torch.cat(means), std)


@torch.no_grad()
def two_stage_codes(model: TwoStageVAE, images: Tensor, n: int, *, seed: int, device: torch.device,
                    batch_size: int = 1000) -> tuple[Tensor, Tensor]:
    """n draws (fewer, where there are fewer images) of q(z) and of q(u): x -> z ~ q(z|x) -> u ~ q(u|z), [n, k] each.

    The images are drawn without replacement, and one code of each. The model is on `device`.
    """
    generator = torch.Generator(device).manual_seed(seed)
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n]
    z, u = [], []
    with evaluating(model):
        for index in chosen.split(batch_size):
            z.append(model.encode(images[index].to(device)).sample(generator))
            u.append(model.second.encode(z[-1]).sample(generator))
    return torch.cat(z), torch.cat(u)


def code_sampler(model: api.ImageAutoencoder, name: str, codes: Callable[[], Tensor] | None = None, seed: int = 0) -> CodeSampler:
    """The sampler of codes called `name`.

    Args:
        model: trained.
        codes: gives the codes of the training images [N, k], to which "mixture" is fitted.
        seed: of that fit.

    Raises:
        ArgumentError: the model has no such sampler.
    """
    if name == "prior":
        return model.first.prior
    if name == "mixture" and codes is not None and infers(model):
        return Mixture(model.latent_dim, COMPONENTS, seed=seed).fit(codes()).sample
    if name == "second" and has_second_stage(model):
        return lambda n, generator: model.sample_codes(n, stage=2, generator=generator)
    raise ArgumentError(f"sampler is {name!r}; a {model.kind} model has prior{', mixture' if infers(model) else ''}"
                        f"{' and second' if has_second_stage(model) else ''}.")
