"""Data that are no images - vectors, sequences, volumes - in the one form in which they reach the rest of the package."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset

from vaefast.data.labels import require_vectors
from vaefast.data.memory import require
from vaefast.digest import tensor_digest
from vaefast.errors import ArgumentError, DataError
from vaefast.pixel_values import in_parts, require_finite, with_single_axes

AGAIN = 8
"""Items of a Dataset that are read a second time, to see whether it draws them at random."""


@dataclass(frozen=True, eq=False, repr=False)
class ArraySet(Dataset):
    """Examples of one shape, held whole.

    Attributes:
        values: [N, *data_shape] on the CPU, contiguous; finite float32, or uint8, which counts as [0, 1].
        labels: int64 [N], or None where there are none.
        name: the data set's name.
        split: "train", "test" or "all".
        condition: float [N, d], vectors that a model is conditioned on, or None.

    As a torch Dataset, item i is `(example, label)` where there are labels, and the example alone where there are none.

    Raises:
        DataError: the tensors do not have these shapes and dtypes, there is no example, or one holds NaN or infinity.
    """

    values: torch.Tensor
    labels: torch.Tensor | None = None
    name: str = "array"
    split: str = "train"
    condition: torch.Tensor | None = None
    _digest: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        values = self.values
        if not isinstance(values, torch.Tensor) or values.dtype not in (torch.uint8, torch.float32):
            got = values.dtype if isinstance(values, torch.Tensor) else type(values).__name__
            raise DataError(f"values must be a uint8 or float32 tensor, not {got}; vaefast.data.as_array_set converts.")
        if values.ndim < 2 or 0 in values.shape:
            raise DataError(f"the data have shape {list(values.shape)}; expected [N, ...], an example or more and no size 0.")
        if self.labels is not None and (self.labels.dtype != torch.int64 or self.labels.shape != values.shape[:1]):
            raise DataError(f"labels have shape {list(self.labels.shape)}; expected int64 [{len(values)}], one an example.")
        require_vectors(self.condition, len(values))
        values = values.detach().cpu().contiguous()
        if values.is_floating_point():
            for start, part in in_parts(values):
                require_finite(part, start)
        object.__setattr__(self, "values", values)

    @property
    def images(self) -> torch.Tensor:
        """`values`, by the name under which the engine finds the examples of every set."""
        return self.values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        value = self.values[int(index)]
        return value if self.labels is None else (value, int(self.labels[int(index)]))

    def __repr__(self) -> str:
        return (f"ArraySet({self.name}/{self.split}, {len(self):,} of {'x'.join(map(str, self.data_shape))}, "
                f"{str(self.values.dtype)[6:]})")

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.values.shape[1:])

    def subset(self, indices: torch.Tensor) -> ArraySet:
        """The examples at `indices`, integers [n] or a mask [N], in that order.

        Raises:
            ArgumentError: an index outside the set, or nothing selected.
        """
        try:
            labels, condition = (None if t is None else t[indices] for t in (self.labels, self.condition))
            return replace(self, values=self.values[indices], labels=labels, condition=condition)
        except (IndexError, DataError):
            raise ArgumentError(f"indices of shape {list(indices.shape)} select nothing of this set of {len(self):,} examples, "
                                "or lie outside it.") from None

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of dtype, shape, values, labels and vectors. Computed once."""
        if self._digest is None:
            vectors = [] if self.condition is None else [("condition", self.condition)]
            object.__setattr__(self, "_digest", tensor_digest([("", self.values), ("", self.labels), *vectors]))
        assert self._digest is not None
        return self._digest


def as_array_set(obj: Any, data_shape: tuple[int, ...] | None = None, *, name: str = "array", split: str = "train") -> ArraySet:
    """An ArraySet of data in almost any form.

    Args:
        obj: an ArraySet (returned as it is); a tensor, array or data frame of numbers [N, ...]; a `TensorDataset` of x, or of x
            and y; any other map-style Dataset, a list or a tuple, whose items are tensors, arrays or lists of numbers of one
            shape, or (x, ...). uint8 and bool count as [0, 1]; all other numbers are taken as they are, in float32. Integers y
            of shape [N] are the labels; any other y is left out.
        data_shape: the shape that examples should have; axes of one value may be missing. Any, if None.
        name, split: of the set.

    Raises:
        DataError: nothing in it, NaN, infinity, numbers beyond float32, items of several shapes, or no real numbers.
        ArgumentError: examples of another shape than `data_shape`, or an `obj` of another type.
    """
    condition: torch.Tensor | None = None
    if isinstance(obj, ArraySet):
        values, labels, condition = obj.values, obj.labels, obj.condition
    elif isinstance(obj, TensorDataset):
        values, labels = _numbers(obj.tensors[0]), _labels(obj.tensors[1]) if len(obj.tensors) > 1 else None
    elif isinstance(obj, torch.Tensor | np.ndarray) or hasattr(obj, "to_numpy"):
        values, labels = _numbers(obj), None
    elif hasattr(obj, "__len__") and hasattr(obj, "__getitem__") and not isinstance(obj, (str, bytes, Mapping)):
        values, labels = _from_items(obj)
    else:
        raise ArgumentError(f"the data are of type {type(obj).__name__}; pass a tensor, an array, a list of arrays, or a "
                            "map-style Dataset.")
    if data_shape is not None and tuple(values.shape[1:]) != data_shape:
        values = with_single_axes(values, data_shape)
        if tuple(values.shape[1:]) != data_shape:
            raise ArgumentError(f"the examples have shape {tuple(values.shape[1:])}; this model was built with data_shape="
                                f"{data_shape}.")
    if isinstance(obj, ArraySet) and values is obj.values:
        return obj
    return ArraySet(values, labels, name=name, split=split, condition=condition)


