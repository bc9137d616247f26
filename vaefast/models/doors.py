"""The doors of every model: methods that users call with images or codes of their own, which are read and checked there alike.

What a method calls in its turn is not checked again, nor is anything that the engine trains on, which `fit` has checked. Inside
torch.compile, torch.export, a captured CUDA graph or a transform of torch.func no values are read, so that nothing is added to a
step that is compiled or captured.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError, DataError
from vaefast.models.condition import as_condition
from vaefast.models.latents import plain_array
from vaefast.models.standardiser import KeepsUnits
from vaefast.pixel_values import outside, require_finite, with_single_axes, wrong_dtype
from vaefast.torch_private import has_values

Method = TypeVar("Method", bound=Callable[..., Any])

LOOKS = 3
"""Batches of a training on a GPU whose values are read, as that waits for the device: one that is on another scale is so from
the first."""


class _State(threading.local):
    inside = False


_state = _State()


@contextmanager
def inside() -> Iterator[None]:
    """What is called in here is given what has been checked: no door reads it again."""
    before, _state.inside = _state.inside, True
    try:
        yield
    finally:
        _state.inside = before


def takes_images(method: Method) -> Method:
    """A method whose first argument is a batch of a model's examples, [B, *data_shape]; see `as_examples`. A loss is a mean, and
    has none of no examples; what gives a row for each takes 0 of them. Its argument `condition`, if it has one, is what they are
    conditioned on; see `vaefast.models.condition.as_condition`."""
    return _door(method, as_some_examples if method.__name__.endswith("loss") else as_examples)


def takes_codes(method: Method) -> Method:
    """A method whose first argument is a batch of a model's codes, [B, latent_dim]; see `as_codes`."""
    return _door(method, as_codes)


def _door(method: Method, read: Callable[[Any, Any], Tensor]) -> Method:
    names = list(inspect.signature(method).parameters)[1:]
    name, place = names[0], names.index("condition") if "condition" in names else None

    @wraps(method)
    def door(self: Any, *args: Any, **options: Any) -> Any:
        if torch.compiler.is_compiling() or _state.inside:
            return method(self, *args, **options)
        if place is not None and len(args) > place and isinstance(args[place], torch.Generator):
            options["generator"] = args[place]  # which came after the images before there were conditions
            args = (*args[:place], None, *args[place + 1 :])
        if args:
            args = (read(self, args[0]), *args[1:])
        elif name in options:
            options[name] = read(self, options[name])
        if place is not None and (len(args) > place or "condition" in options):
            count = len(args[0] if args else options[name])
            if "condition" in options:
                options["condition"] = as_condition(self, options["condition"], count)
            else:
                args = (*args[:place], as_condition(self, args[place], count), *args[place + 1 :])
        _state.inside = True
        try:
            return method(self, *args, **options)
        finally:
            _state.inside = False

    # torch.compile counts its compilations by code object, up to 8: one for all doors would be used up by a few models
    code = door.__code__.replace(co_name=method.__name__)  # type: ignore[attr-defined]
    door.__code__ = code  # type: ignore[attr-defined]
    return door  # type: ignore[return-value]


def no_loss(model: nn.Module, calls: str) -> ArgumentError:
    """The error of a model that is called as if it had one loss; `calls` are those that give one."""
    return ArgumentError(f"a {type(model).__name__} has no loss of its own to be called for; call {calls}, or sample(n) for new "
                         "images.")


def as_examples(model: Any, given: Any) -> Tensor:
    """A batch of examples in the form that the model's networks take, on its device, as forgiving as `fit`.

    Args:
        model: it has `data_shape` (or `image_shape`). Examples of the shape (C, H, W) are images.
        given: a tensor or array: images of uint8, bool or floats in [0, 1], [B, C, H, W], or an array [B, H, W, C]; other
            examples of uint8 or bool, which stand for [0, 1], too, or of any numbers that are finite. Axes of one value may be
            missing.

    Raises:
        ArgumentError: another type or shape.
        DataError: another dtype, NaN, infinity, or images outside [0, 1].
    """
    shape = tuple(getattr(model, "data_shape", None) or model.image_shape)
    like = _like(model)
    images = len(shape) == 3
    x = _tensor(given, "images" if images else "examples")
    x = with_single_axes(x, shape)
    if images and tuple(x.shape[1:]) == (*shape[1:], shape[0]) != shape and not isinstance(given, Tensor):
        x = x.permute(0, 3, 1, 2)
    if x.ndim != len(shape) + 1 or tuple(x.shape[1:]) != shape:
        raise _wrong_shape(x, shape, images)
    if x.dtype == torch.bool:
        x = x.to(torch.uint8).mul(255)
    if images:
        if x.dtype != torch.uint8:
            if not x.is_floating_point():
                raise wrong_dtype(x.dtype)
            if readable(x, model) and outside(x):
                x = x.clamp(0, 1)
    else:
        x = x if x.dtype == torch.uint8 else _floating(x, "examples", like)
        if x.is_floating_point() and readable(x, model):
            require_finite(x)
    dtype = like.dtype if x.is_floating_point() else None
    if dtype is not None and (getattr(model, "standardiser", None) is not None or isinstance(model, KeepsUnits)):
        dtype = torch.promote_types(dtype, torch.float32)  # data of any scale, whatever the networks compute in
    return x.to(like.device, dtype)


