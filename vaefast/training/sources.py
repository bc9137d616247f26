"""Where a stage's batches come from: gathered on the device, or streamed to it when they do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vaefast.models.latents import Latents
from vaefast.models.mode import evaluating
from vaefast.models.posterior import DiagonalGaussian
from vaefast.pixel_values import as_unit
from vaefast.training.augment import Augmentation, flip

RESIDENT_SHARE = 0.6
"""Of a GPU's free memory: more than this, and images are streamed."""


class Source(Protocol):
    """Data that make batches for a loss."""

    device: torch.device
    """Where its data lie, and where indices are wanted."""

    def ready(self, raw: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What the loss is given, from `raw` rows that are on the training device by now."""
        ...


class IndexedSource(Source, Protocol):
    """A data set that gives a batch for a tensor of indices."""

    resident: bool
    """Whether `device` is that of the training; if not, rows are read ahead and streamed there."""

    def __len__(self) -> int: ...

    def raw(self, index: Tensor) -> tuple[Tensor, ...]:
        """The stored rows at `index`, on `device`."""
        ...


class ReadyImages:
    """How stored images become the batch that a loss is given.

    Attributes:
        flip: mirror each image left to right with probability 1/2, on the device.
        augment: what else is done to them there (`vaefast.training.augment`); None for nothing.
        scale: give the loss floats in [0, 1]; False hands uint8 images on as they are, to a loss that scales them itself.
        of_images: whether they are images, which alone can be mirrored and changed.
    """

    device: torch.device
    of_images = True

    def __init__(self, *, flip: bool = False, scale: bool = True) -> None:
        self.flip, self.scale = flip, scale
        self.augment: Augmentation | None = None

    def ready(self, raw: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The batch for the loss: some images mirrored if `flip`, changed by `augment`, uint8 scaled if `scale`."""
        images, *rest = raw
        if self.flip:
            images = flip(images)
        if self.augment is not None:
            images = self.augment(images)
        return (as_unit(images) if self.scale else images, *rest)


class ImageSource(ReadyImages):
    """Images [N, C, H, W], uint8 or float in [0, 1], and labels [N] where the model wants them.

    Args:
        images: the whole set, on the CPU; a memory map is fine.
        device: where training happens.
        labels: int64 [N], or vectors [N, d], given to the loss after the images.
        flip: mirror each image left to right with probability 1/2, on the device.
        scale: give the loss floats in [0, 1]; False hands uint8 images on as they are, to a loss that scales them itself.
        resident: keep the set on the device; False reads ahead in a thread (from a memory map, too) and streams. None
            keeps it unless it takes more than 60 % of a GPU's free memory.
    """

    def __init__(self, images: Tensor, device: torch.device, *, labels: Tensor | None = None, flip: bool = False,
                 scale: bool = True, resident: bool | None = None) -> None:
        super().__init__(flip=flip, scale=scale)
        if resident is None:
            resident = device.type != "cuda" or images.nbytes <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
        self.resident, self.device = resident, device if resident else torch.device("cpu")
        self.images = images.to(self.device)
        self.labels = None if labels is None else labels.to(self.device)

    def __len__(self) -> int:
        return len(self.images)

    def raw(self, index: Tensor) -> tuple[Tensor, ...]:
        """The images (and labels) at `index`, as they are stored."""
        images = self.images.index_select(0, index)
        return (images,) if self.labels is None else (images, self.labels.index_select(0, index))

    def one_pass(self, batch_size: int) -> Iterator[tuple[Tensor, ...]]:
        """Every image (and label) once, [B, C, H, W] a time, as they are stored."""
        for index in torch.arange(len(self), device=self.device).split(batch_size):
            yield self.raw(index)


class ImagePass(Protocol):
    """Images that can be gone through once, for more than a batch's loss."""

    def one_pass(self, batch_size: int) -> Iterator[tuple[Tensor, ...]]:
        """Every image (and label, where there are such) once, [B, C, H, W] a time, as they are stored."""
        ...


class RowSource(ImageSource):
    """Rows [N, k] that are no images, as they are: codes, or those of a table."""

    of_images = False

    def __init__(self, rows: Tensor, device: torch.device, labels: Tensor | None = None) -> None:
        super().__init__(rows, device, labels=labels, scale=False)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of a row, float64 [k] each."""
        return Latents(self.images).moments()


class PosteriorSource:
    """Fresh draws z = mu + s eps of a data set's posteriors, and labels where there are such; mu and raw scale are [N, k],
    computed once.

    Training the second stage on means, or on one frozen draw, leaves it as degenerate as the first.
    """

    resident = True

    def __init__(self, posterior: DiagonalGaussian, labels: Tensor | None = None) -> None:
        self.posterior, self.device = posterior, posterior.mean.device
        self.labels = None if labels is None else labels.to(self.device)

    @classmethod
    def of(cls, model: nn.Module, source: ImagePass, device: torch.device, batch_size: int = 1000,
           labels: Tensor | None = None) -> PosteriorSource:
        """Posteriors of every image of `source` under `model`, whose `encode` gives Gaussians of the images (and the labels that
        the source has), in eval mode, in float32."""
        parts: list[DiagonalGaussian] = []
        encode: Any = model.encode
        with evaluating(model), torch.no_grad():
            for batch in source.one_pass(batch_size):
                parts.append(encode(*(t.to(device) for t in batch)))
        return cls(DiagonalGaussian(torch.cat([p.mean for p in parts]), torch.cat([p.raw for p in parts]),
                                    parts[0].param), labels)

    def __len__(self) -> int:
        return len(self.posterior.mean)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of a drawn code, float64 [k] each."""
        return Latents(self.posterior.mean, self.posterior.std).moments()

    def raw(self, index: Tensor) -> tuple[Tensor, ...]:
        """Means and raw scales (and labels) at `index`."""
        rows = (self.posterior.mean, self.posterior.raw, *(() if self.labels is None else (self.labels,)))
        return tuple(tensor.index_select(0, index) for tensor in rows)

    def ready(self, raw: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A fresh draw of each posterior (and its label)."""
        mean, scale, *labels = raw
        return (DiagonalGaussian(mean, scale, self.posterior.param).sample(), *labels)


def count_parameters(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
