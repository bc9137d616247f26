"""Which examples each iteration gets, and their way to the device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.training.distributed import World
from vaefast.training.sources import IndexedSource, Source

Rows = tuple[Tensor, ...]


def shuffled(count: int, seed: int, stage: int, epoch: int) -> Tensor:
    """The order of an epoch, a function of its arguments alone, so that resuming needs no state."""
    key = hashlib.sha256(f"{seed}/{stage}/{epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
    return torch.randperm(count, generator=generator)


def rows_of_epoch(count: int, seed: int, stage: int, epoch: int, per_epoch: int, draws: int, group: World,
                  batch_size: int) -> Tensor:
    """This process's examples of an epoch, [per_epoch, draws, batch_size]; those that fill no iteration are left out."""
    kept = shuffled(count, seed, stage, epoch)[:per_epoch * draws * group.size * batch_size]
    return kept.view(per_epoch, draws, group.size, batch_size)[:, :, group.rank]


class StageBatches:
    """What an `Iteration` takes its batches from.

    Attributes:
        per_epoch: iterations an epoch.
        draws, batch_size: batches an iteration, and their rows in this process.
        staged: the rows of this iteration on the device, where they were brought there before it. Always the same memory, as a
            captured step reads it every time.
    """

    per_epoch: int

    def __init__(self, source: Source, batch_size: int, draws: int, device: torch.device) -> None:
        self.source, self.batch_size, self.draws, self.device = source, batch_size, draws, device
        self.staged: list[Rows] = []

    def whole_iterations(self, count: int, processes: int, name: str) -> int:
        """Iterations that `count` examples fill. Raises ArgumentError if they fill none."""
        whole = count // (self.batch_size * self.draws * processes)
        if whole == 0:
            takes = " * ".join(str(n) for n in (self.draws, processes) if n > 1)
            raise ArgumentError(f"batch_size is {self.batch_size}{f' (times {takes} an iteration)' if takes else ''}, but {name} "
                                f"has only {count} examples; lower batch_size.")
        return whole

    def stage_rows(self, rows: list[Rows]) -> None:
        """Bring an iteration's rows to their places on the device."""
        if not self.staged:
            self.staged = [tuple(torch.empty_like(t, device=self.device) for t in each) for each in rows]
        for places, new in zip(self.staged, rows):
            for there, one in zip(places, new):
                there.copy_(one, non_blocking=True)

    def seek(self, step: int) -> None:
        """Make iteration `step` (counted from 0) of the stage the next one. Outside any captured step."""
        raise NotImplementedError

    def at(self, step: int) -> list[Rows]:
        """The batches of iteration `step`, whatever iteration comes next."""
        raise NotImplementedError

    def resumed(self, step: int) -> str:
        """What comes again where training goes on at `step`, in a sentence; "" where nothing does."""
        return ""

    def iterate(self) -> Iterator[Rows]:
        """This iteration's draws, on the device; called once an iteration, inside the captured step."""
        yield from map(self.source.ready, self.staged)

    def close(self) -> None:
        """Stop reading ahead."""


class Batches(StageBatches):
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

    source: IndexedSource

    def __init__(self, source: IndexedSource, batch_size: int, draws: int, *, seed: int, stage: int, name: str,
                 device: torch.device, group: World) -> None:
        super().__init__(source, batch_size, draws, device)
        self.seed, self.stage, self.group = seed, stage, group
        self.per_epoch = self.whole_iterations(len(source), group.size, name)
        # static, so that a captured step reads the same memory every time
        self._order = torch.zeros(self.per_epoch, draws, batch_size, dtype=torch.long, device=source.device)
        self._cursor = torch.zeros(1, dtype=torch.long, device=source.device)
        self._epoch = -1
        self._stream: _Stream | None = None

    def _rows(self, epoch: int) -> Tensor:
        return rows_of_epoch(len(self.source), self.seed, self.stage, epoch, self.per_epoch, self.draws, self.group,
                             self.batch_size)

    def seek(self, step: int) -> None:
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
            self.stage_rows(self._stream.take())
            self._stream.used()

    def _fetch(self, step: int) -> list[Rows]:
        """The stored rows of an iteration in host memory; the streaming thread calls this."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order.copy_(self._rows(epoch))
            self._epoch = epoch
        return [self.source.raw(index) for index in self._order[position]]

    def at(self, step: int) -> list[Rows]:
        epoch, position = divmod(step, self.per_epoch)
        rows = [self.source.raw(index) for index in self._rows(epoch)[position].to(self.source.device)]
        return [self.source.ready(tuple(t.to(self.device) for t in r)) for r in rows]

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def iterate(self) -> Iterator[Rows]:
        if not self.source.resident:
            yield from super().iterate()
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
