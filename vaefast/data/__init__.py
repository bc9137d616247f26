"""Data sets: files, arrays and archives in, `ImageSet` (uint8 tensors and labels) out, or `ArraySet` of data that are no images;
and points on known manifolds."""

from vaefast.data.array_set import ArraySet, as_array_set
from vaefast.data.arrays import as_image_set
from vaefast.data.cache import cache_dir
from vaefast.data.catalog import about, load, names
from vaefast.data.image_set import ImageSet, to_float
from vaefast.data.manifold import manifold
from vaefast.data.table import Schema, Table
from vaefast.data.value_range import to_range

__all__ = ["ArraySet", "ImageSet", "Schema", "Table", "about", "as_array_set", "as_image_set", "cache_dir", "load", "manifold",
           "names", "to_float", "to_range"]
