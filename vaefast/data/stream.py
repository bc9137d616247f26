"""Images that are read as training goes: a map-style Dataset, a DataLoader, or whatever else can be iterated again and again."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count as numbers
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset

from vaefast.data.batching import Collate, Items, Iterated, Key, Raw, Refused, Rows, split_batch, stacked
from vaefast.data.frame import is_frame
from vaefast.data.image_set import ImageSet
from vaefast.data.random_state import random_states, seed_of
from vaefast.data.value_range import ValueRange, pixel_range
from vaefast.errors import ArgumentError, DataError, VaefastError
from vaefast.torch_private import end_workers

Kind = Literal["map", "loader", "iterable"]
FIRST = 64
"""Items that shape and range of the images are read off; of a DataLoader its first batch."""
_HELD = (ImageSet, Tensor, np.ndarray, list, tuple, str, bytes, os.PathLike, Mapping, TensorDataset)
_DEAD = ("exited unexpectedly", "is killed by signal")


def kind_of(data: Any) -> Kind | None:
    """How `data` are read as training goes; None for what is held in memory, and for what are no images at all."""
    if isinstance(data, DataLoader):
        return "loader"
    arrays = hasattr(data, "shape") and hasattr(data, "dtype")  # on disk, as HDF5 and Zarr have them: not safe across a fork
    if isinstance(data, _HELD) or is_frame(data) or arrays:
        return None
    if isinstance(data, Subset):
        return kind_of(data.dataset) and "map"
    if isinstance(data, ConcatDataset):
        return "map" if any(map(kind_of, data.datasets)) else None
    if isinstance(data, IterableDataset):
        return "iterable"
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return "map"
    return "iterable" if hasattr(data, "__iter__") else None


def default_workers() -> int:
    """2 where this process may use four cores or more, else 0, as training itself keeps the cores busy; 0 where processes are
    not forked, as the user's script may not be made for being run again in each."""
    started = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    if started != "fork":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 2 if cores >= 4 else 0


def dead_worker(error: BaseException, *, cut_off: bool = False) -> DataError | None:
    """The sentence for torch's word that a worker process is gone, which it may raise anywhere in the main thread; else None."""
    said = str(error).strip() or type(error).__name__
    of_torch = isinstance(error, RuntimeError) and "DataLoader worker" in said and any(word in said for word in _DEAD)
    if not (cut_off or of_torch):
        return None
    return DataError(f"a worker process that reads the data died ({said.splitlines()[0].rstrip('.')}); often memory ran out: use "
                     "fewer workers, or workers=0 to see what fails.")


