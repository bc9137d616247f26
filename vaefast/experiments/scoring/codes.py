"""Codes that a trained model has of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor

from vaefast import api
from vaefast.data import ArraySet, ImageSet
from vaefast.models import TwoStageVAE
from vaefast.models.condition import told
from vaefast.models.mode import evaluating
from vaefast.models.second_stage import latents_of

Shown = TypeVar("Shown", Tensor, ImageSet, ArraySet, ImageSet | ArraySet)
"""Images, or a set of them."""


@dataclass(frozen=True, eq=False)
class Aggregate:
    """What a model makes of a data set's images.

    Attributes:
        codes: one draw z ~ q(z|x) of each image, [N, k], on the model's device.
        variance: of the posteriors, averaged over the images, [k].
        mean, std: of the posteriors, [N, k]; before the flow, where there is one.
        labels: what the model was told of the images, int64 [N]; None: nothing.
        of_second: what its second stage has to be told of them, likewise.
    """

    codes: Tensor
    variance: Tensor
    mean: Tensor
    std: Tensor
    labels: Tensor | None = None
    of_second: Tensor | None = None


def encodes(model: api.ImageModel) -> TypeGuard[api.ImageAutoencoder]:
    """Whether the model has codes of images."""
    return model.encodes


def infers(model: api.ImageModel) -> TypeGuard[api.ImageAutoencoder]:
    """Whether its codes have a density, too."""
    return model.infers


def rows_at(images: Shown, index: Tensor) -> Shown:
    """The images at `index`, int64, with what else their set has of them."""
    return images[index] if isinstance(images, Tensor) else images.subset(index)


def spread_over(images: Shown, count: int | None) -> Shown:
    """`count` of the images, spread over the set; all, where `count` is None or there are fewer."""
    return images if count is None or count >= len(images) else rows_at(images, torch.linspace(0, len(images) - 1, count).long())


def labels_for(model: api.ImageAutoencoder, images: Any) -> Tensor | None:
    """What the model has to be told of the images: the labels of their set, where its encoder is conditioned on such."""
    return getattr(images, "labels", None) if getattr(model.first, "classes", 0) else None


def labels_for_second(model: Any, images: Any) -> Tensor | None:
    """The labels of the images' set, where the model has a second stage that knows classes."""
    return getattr(images, "labels", None) if getattr(getattr(model, "second", None), "classes", 0) else None


def told_batches(model: api.ImageAutoencoder, images: Any, batch_size: int = 1000) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Images [N, ...] `in_batches` on the model's device, as they are, and what its methods are told of each batch: the one way
    of images, with their labels, to encode, decode and the like. A tensor has no labels, a set its own."""
    batches = in_batches(images if isinstance(images, Tensor) else images.images, batch_size)
    labels = labels_for(model, images)
    parts = [None] * len(batches) if labels is None else labels.split([len(batch) for batch in batches])
    for batch, part in zip(batches, parts):
        yield batch.to(model.device), told(model.first, part)


def in_batches(images: Tensor, batch_size: int = 1000) -> list[Tensor]:
    """Images [N, ...] in batches, the last one of 2 or more (where there are as many): networks that normalise by their batch
    take no image alone."""
    batches = list(images.split(batch_size))
    return [*batches[:-2], torch.cat(batches[-2:])] if len(batches) > 1 and len(batches[-1]) == 1 else batches


@torch.no_grad()
def aggregate(model: api.ImageAutoencoder, images: Any, seed: int = 0, batch_size: int = 1000) -> Aggregate:
    """Codes and posterior variances of images [N, C, H, W], or of a set."""
    generator = torch.Generator(model.device).manual_seed(seed)
    codes, means, stds = [], [], []
    for batch, given in told_batches(model, images, batch_size):
        posterior = model.encode(batch, **given)
        codes.append(posterior.sample(generator))
        base = getattr(posterior, "base", posterior)
        means.append(base.mean)
        stds.append(base.std)
    std = torch.cat(stds)
    return Aggregate(torch.cat(codes), std.double().square().mean(0), torch.cat(means), std,
                     labels_for(model, images), labels_for_second(model, images))


@torch.no_grad()
def two_stage_codes(model: TwoStageVAE, images: Tensor, n: int, *, seed: int, device: torch.device,
                    batch_size: int = 1000) -> tuple[Tensor, Tensor]:
    """n draws (fewer, where there are fewer images) of q(z) and of q(u): x -> z ~ q(z|x) -> u ~ q(u|z), [n, k] each.

    The images are drawn without replacement, and one code of each. The model is on `device`.
    """
    assert model.second is not None
    generator = torch.Generator(device).manual_seed(seed)
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n]
    z, u = [], []
    with evaluating(model):
        for index in chosen.split(batch_size):
            z.append(model.encode(images[index].to(device)).sample(generator))
            u.append(latents_of(model.second, z[-1], generator))
    return torch.cat(z), torch.cat(u)