def as_some_examples(model: Any, given: Any) -> Tensor:
    """`as_examples`, of which there must be one.

    Raises:
        DataError: there is none. Others as `as_examples`.
    """
    x = as_examples(model, given)
    if not len(x):
        raise DataError(f"the batch has shape {list(x.shape)}; there is nothing in it, and a loss is a mean over examples.")
    return x


def as_codes(model: Any, given: Any) -> Tensor:
    """A batch of codes [B, latent_dim], on the model's device and in its precision, of a tensor or array of numbers.

    Raises:
        ArgumentError: another type, dtype or shape.
    """
    z, like = _tensor(given, "codes"), _like(model)
    if z.ndim != 2 or z.shape[1] != model.latent_dim:
        hint = " (for a single code z[None])" if tuple(z.shape) == (model.latent_dim,) else ""
        raise ArgumentError(f"the codes have shape {list(z.shape)}; this model takes [B, {model.latent_dim}]{hint}.")
    return _floating(z, "codes", like).to(like)


def _tensor(given: Any, what: str) -> Tensor:
    if isinstance(given, Tensor):
        if given.layout != torch.strided:
            raise ArgumentError(f"the {what} are a tensor of layout {str(given.layout).removeprefix('torch.')}; pass a dense one "
                                "(x.to_dense()).")
        return given
    if hasattr(given, "to_numpy"):  # a data frame
        try:
            given = plain_array(given)
        except ValueError:
            raise ArgumentError(f"the {what} are a {type(given).__name__} that does not hold numbers alone; leave its columns of "
                                "words out.") from None
    if isinstance(given, list | tuple):
        try:
            given = torch.stack(list(given)) if given and all(isinstance(x, Tensor) for x in given) else np.asarray(given)
        except (ValueError, RuntimeError, TypeError):
            raise ArgumentError(f"the {what} are a {type(given).__name__} of items that are not of one shape; pass a tensor or "
                                "array.") from None
        if isinstance(given, Tensor):
            return given
    if not isinstance(given, np.ndarray) or given.dtype.kind not in "biuf":
        kind = f"an array of {given.dtype}" if isinstance(given, np.ndarray) else f"of type {type(given).__name__}"
        raise ArgumentError(f"the {what} are {kind}; pass a tensor or array of numbers, with one row for each example.")
    return torch.from_numpy(np.array(given, dtype=_known(given.dtype), order="C"))


def _known(dtype: np.dtype) -> Any:
    """A dtype that torch has, in the machine's byte order."""
    if dtype.kind == "f":
        return np.float64 if dtype.itemsize > 8 else dtype.newbyteorder("=")
    return np.int64 if dtype.kind in "iu" and dtype != np.uint8 else dtype


def _floating(x: Tensor, what: str, like: Tensor) -> Tensor:
    if x.is_complex() or x.dtype == torch.bool:
        raise ArgumentError(f"the {what} have dtype {str(x.dtype).removeprefix('torch.')}; real numbers were expected.")
    return x if x.is_floating_point() else x.to(like.dtype)


def _wrong_shape(x: Tensor, shape: tuple[int, ...], images: bool) -> ArgumentError:
    if not images:
        return ArgumentError(f"the examples have shape {list(x.shape)}; this model takes [B, {', '.join(map(str, shape))}].")
    hint = ""
    if tuple(x.shape) == shape or (x.ndim == 2 and (1, *x.shape) == shape):
        hint = " A single image needs a batch of one: x[None]."
    elif x.ndim == 4 and tuple(x.shape[1:]) == (*shape[1:], shape[0]):
        hint = " They look like [B, H, W, C]; permute them to [B, C, H, W]."
    got = f"shape {tuple(x.shape[1:])}" if x.ndim == 4 else f"shape {list(x.shape)}, no batch [B, C, H, W]"
    return ArgumentError(f"the images have {got}; this model was built with image_shape={shape}.{hint}")


def _like(model: Any) -> Tensor:
    """A tensor of the model's device and dtype."""
    return next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))


def readable(x: Tensor, model: nn.Module) -> bool:
    """Whether the values of x can be read here, and are worth the wait."""
    if not x.numel() or not has_values(x):
        return False
    if not x.is_cuda or not model.training:
        return True
    looks = model.__dict__.get("_looks", 0)
    if looks < LOOKS:
        model.__dict__["_looks"] = looks + 1
    return looks < LOOKS
