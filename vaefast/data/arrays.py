"""From what a training script has at hand - tensors, arrays, lists, torch Datasets - to an `ImageSet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from vaefast.data.frame import is_frame, pictures_of_frame
from vaefast.data.image_set import ImageSet
from vaefast.data.labels import LABEL_KEYS, as_labels
from vaefast.data.memory import require
from vaefast.data.pixels import to_uint8
from vaefast.data.value_range import ValueRange, checked_range, pixel_range
from vaefast.errors import ArgumentError, DataError
from vaefast.pixel_values import in_parts, outside, wrong_dtype

_CHANNELS = (1, 3, 4)
_IMAGE_KEYS = ("image", "img", "images", "pixel_values", "jpg", "jpeg", "png", "webp")


def as_image_set(
    obj: Any,
    *,
    name: str = "array",
    labels: Any = None,
    layout: str | None = None,
    split: str = "train",
    value_range: ValueRange | None = None,
) -> ImageSet:
    """Make an ImageSet of images in almost any form.

    uint8 stays uint8. Floats in [0, 1] become float32 and stay floats (quantising them would change the data);
    values up to 1e-6 outside are clamped. A contiguous CPU tensor or array is used without a copy.

    Args:
        obj: one of
            - an ImageSet (returned as it is, but for `labels`);
            - a tensor or array of uint8, bool or floats: [N, H, W] (grey), or four-dimensional. A tensor is taken as
              [N, C, H, W]. An array is taken as [N, H, W, C] where its last size is 1, 3 or 4 and its second is not,
              and as [N, C, H, W] in the opposite case; where both fit, `layout` has to say;
            - a map-style torch Dataset, a list or a tuple; its items are an image, (image, label, ...), or a mapping
              with "image" and perhaps "label". An image is a PIL image, a tensor [C, H, W] or [H, W], or an array
              [H, W], [H, W, C] or [C, H, W] by the rule above. Each is read once;
            - a pandas data frame with a column of files' names or of PIL images, and perhaps one of labels (integers or words).
        labels: N integers (tensor, array or list); replaces the labels that `obj` has.
        layout: "NCHW" or "NHWC", for four-dimensional arrays and tensors and the images of a Dataset.
        name, split: of the ImageSet; left alone where `obj` is one.
        value_range: None takes uint8 and floats in [0, 1]; (lo, hi), the values of black and white, any numbers between them, and
            "auto" whatever `vaefast.data.value_range.pixel_range` can tell the range of.

    Raises:
        DataError: nothing in it, more than memory holds, other shapes or dtypes, images of different sizes, NaN, infinities or
            values outside [0, 1] (the first such image and value are named), labels that do not fit.
        ArgumentError: `obj` is of another type, or an unknown layout.
    """
    return read_images(obj, name=name, labels=labels, layout=layout, split=split, value_range=value_range)[0]


def read_images(obj: Any, *, name: str = "array", labels: Any = None, layout: str | None = None, split: str = "train",
                value_range: ValueRange | None = None) -> tuple[ImageSet, str]:
    """`as_image_set`, and a sentence on the range that was taken, where that is not obvious."""
    if layout not in (None, "NCHW", "NHWC"):
        raise ArgumentError(f'layout must be "NCHW" or "NHWC", not {layout!r}.')
    value_range = None if value_range is None else checked_range(value_range)
    if isinstance(obj, ImageSet):
        if labels is None:
            return obj, ""
        return replace(obj, labels=as_labels(labels, len(obj)), classes=None), ""
    image_labels: torch.Tensor | None = None
    classes: tuple[str, ...] | None = None
    if isinstance(obj, torch.Tensor):
        images = from_tensor(obj, layout)
    elif isinstance(obj, np.ndarray) and obj.dtype != object:
        images = from_array(obj, layout)
    elif is_frame(obj):
        pictures, image_labels, classes = pictures_of_frame(obj)
        images = torch.from_numpy(pictures) if isinstance(pictures, np.ndarray) else _from_items(pictures, layout)[0]
    elif hasattr(obj, "__len__") and hasattr(obj, "__getitem__") and not isinstance(obj, (str, bytes, Mapping)):
        images, image_labels = _from_items(obj, layout)
    else:
        raise ArgumentError(
            f"images cannot be taken from a {type(obj).__name__}; pass a tensor, an array, a map-style Dataset or an "
            "ImageSet (vaefast.data.load reads files)."
        )
    if labels is not None:
        image_labels, classes = as_labels(labels, len(images)), None
    taken = None if value_range is None else pixel_range(images, value_range)
    images = _checked(images) if taken is None else taken.unit(images)
    return ImageSet(images, image_labels, name=name, split=split, classes=classes), taken.told() if taken else ""


def _plain_tensor(tensor: torch.Tensor, what: str = "images") -> torch.Tensor:
    """The tensor on the CPU. Raises DataError for one that holds its values in another way than all of them, side by side."""
    if tensor.is_nested or tensor.layout != torch.strided or tensor.is_meta:
        kind = "nested" if tensor.is_nested else "meta" if tensor.is_meta else str(tensor.layout).removeprefix("torch.")
        raise DataError(f"{what} {'are' if what == 'images' else 'is'} a tensor of kind {kind}; a dense tensor with all of its "
                        "values was expected: convert first.")
    if tensor.is_floating_point() and tensor.element_size() == 1:
        raise wrong_dtype(tensor.dtype, what)
    return tensor.detach().cpu()


def from_tensor(tensor: torch.Tensor, layout: str | None) -> torch.Tensor:
    tensor = _plain_tensor(tensor)
    if tensor.ndim == 3 and layout is None:
        tensor = tensor[:, None]
    if tensor.ndim != 4:
        raise DataError(f"images have shape {list(tensor.shape)}; [N, C, H, W] or [N, H, W] was expected.")
    if layout == "NHWC":
        tensor = tensor.permute(0, 3, 1, 2)
    elif layout is None and tensor.shape[1] not in _CHANNELS and tensor.shape[3] in _CHANNELS:
        raise DataError(
            f"a tensor of shape {list(tensor.shape)} looks like [N, H, W, C]; permute it to [N, C, H, W] or pass "
            'layout="NHWC" (or layout="NCHW" if it is right).'
        )
    if 0 in tensor.shape:
        raise DataError(f"images have shape {list(tensor.shape)}; there is nothing in them.")
    return tensor


def from_array(array: np.ndarray, layout: str | None) -> torch.Tensor:
    if 0 in array.shape:
        raise DataError(f"images have shape {list(array.shape)}; there is nothing in them.")
    if np.ma.is_masked(array):
        raise DataError("images are a masked array, and what is masked has no value; fill it first (array.filled(0)).")
    if array.ndim == 4:
        layout = layout or _layout_of(array.shape[1:], f"an array of shape {list(array.shape)}")
    if array.dtype.kind not in "bfui":
        raise wrong_dtype(array.dtype)
    if array.dtype.kind == "f" and array.dtype not in (np.float16, np.float32, np.float64):
        array = array.astype(np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()  # torch takes neither without a warning or an error
    return from_tensor(torch.from_numpy(array), layout)


def _layout_of(shape: Sequence[int], what: str) -> str:
    first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
    if first != last:
        return "NCHW" if first else "NHWC"
    why = "could be [N, C, H, W] or [N, H, W, C]" if first else "has no axis of 1, 3 or 4 channels first or last"
    raise DataError(f'{what} {why}; pass layout="NCHW" or layout="NHWC".')


def _from_items(items: Any, layout: str | None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Fill one tensor from the items of a Dataset, one after the other."""
    count = len(items)
    if count == 0:
        raise DataError("the Dataset is empty; at least one image is needed.")
    images = torch.empty(0)
    labels: list[int] = []
    for i in range(count):
        picture, label = split_item(items[i], i)
        image = item_image(picture, i, layout)
        if i == 0:
            shape = (count, *image.shape)
            require(shape, image.element_size(), f"the {type(items).__name__} is held whole, which takes")
            images = torch.empty(shape, dtype=image.dtype)
        if image.shape != images.shape[1:]:
            raise DataError(
                f"item 0 is an image [C, H, W] = {list(images.shape[1:])} but item {i} is {list(image.shape)}; all "
                "must have the same shape: resize them first."
            )
        if image.dtype != images.dtype:
            raise DataError(f"item 0 is {images.dtype} but item {i} is {image.dtype}; all must have the same dtype.")
        images[i] = image
        if label is not None:
            labels.append(label)
    if labels and len(labels) < count:
        raise DataError(f"{len(labels):,} of {count:,} items have an integer label; all must have one, or none.")
    return images, as_labels(labels, count) if labels else None


