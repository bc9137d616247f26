"""Data sets: files, arrays and archives in, `ImageSet` (uint8 tensors and labels) out."""

from vaefast.data.cache import cache_dir
from vaefast.data.catalog import about, load, names
from vaefast.data.image_set import ImageSet, to_float

__all__ = ["ImageSet", "about", "cache_dir", "load", "names", "to_float"]
