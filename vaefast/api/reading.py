"""What `fit` makes of the data that it is given: images held in memory, or a stream of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vaefast.data import ImageSet
from vaefast.data.arrays import read_images
from vaefast.data.stream import ImageStream, kind_of
from vaefast.data.value_range import ValueRange, checked_range
from vaefast.errors import ArgumentError, DataError
from vaefast.models.condition import checked_labels, no_labels
from vaefast.training.augment import described
from vaefast.training.settings import StageSettings
from vaefast.training.sources import ImageSource
from vaefast.training.stream import StreamSource, steps_needed

Images = ImageSet | ImageStream
"""What models of images are trained on."""


@dataclass(frozen=True)
class Reading:
    """How the images that `fit` is given are read; its arguments say what each is.

    Raises:
        ArgumentError: a value that cannot work.
    """

    materialize: bool = False
    workers: int | None = None
    value_range: ValueRange = "auto"
    augment: Any = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.materialize, bool):
            raise ArgumentError(f"materialize is {self.materialize!r}; expected True or False.")
        if self.workers is not None and (isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 0):
            raise ArgumentError(f"workers is {self.workers!r}; expected a whole number, 0 or more, or None.")
        object.__setattr__(self, "value_range", checked_range(self.value_range))

    def config(self) -> dict[str, Any]:
        """As a run's config.json has it."""
        return {"materialize": self.materialize, "workers": self.workers, "augment": described(self.augment),
                "value_range": self.value_range if self.value_range == "auto" else list(self.value_range)}

    def none_asked_for(self) -> None:
        """ArgumentError where an option is set, for models whose data are no images."""
        usual = Reading().config()
        for name, value in self.config().items():
            if value != usual[name]:
                raise ArgumentError(f"{name} is for images alone, and this model is not trained on such; leave it out.")


def read(data: Any, reading: Reading) -> tuple[Any, list[str]]:
    """`data` as an ImageSet or an ImageStream, and what is to be told of it.

    Raises:
        DataError, ArgumentError: see `vaefast.data.as_image_set` and `ImageStream`; splits instead of data.
    """
    if isinstance(data, Mapping):
        names = ", ".join(map(repr, data))
        raise ArgumentError(f"data is a {type(data).__name__} of {names or 'nothing'}; give one of its entries" +
                            (f", such as data[{next(iter(data))!r}]." if data else "."))
    kind = kind_of(data)
    if kind is None or (reading.materialize and kind == "map"):
        images, told = read_images(data, value_range=reading.value_range)
        return images, [told] if told else []
    if reading.materialize:
        raise ArgumentError(f"materialize is True, and data is a {type(data).__name__}, which cannot be asked for its items; "
                            "give the map-style Dataset itself, or leave materialize out.")
    stream = ImageStream(data, seed=reading.seed, value_range=reading.value_range, workers=reading.workers)
    return stream, [stream.told] if stream.told else []


def described_stream(stream: ImageStream) -> dict[str, Any]:
    """What a run's config.json says of a stream."""
    return {"name": stream.name, "split": "train", "streamed": stream.kind, "count": stream.count,
            "image_shape": list(stream.image_shape), "value_range": list(stream.range.pair)}


def with_batches_of(stream: ImageStream, stages: list[StageSettings], named: bool) -> list[StageSettings]:
    """The stages with the first as the stream needs it: its batch size is a DataLoader's own.

    `named` says whether the user named the batch size of the stages, and it is not the model's.

    Raises:
        ArgumentError: another batch size was given, or epochs for a stream of unknown length.
    """
    first = stages[0]
    own = stream.batch_size
    if own is not None and own != first.batch_size:
        if named:
            raise ArgumentError(f"batch_size is {first.batch_size}, and the {stream.name} gives batches of {own}; leave "
                                "batch_size out, or make the DataLoader with it.")
        first = replace(first, batch_size=own)
    if stream.count is None:
        if first.steps is None:
            raise ArgumentError(steps_needed(stream.name))
        stream.limit = first.steps * first.batch_size
    return [first, *stages[1:]]


def source_of(data: Images, device: torch.device, *, condition: Tensor | None = None) -> ImageSource | StreamSource:
    """The source of a stage on images, and what they are conditioned on (`conditions_of`). The losses scale uint8 themselves."""
    if isinstance(data, ImageStream):
        return StreamSource(data, device, scale=False)
    return ImageSource(data.images, device, labels=condition, scale=False)


def some_of(data: Images, count: int) -> Tensor:
    """So many of the images, or all, where there are fewer: torch's generator chooses among those that are in memory."""
    if isinstance(data, ImageStream):
        return data.some(count)[0]
    return data.images[torch.randperm(len(data))[:count]]


def conditions_of(model: Any, data: Images) -> Tensor | None:
    """What each example is conditioned on, where the module `model` is conditioned: its label, or its vector. A stream, whose
    batches come with their labels from then on, has none at hand.

    Raises:
        DataError: they are missing, or others than the model has. ArgumentError: a stream, which gives no vectors.
    """
    classes, dims = getattr(model, "classes", 0), getattr(model, "condition_dim", 0)
    if isinstance(data, ImageStream):
        if dims:
            raise ArgumentError(f"this model is conditioned on vectors, which a {data.name}, read as training goes, does not "
                                "give; pass materialize=True, or data that are held in memory, with condition=.")
        if classes:
            if not data.labelled:
                raise DataError(no_labels(classes, data.name))
            data.want_labels(classes)  # each batch's are looked at
        return None
    if dims:
        if data.condition is None or data.condition.shape[1] != dims:
            got = "no condition" if data.condition is None else f"vectors of {data.condition.shape[1]} numbers"
            raise DataError(f"this model is conditioned on vectors of {dims} numbers, but {data.name} has {got}; give them as "
                            f"condition=, [{len(data)}, {dims}].")
        return data.condition
    return checked_labels(data.labels, classes, data.name) if classes else None