def split_item(item: Any, index: int) -> tuple[Any, int | None]:
    """The image of an item, and its label where there is an integer one."""
    picture, label = image_and_label_of(item, f"item {index}")
    if isinstance(label, torch.Tensor):
        label = label.detach().cpu().numpy()
    if isinstance(label, np.ndarray) and label.size == 1:
        label = label.reshape(-1)[0]
    if isinstance(label, (int, np.integer)) and not isinstance(label, bool):
        return picture, int(label)
    return picture, None


def image_and_label_of(item: Any, what: str) -> tuple[Any, Any]:
    """What stands for the image and the label in a mapping, or first and second in a tuple; the item itself where it is neither.

    Raises:
        DataError: a mapping without an image.
    """
    if isinstance(item, Mapping):
        key = next((k for k in _IMAGE_KEYS if k in item), None)
        if key is None:
            raise DataError(f"{what} has the keys {sorted(map(str, item))}; one of {_IMAGE_KEYS} was expected.")
        return item[key], next((item[k] for k in LABEL_KEYS if k in item), None)
    if isinstance(item, (tuple, list)) and len(item) and not isinstance(item[0], (int, float)):
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def item_image(picture: Any, index: int, layout: str | None) -> torch.Tensor:
    """One image [C, H, W], of float32 or as it is; its values are checked later, all at once."""
    if isinstance(picture, Image.Image):
        try:
            array = to_uint8(picture, None)
        except Exception as error:
            raise DataError(f"item {index} is an image that cannot be decoded: {error}.") from None
        return torch.from_numpy(array).permute(2, 0, 1)
    if isinstance(picture, np.ndarray):
        if np.ma.is_masked(picture):
            raise DataError(f"item {index} is a masked array, and what is masked has no value; fill it first (array.filled(0)).")
        if picture.dtype.kind not in "bfui":
            raise wrong_dtype(picture.dtype, f"item {index}")
        if picture.ndim == 3:
            order = layout or _layout_of(picture.shape, f"item {index}, an array of shape {list(picture.shape)},")
            picture = np.moveaxis(picture, -1, 0) if order == "NHWC" else picture
        native = picture.dtype.newbyteorder("=")
        picture = torch.from_numpy(np.ascontiguousarray(picture, native if picture.dtype.kind != "f" else np.float32).copy())
    elif isinstance(picture, torch.Tensor):
        picture = _plain_tensor(picture, f"item {index}")
        if picture.ndim == 3 and layout == "NHWC":
            picture = picture.permute(2, 0, 1)
    else:
        raise DataError(f"item {index} is a {type(picture).__name__}; an image, a tensor or an array was expected.")
    if picture.ndim == 2:
        picture = picture[None]
    if picture.ndim != 3 or 0 in picture.shape:
        raise DataError(f"item {index} has shape {list(picture.shape)}; an image [C, H, W] or [H, W] was expected.")
    if picture.dtype == torch.bool:
        return picture.to(torch.uint8) * 255
    return picture.float() if picture.is_floating_point() else picture


def _checked(images: torch.Tensor) -> torch.Tensor:
    """Images [N, C, H, W] of any dtype as uint8, or as float32 in [0, 1]."""
    if 0 in images.shape:
        raise DataError(f"images have shape {list(images.shape)}; there is nothing in them.")
    if images.dtype == torch.uint8:
        return images.contiguous()
    if images.dtype == torch.bool:
        return images.to(torch.uint8).mul_(255).contiguous()
    if not images.is_floating_point():
        raise wrong_dtype(images.dtype)
    clamped = False
    for start, part in in_parts(images):
        clamped = outside(part, start) or clamped
    images = images.float().contiguous()
    return images.clamp(0.0, 1.0) if clamped else images
