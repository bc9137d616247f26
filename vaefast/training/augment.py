"""Random changes of a batch of images on its device, drawn from the run's random state; nothing here waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.pixel_values import outside
from vaefast.training.distributed import world

AugmentName = Literal["flip", "crop", "colour", "cutout"]
Augmentation = Callable[[Tensor], Tensor]
"""Images [B, C, H, W], uint8 or float in [0, 1], to as many of the same shape."""
PAD = 8
"""Crops move by up to the 1/8 of a side: by 4 pixels of 32."""
JITTER = 0.2
"""Most that brightness, contrast and saturation change by, each."""
HOLE = 2
"""The square that is cut out has half a side."""
GREY = (0.299, 0.587, 0.114)
"""Red, green and blue in a grey value (ITU-R BT.601)."""


def uniform(images: Tensor, *shape: int) -> Tensor:
    """Numbers in [0, 1), [B, *shape], on the images' device. They are drawn for the batch of all processes, of which each takes
    its own: the processes' random states are alike, and their images are not."""
    count, group = len(images), world()
    drawn = torch.rand(count * group.size, *shape, device=images.device)
    return drawn[count * group.rank:][:count]


def flip(images: Tensor) -> Tensor:
    """Each image mirrored left to right with probability 1/2."""
    mirrored = uniform(images) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)


def crop(images: Tensor) -> Tensor:
    """Each image moved by up to an eighth of its sides; the edge that comes free is filled by reflection, as a black one would be
    learned."""
    moves = uniform(images, 2)
    rows, columns = (_moved(size, moves[:, i]) for i, size in enumerate(images.shape[2:]))
    across = torch.arange(len(images), device=images.device).view(-1, 1, 1, 1)
    channels = torch.arange(images.shape[1], device=images.device).view(1, -1, 1, 1)
    return images[across, channels, rows[:, None, :, None], columns[:, None, None, :]]


def _moved(size: int, drawn: Tensor) -> Tensor:
    """Places [B, size] along an axis that is moved by -pad to pad, reflected at its ends."""
    pad = max(1, round(size / PAD)) if size > 1 else 0
    move = (drawn * (2 * pad + 1)).long() - pad
    places = (torch.arange(size, device=drawn.device) + move[:, None]).abs()
    return size - 1 - (size - 1 - places).abs()


def colour(images: Tensor) -> Tensor:
    """Brightness, contrast and, of three channels, saturation of each image, times 0.8 to 1.2 each; a fourth channel stays."""
    change = (1 + JITTER * (2 * uniform(images, 3) - 1)).view(-1, 3, 1, 1)
    white = 255.0 if images.dtype == torch.uint8 else 1.0
    seen = images[:, :3] if images.shape[1] == 4 else images
    x = seen.float() * change[:, :1]
    mean = _grey(x).mean((2, 3), keepdim=True)
    x = mean + (x - mean) * change[:, 1:2]
    if x.shape[1] == 3:
        grey = _grey(x)
        x = grey + (x - grey) * change[:, 2:]
    x = x.clamp(0.0, white)
    x = (x.round() if images.dtype == torch.uint8 else x).to(images.dtype)
    return torch.cat([x, images[:, 3:]], 1) if images.shape[1] == 4 else x


def _grey(x: Tensor) -> Tensor:
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return GREY[0] * x[:, :1] + GREY[1] * x[:, 1:2] + GREY[2] * x[:, 2:]


def cutout(images: Tensor) -> Tensor:
    """In each image a square of half a side, around a pixel anywhere in it, becomes grey (DeVries & Taylor 2017)."""
    centres = uniform(images, 2)
    inside = []
    for i, size in enumerate(images.shape[2:]):
        first = (centres[:, i] * size).long()[:, None] - (size // HOLE) // 2
        places = torch.arange(size, device=images.device)
        inside.append((places >= first) & (places < first + max(1, size // HOLE)))
    hole = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
    return images.masked_fill(hole, 128 if images.dtype == torch.uint8 else 0.5)


AUGMENTATIONS: dict[str, Augmentation] = {"flip": flip, "crop": crop, "colour": colour, "cutout": cutout}


def augmentation(wanted: Any) -> Augmentation | None:
    """What `augment` asks for as one function: a name of `AUGMENTATIONS`, a function batch -> batch, a list of these, or None.

    Raises:
        ArgumentError: another name, or something else. The function itself: yours gives images of another shape or dtype, or its
            first ones lie outside [0, 1].
    """
    if wanted is None:
        return None
    parts: list[Augmentation] = []
    for one in (wanted if isinstance(wanted, (list, tuple)) else [wanted]):
        known = AUGMENTATIONS.get(one) if isinstance(one, str) else None
        if known is None and (isinstance(one, str) or not callable(one)):
            raise ArgumentError(f"augment is {wanted!r}; expected names of {', '.join(AUGMENTATIONS)}, a function batch -> "
                                "batch, or a list of these.")
        parts.append(known or _Own(one))
    return _Chain(parts) if parts else None


def described(wanted: Any) -> Any:
    """`augment` as a run's config.json has it: names in a list, "custom" for functions; None for none."""
    if wanted is None:
        return None
    each: Sequence[Any] = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    return [one if isinstance(one, str) else "custom" for one in each] or None


class _Chain:
    def __init__(self, parts: list[Augmentation]) -> None:
        self.parts = parts

    def __call__(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            for part in self.parts:
                images = part(images)
        return images


class _Own:
    """A function of the user's, whose result is looked at: shape and dtype always, values once, as that waits for the device."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        self.function, self.seen = function, False

    def __call__(self, images: Tensor) -> Tensor:
        found = self.function(images)
        if not isinstance(found, Tensor) or found.shape != images.shape or found.device != images.device:
            what = list(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ArgumentError(f"augment returned {what} for images {list(images.shape)}; expected a batch of the same shape, "
                                "on the same device.")
        if found.dtype != torch.uint8 and not found.is_floating_point():
            raise ArgumentError(f"augment returned images of {found.dtype}; expected uint8, or floats in [0, 1].")
        if not self.seen and found.is_floating_point():
            outside(found)
        self.seen = True
        return found