def _numbers(given: Any, what: str = "the data are") -> torch.Tensor:
    """Numbers in any form as float32, or uint8."""
    if isinstance(given, torch.Tensor):
        if given.layout != torch.strided or given.is_nested or given.is_meta:
            raise DataError(f"{what} a tensor of another kind than dense ones; convert first.")
        tensor = given.detach().cpu()
    else:
        if np.ma.is_masked(given):
            raise DataError(f"{what} a masked array, and what is masked has no value; fill it first (array.filled(0)).")
        try:
            array = given.to_numpy() if hasattr(given, "to_numpy") else np.asarray(given)
            array = array.astype(np.float64) if array.dtype == object else array
        except (TypeError, ValueError):
            raise DataError(f"{what} a {type(given).__name__} that does not hold numbers of one shape; leave words out, and "
                            "bring examples to one shape.") from None
        if array.dtype.kind not in "biuf":
            raise DataError(f"{what} of dtype {array.dtype}; real numbers were expected.")
        if array.dtype not in (np.uint8, bool):
            array = array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32)
        tensor = torch.from_numpy(np.array(array, order="C") if not array.flags.writeable or array.dtype == bool
                                  or any(stride < 0 for stride in array.strides) else array)
    if tensor.is_complex():
        raise DataError(f"{what} of dtype {str(tensor.dtype)[6:]}; real numbers were expected.")
    if tensor.dtype == torch.bool:
        return tensor.to(torch.uint8) * 255
    if tensor.dtype in (torch.uint8, torch.float32):
        return tensor
    narrow = tensor.float()
    beyond = narrow.isinf() & ~tensor.isinf() if tensor.dtype == torch.float64 else None
    if beyond is not None and bool(beyond.any()):
        raise DataError(f"{what} float64 beyond what float32 holds ({float(tensor[beyond][0]):.3g}); rescale them.")
    return narrow


def _labels(y: Any) -> torch.Tensor | None:
    """Integers [N] as labels; anything else is no label."""
    if isinstance(y, torch.Tensor) and y.ndim == 1 and not (y.is_floating_point() or y.is_complex()):
        return y.detach().cpu().long()
    return None


def _from_items(items: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Fill one tensor from the items of a Dataset or list, one after the other."""
    count = len(items)
    if not count:
        raise DataError("the data are empty; at least one example is needed.")
    values = torch.empty(0)
    labels: list[int] = []
    for i in range(count):
        example, label = _item(items[i], i)
        if i == 0:
            require((count, *example.shape), example.element_size(), f"the {type(items).__name__} is held whole, which takes",
                    "examples")
            values = torch.empty((count, *example.shape), dtype=example.dtype)
        if example.shape != values.shape[1:] or example.dtype != values.dtype:
            raise DataError(f"item 0 is {_form(values[0])} and item {i} {_form(example)}; all must be of one shape and dtype.")
        values[i] = example
        if label is not None:
            labels.append(label)
    if not isinstance(items, (list, tuple)) and not all(torch.equal(_item(items[i], i)[0], values[i])
                                                        for i in range(min(count, AGAIN)) if bool(values[i].isfinite().all())):
        warnings.warn(f"the Dataset gives other examples each time it is read, and was read once: all epochs train on the same "
                      f"{count}. Take random transforms out of it, or train on its batches in a loop of your own.", stacklevel=4)
    return values, torch.tensor(labels) if len(labels) == count else None


def _item(item: Any, index: int) -> tuple[torch.Tensor, int | None]:
    """The example of an item, and its label where there is an integer one."""
    label: Any = None
    if isinstance(item, (tuple, list)) and item and isinstance(item[0], (torch.Tensor, np.ndarray)) and item[0].ndim:
        item, label = item[0], item[1] if len(item) > 1 else None
    if isinstance(item, (str, bytes, Mapping)) or item is None:
        raise DataError(f"item {index} is a {type(item).__name__}; a tensor, an array or (x, label) was expected.")
    if isinstance(label, torch.Tensor) and label.numel() == 1 or isinstance(label, np.ndarray) and label.size == 1:
        label = label.item()
    whole = isinstance(label, (int, np.integer)) and not isinstance(label, bool)
    return _numbers(item, f"item {index} is"), int(label) if whole else None


def _form(example: torch.Tensor) -> str:
    return f"of shape {list(example.shape)} in {str(example.dtype)[6:]}"
