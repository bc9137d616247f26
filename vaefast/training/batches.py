"""Which examples each iteration gets, and their way to the device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.training.distributed import World
from vaefast.training.sources import Source

Rows = tuple[Tensor, ...]


def shuffled(count: int, seed: int, stage: int, epoch: int) -> Tensor:
    """The order of an epoch, a function of its arguments alone, so that resuming needs no state."""
    key = hashlib.sha256(f"{seed}/{stage}/{epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
    return torch.randperm(count, generator=generator)


class Batches:
    """The batches of a stage's iterations: `draws` of `batch_size` rows each, of which every process takes its own.

    Args:
        source: the data.
        batch_size: rows a draw, in this process.
        draws: batches an iteration.
        seed, stage: what the order depends on, besides the epoch.
        device: where training happens.
        group: the processes; rank r takes the r-th `batch_size` rows of each global batch.

    Raises:
        ArgumentError: the data have fewer rows than one iteration takes.
    """

    def __init__(self, source: Source, batch_size: int, draws: int, *, seed: int, stage: int, name: str, device: torch.device,
                 group: World) -> None:
        self.source, self.batch_size, self.draws = source, batch_size, draws
        self.seed, self.stage, self.device, self.group = seed, stage, device, group
        self.per_epoch = len(source) // (batch_size * draws * group.size)
        if self.per_epoch == 0:
            takes = " * ".join(str(n) for n in (draws, group.size) if n > 1)
            raise ArgumentError(f"batch_size is {batch_size}{f' (times {takes} an iteration)' if takes else ''}, but {name} has "
                                f"only {len(source)} examples; lower batch_size.")
        # static, so that a captured step reads the same memory every time
        self._order = torch.zeros(self.per_epoch, draws, batch_size, dtype=torch.long, device=source.device)
        self._cursor = torch.zeros(1, dtype=torch.long, device=source.device)
        self._epoch = -1
        self._stream: _Stream | None = None
        self._staged: list[Rows] = []

    def _rows(self, epoch: int) -> Tensor:
        order = shuffled(len(self.source), self.seed, self.stage, epoch)
        kept = order[:self.per_epoch * self.draws * self.group.size * self.batch_size]
        return kept.view(self.per_epoch, self.draws, self.group.size, self.batch_size)[:, :, self.group.rank]

    def seek(self, step: int) -> None:
        """Make iteration `step` (counted from 0) of the stage the next one. Outside any captured step."""
        epoch, position = divmod(step, self.per_epoch)
        if self.source.resident:
            if epoch != self._epoch:
                rows = self._rows(epoch).contiguous()
                if self._order.is_cuda:
                    rows = rows.pin_memory()  # a copy from pageable memory would wait for the device
                self._order.copy_(rows, non_blocking=True)
                self._cursor.fill_(position)
                self._epoch = epoch
        else:
            if self._stream is None or self._stream.next != step:
                self.close()
                self._stream = _Stream(self._fetch, step, self.device)
            staged = self._stream.take()
            if not self._staged:
                self._staged = [tuple(torch.empty_like(t, device=self.device) for t in rows) for rows in staged]
            for places, new in zip(self._staged, staged):
                for there, one in zip(places, new):
                    there.copy_(one, non_blocking=True)
            self._stream.used()

    def _fetch(self, step: int) -> list[Rows]:
        """The stored rows of an iteration in host memory; the streaming thread calls this."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order.copy_(self._rows(epoch))
            self._epoch = epoch
        return [self.source.raw(index) for index in self._order[position]]

    def at(self, step: int) -> list[Rows]:
        """The batches of iteration `step`, whatever iteration comes next."""
        epoch, position = divmod(step, self.per_epoch)
        rows = [self.source.raw(index) for index in self._rows(epoch)[position].to(self.source.device)]
        return [self.source.ready(tuple(t.to(self.device) for t in r)) for r in rows]

    def close(self) -> None:
        """Stop reading ahead."""
        if self._stream is not None:
            self._stream.close()

    def iterate(self) -> Iterator[Rows]:
        """This iteration's draws, on the device; called once an iteration, inside the captured step."""
        if not self.source.resident:
            yield from map(self.source.ready, self._staged)
            return
        indices = self._order.index_select(0, self._cursor)[0]
        self._cursor.add_(1)
        for index in indices:
            yield self.source.ready(self.source.raw(index))


class _Stream:
    """Reads iterations ahead in a thread, into pinned memory where there is a GPU."""

    AHEAD = 3

    def __init__(self, fetch: Callable[[int], list[Rows]], step: int, device: torch.device) -> None:
        self.fetch, self.next, self.cuda = fetch, step, device.type == "cuda"
        self.pool = ThreadPoolExecutor(1, "vaefast-data")
        self.waiting: list[Future[list[Rows]]] = [self.pool.submit(self._read, step + i) for i in range(self.AHEAD)]
        self.copying: list[tuple[torch.cuda.Event, list[Rows]]] = []
        self.current: list[Rows] = []

    def _read(self, step: int) -> list[Rows]:
        rows = self.fetch(step)
        return [tuple(t.pin_memory() for t in r) for r in rows] if self.cuda else rows

    def take(self) -> list[Rows]:
        self.current = self.waiting.pop(0).result()
        self.waiting.append(self.pool.submit(self._read, self.next + self.AHEAD))
        self.next += 1
        return self.current

    def used(self) -> None:
        """The copies from the rows taken last are under way: keep the rows until they are done."""
        if self.cuda:
            event = torch.cuda.Event()
            event.record()
            self.copying = [(e, r) for e, r in self.copying if not e.query()] + [(event, self.current)]

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
