"""Images of black and white alone."""

from __future__ import annotations

from dataclasses import replace

import torch

from vaefast.data.image_set import ImageSet


def binarized(images: ImageSet) -> ImageSet:
    """The images with every value at 0.5 or above made 1, and every other 0; uint8 holds them as 255 and 0."""
    pixels = images.images
    high = pixels >= 128 if pixels.dtype == torch.uint8 else pixels >= 0.5
    return replace(images, images=high.to(pixels.dtype) * (255 if pixels.dtype == torch.uint8 else 1),
                   note=" ".join(filter(None, [images.note, "Pixels are binarised at 0.5."])))
