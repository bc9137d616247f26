"""Batches of images that are read as training goes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as numbers

import torch
from torch import Tensor

from vaefast.data.batching import Key
from vaefast.data.stream import ImageStream
from vaefast.errors import ArgumentError
from vaefast.training.batches import Rows, StageBatches, rows_of_epoch
from vaefast.training.distributed import World
from vaefast.training.sources import ReadyImages


class StreamSource(ReadyImages):
    """Images of an `ImageStream`, and labels where the model wants them.

    Args:
        stream: what is read.
        device: where training happens.
        flip, scale, augment: as for `vaefast.training.sources.ImageSource`.
    """

    def __init__(self, stream: ImageStream, device: torch.device, *, flip: bool = False, scale: bool = True) -> None:
        super().__init__(flip=flip, scale=scale)
        self.stream, self.device = stream, device

    def one_pass(self, batch_size: int) -> Iterator[Rows]:
        """Every image once (and its label), [B, C, H, W] a time, as they are stored (of an endless stream, as many as training
        takes)."""
        return self.stream.rows(batch_size)


class StreamBatches(StageBatches):
    """The batches of a stage's iterations, read from a stream.

    A map-style Dataset gives the examples in the order in which it would give them if it were held in memory; its items' random
    transforms follow from seed, stage, epoch and index alone. A DataLoader or iterable goes on from pass to pass, whatever an
    epoch is, and begins anew where training is resumed.

    Args:
        source: the data.
        batch_size, draws, seed, stage, name, device, group: as for `vaefast.training.batches.Batches`.
        total: iterations of the stage, where its settings say.

    Raises:
        ArgumentError: nothing says how long an epoch is, or it is shorter than an iteration.
    """

    def __init__(self, source: StreamSource, batch_size: int, draws: int, *, seed: int, stage: int, name: str,
                 device: torch.device, group: World, total: int | None) -> None:
        super().__init__(source, batch_size, draws, device)
        self.stream, self.seed, self.stage, self.group = source.stream, seed, stage, group
        count = self.stream.count
        if count is None:
            if total is None:
                raise ArgumentError(steps_needed(self.stream.name))
            self.per_epoch = total
        else:
            share = group.size if self.stream.kind == "map" else 1
            self.per_epoch = self.whole_iterations(count, share, name)
        self._reader: Iterator[Rows] | None = None
        self._next = -1

    def seek(self, step: int) -> None:
        if self._next != step or self._reader is None:
            self.close()
            self._reader = self._read_from(step)
        self._next = step + 1
        self.stage_rows([next(self._reader) for _ in range(self.draws)])

    def resumed(self, step: int) -> str:
        """What comes again where training goes on at `step`, in a sentence; "" where nothing does."""
        if not step or self.stream.kind == "map":
            return ""
        return (f"the {self.stream.name} starts from its beginning: what it gave in the first {step:,} steps may come again, "
                "before the rest")

    def _read_from(self, step: int) -> Iterator[Rows]:
        pin = self.device.type == "cuda"
        if self.stream.kind == "map":
            return self.stream.by_keys(self._keys_from(step), pin=pin)
        key = (self.stage, self.group.rank, step)
        return self.stream.endless(self.batch_size, *key, first_pass=step // self.per_epoch, pin=pin)

    def _keys_from(self, step: int) -> Iterator[list[Key]]:
        """The keys of every batch from iteration `step` on, without end."""
        first, position = divmod(step, self.per_epoch)
        for epoch in numbers(first):
            for draws in self._order(epoch)[position:]:
                for index in draws.tolist():
                    yield [(self.seed, self.stage, epoch, i) for i in index]
            position = 0

    def _order(self, epoch: int) -> Tensor:
        assert self.stream.count is not None
        return rows_of_epoch(self.stream.count, self.seed, self.stage, epoch, self.per_epoch, self.draws, self.group,
                             self.batch_size)

    def at(self, step: int) -> list[Rows]:
        """The batches of iteration `step`; of a DataLoader or iterable, which cannot go back, the newest."""
        rows = self.staged
        if self.stream.kind == "map" and step != self._next - 1:
            reader = self._read_from(step)
            rows = [tuple(t.to(self.device) for t in next(reader)) for _ in range(self.draws)]
        return [self.source.ready(r) for r in rows]

    def close(self) -> None:
        """Stop reading; the workers end with their iterator."""
        self._reader = None


def steps_needed(name: str) -> str:
    """The sentence for a stream without a length and a budget in epochs."""
    return f"the length of the {name} is not known, so that there are no epochs to count; give steps instead of epochs."