class ImageStream:
    """Images of one shape that are read as training goes.

    Args:
        data: what `kind_of` knows: a map-style Dataset, a DataLoader, an IterableDataset, or anything with `__iter__`.
        seed: what the random states of its transforms and the order of its passes follow from.
        value_range: see `vaefast.data.value_range.pixel_range`; the first images decide, and all are held to it.
        workers: processes that read; 0 reads in the calling thread. None for `default_workers`, and 1 for an iterable, which
            several would each read whole unless it divides itself. A DataLoader has its own.

    Attributes:
        kind: "map", "loader" or "iterable".
        name: of its type.
        image_shape: (C, H, W).
        count: images in a pass, in this process; None where nothing says.
        batch_size: of a DataLoader's batches, else None.
        labelled: whether the first images have integer labels.
        told: a sentence on the range that was taken, where that is not obvious.
        limit: most images of a pass that is made apart from the training, where the stream may be endless.

    Raises:
        DataError: nothing in it, or something that is no image of a range that can be told.
        ArgumentError: an iterator, which can be read once alone, or workers that cannot be.
    """

    def __init__(self, data: Any, *, seed: int = 0, value_range: ValueRange = "auto", workers: int | None = None) -> None:
        kind = kind_of(data)
        assert kind is not None
        self.data, self.kind, self.seed = data, kind, seed
        self.name = type(data).__name__
        self.workers = self._workers(workers)
        self.limit: int | None = None
        self._label_options: dict[str, Any] = {}
        with self._failures():
            if kind == "iterable" and iter(data) is data:
                raise ArgumentError(f"data is a {self.name}, which can be read once alone; give an object whose __iter__ begins "
                                    "anew each time, or a list.")
            images, labels = self._first()
        self.range = pixel_range(images, value_range)
        self.range.unit(images)  # in words now, not later
        self.told = self.range.told()
        self.labelled = labels is not None
        c, h, w = images.shape[1:]
        self.image_shape: tuple[int, int, int] = (int(c), int(h), int(w))
        self.batch_size = self._batch_size(len(images)) if kind == "loader" else None
        self.count = self._count()

    def want_labels(self, classes: int) -> None:
        """Give labels below `classes`, too."""
        self._label_options = {"labels": True, "classes": classes}

    # --- what is asked once -----------------------------------------------------------------------------------------

    def _workers(self, workers: int | None) -> int:
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 0):
            raise ArgumentError(f"workers is {workers!r}; expected a whole number, 0 or more.")
        if self.kind == "loader":
            if workers is not None and workers != self.data.num_workers:
                raise ArgumentError(f"workers is {workers}, and the DataLoader has num_workers={self.data.num_workers} of its "
                                    "own; leave workers out.")
            return int(self.data.num_workers)
        if workers is None:
            return default_workers() if self.kind == "map" else min(1, default_workers())
        return workers

    def _first(self) -> Raw:
        """The first images as they are: some that lie spread over a Dataset, or the first that a stream gives."""
        if self.kind == "map":
            places = self._spread(FIRST)
            if not places:
                raise DataError(f"the {self.name} is empty; at least one image is needed.")
            with random_states(self.seed, "first"):
                return self._stacked(Items(self.data).__getitems__([(self.seed, "first", i) for i in places]))
        with random_states(self.seed, "first"):
            if self.kind == "loader":
                batch = next(iter(self.data), None)
                found = None if batch is None else split_batch(batch)
            else:
                items = list(islice(Iterated(self.data), FIRST))
                found = self._stacked(items) if items else None
        if found is None:
            raise DataError(f"the {self.name} ended without giving anything; at least one image is needed.")
        return found

    def _stacked(self, items: Sequence[Any]) -> Raw:
        for item in items:
            if isinstance(item, Refused):
                raise self._error(item)
            if self.kind == "iterable" and _is_batch(item[1]):
                raise DataError(f"the {self.name} gives whole batches; give DataLoader(data, batch_size=None), which takes them "
                                "as they are.")
        return stacked(items)

    def _spread(self, most: int) -> list[int]:
        total = len(self.data)
        return [i * total // min(most, total) for i in range(min(most, total))]

    def _batch_size(self, first: int) -> int:
        sizes = (self.data.batch_size, getattr(self.data.batch_sampler, "batch_size", None))
        return next((s for s in sizes if isinstance(s, int)), first)

    def _count(self) -> int | None:
        try:
            if self.kind != "loader":
                return len(self.data)
            assert self.batch_size is not None
            if self.data.batch_size is not None and not self._iterates:
                return len(self.data.sampler)
            return len(self.data) * self.batch_size
        except (TypeError, NotImplementedError, AttributeError):  # as torch and Python say that there is no length
            return None

    @property
    def _iterates(self) -> bool:
        return self.kind == "iterable" or isinstance(self.data.dataset, IterableDataset)

    # --- what is read -----------------------------------------------------------------------------------------------

    def by_keys(self, batches: Iterable[Sequence[Key]], *, pin: bool = False) -> Iterator[Rows]:
        """Of a map-style Dataset the batches whose items have these keys: what their random states follow from, and the index."""
        loader: Any = DataLoader(Items(self.data), batch_sampler=batches, collate_fn=self._collate(),  # type: ignore[arg-type]
                                 num_workers=self.workers, worker_init_fn=_left_to_the_main_process, pin_memory=pin,
                                 generator=torch.Generator())
        yield from self._read(loader, (self.seed,))

    def endless(self, batch_size: int, *key: Any, first_pass: int = 0, pin: bool = False) -> Iterator[Rows]:
        """Batches of `batch_size` from a DataLoader or an iterable, pass after pass; smaller last ones are left out.

        Raises:
            DataError: what comes is not as the first images were, or a pass gives no whole batch.
        """
        for number in numbers(first_pass):
            batches = seen = 0
            whole = False
            for batch in self._pass(batch_size, (self.seed, *key, number), pin):
                batches, seen = batches + 1, seen + len(batch[0])
                if len(batch[0]) == batch_size:
                    whole = True
                    yield batch
            if not whole:
                raise DataError(f"the {self.name} ended after {seen} images, without one whole batch of {batch_size}"
                                f"{'; lower batch_size.' if seen else ': it has to begin anew each time that it is iterated.'}")
            self._require_all(batches)

    def _require_all(self, batches: int) -> None:
        """DataError where a DataLoader of known length has ended early."""
        expected = 0 if self._iterates or not self.count else self.count // (self.batch_size or 1)
        if batches < expected:
            raise DataError(f"the {self.name} ended after {batches} batches, where its length says {expected}; repair its "
                            "sampler.")

    def one_pass(self, batch_size: int) -> Iterator[Tensor]:
        """Every image once, [B, C, H, W] a time, in the stream's own order; no more than `limit` of a DataLoader or iterable."""
        yield from (images for images, *_ in self.rows(batch_size))

    def rows(self, batch_size: int) -> Iterator[Rows]:
        """`one_pass`, with the labels where they are wanted."""
        if self.kind == "map":
            index = range(len(self.data))
            keys = [[(self.seed, "pass", i) for i in index[s:s + batch_size]] for s in index[::batch_size]]
            yield from self.by_keys(keys)
            return
        left = self.limit
        for batch in self._pass(batch_size, (self.seed, "pass"), False):
            yield batch if left is None else tuple(t[:left] for t in batch)
            left = None if left is None else left - len(batch[0])
            if left is not None and left <= 0:
                return

    def some(self, most: int) -> Rows:
        """Up to so many images, [N, C, H, W], and the labels where they are wanted: spread over a Dataset, or the first of a
        pass."""
        if self.kind == "map":
            keys = [[(self.seed, "some", i)] for i in self._spread(most)]
            return tuple(torch.cat(each) for each in zip(*self.by_keys(keys)))
        found: list[Rows] = []
        for batch in self.rows(FIRST):
            found.append(batch)
            if sum(len(images) for images, *_ in found) >= most:
                break
        return tuple(torch.cat(each)[:most] for each in zip(*found))

    def _collate(self) -> Collate:
        word = "item" if self.kind == "map" else "image"
        return Collate(self.range, self.image_shape, word=word, **self._label_options)

    def _pass(self, batch_size: int, key: Key, pin: bool) -> Iterator[Rows]:
        """One pass of a DataLoader or an iterable. Smaller batches than the DataLoader's may come last alone, unless several
        workers each have a last one."""
        epoch = key[-1] if isinstance(key[-1], int) else 0
        if self.kind == "iterable":
            _tell_epoch(epoch, self.data)
            yield from self._read(self._loader_of_items(batch_size, key, pin), key)
            return
        _tell_epoch(epoch, self.data.sampler, self.data.batch_sampler, self.data.dataset)
        size, collate, smaller = self.batch_size or 0, self._collate(), ""
        alone = not (self._iterates and self.workers > 1)
        for number, batch in enumerate(self._read(self.data, key), start=1):
            try:
                rows = collate.of_batch(batch)
            except DataError as error:
                raise DataError(f"batch {number} of the {self.name} cannot be used: {error}") from None
            if smaller or len(rows[0]) > size:
                wrong = smaller or f"batch {number} of the {self.name} has {len(rows[0])} images"
                raise DataError(f"{wrong}, and the others have {size}; all but the last must have the same number.")
            if len(rows[0]) < size and alone:
                smaller = f"batch {number} of the {self.name} has {len(rows[0])} images and is not the last"
            yield rows

    def _loader_of_items(self, batch_size: int, key: Key, pin: bool) -> Any:
        generator = torch.Generator().manual_seed(seed_of(*key, "workers"))
        return DataLoader(Iterated(self.data), batch_size=batch_size, collate_fn=self._collate(), num_workers=self.workers,
                          worker_init_fn=_left_to_the_main_process, pin_memory=pin, generator=generator)

    def _read(self, loader: Any, key: Key) -> Iterator[Any]:
        """What a DataLoader gives. The random states of this thread, in which a sampler or a Dataset without workers draws, are
        its own while it is at work."""
        with random_states(*key, "begin"), self._failures():
            iterator = iter(loader)
        try:
            for number in numbers():
                with random_states(*key, number), self._failures():
                    try:
                        batch = next(iterator)
                    except StopIteration:
                        return
                if isinstance(batch, Refused):
                    raise self._error(batch)
                yield batch
        except Exception:
            end_workers(loader, iterator)
            raise

    def _error(self, refused: Refused) -> DataError:
        error = DataError(f"the {self.name} cannot be used: {refused.why}")
        if refused.trace:
            error.__cause__ = RuntimeError(f"in the data's own code:\n{refused.trace}")
        return error

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Errors of the user's code, of torch's DataLoader and of its workers, in one sentence each."""
        try:
            yield
        except VaefastError:
            raise
        except Exception as error:
            cut_off = self.workers and isinstance(error, (ConnectionError, EOFError)) and not str(error).startswith("Caught")
            if (dead := dead_worker(error, cut_off=bool(cut_off))) is not None:  # cut off while it handed a batch over
                raise dead from error
            last = str(error).strip().splitlines()[-1:]
            handed = "pickle" in f"{type(error).__name__} {error}".lower()
            hint = " It cannot be handed to worker processes; workers=0 does without." if handed else ""
            raise DataError(f"the {self.name} failed: {type(error).__name__}: {''.join(last)}{hint}") from error


def _left_to_the_main_process(_worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the main one ends the step first, for which it needs its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _tell_epoch(epoch: int, *objects: Any) -> None:
    """Tell those who shuffle by the epoch which one comes, as DistributedSampler and Hugging Face's streams want to know."""
    for one in objects:
        if callable(tell := getattr(one, "set_epoch", None)):
            tell(epoch)


def _is_batch(item: Any) -> bool:
    first = item[0] if isinstance(item, (tuple, list)) and item else item
    return isinstance(first, (Tensor, np.ndarray)) and first.ndim == 4
