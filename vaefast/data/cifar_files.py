"""The two archive forms of CIFAR-10 that hold exact pixels (A. Krizhevsky's page): Python batches and binary batches.

The Python batches are pickles. They are read by an unpickler that knows no name but the four that a pickled array
needs, and hands out plain stand-ins for these: nothing in a file can run code, or even build a NumPy object.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

PIXELS = 3 * 32 * 32


def parse_binary(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """A binary batch: records of one label byte and 3,072 pixels -> uint8 [n, 3, 32, 32], int64 [n].

    Raises:
        ValueError: not a whole number of records.
    """
    if not content or len(content) % (PIXELS + 1):
        raise ValueError(f"it has {len(content):,} bytes, which is not a whole number of records of {PIXELS + 1} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, PIXELS + 1)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def parse_python(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """A Python batch: a pickled dict with data [n, 3072] and labels -> uint8 [n, 3, 32, 32], int64 [n].

    Raises:
        ValueError: it is damaged, holds something else, or names anything that a batch has no need of.
    """
    try:
        batch = _BatchUnpickler(io.BytesIO(content)).load()
    except pickle.UnpicklingError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # damaged pickles raise whatever the damage leads to
        raise ValueError(f"it is damaged ({type(error).__name__})") from None
    if not isinstance(batch, dict):
        raise ValueError("it holds no batch")
    data, labels = (batch.get(key, batch.get(key.decode())) for key in (b"data", b"labels"))
    if not isinstance(data, _Array) or not isinstance(labels, list):
        raise ValueError("it holds no data and labels")
    pixels = data.uint8()
    if pixels.ndim != 2 or pixels.shape[1] != PIXELS or not all(type(label) is int for label in labels):
        raise ValueError("its data are not rows of 3,072 pixels with an integer label each")
    return pixels.reshape(-1, 3, 32, 32), np.asarray(labels, np.int64)


class _Dtype:
    """Stands in for numpy.dtype; only unsigned bytes are wanted."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code.decode("latin-1") if isinstance(code, bytes) else code

    def __setstate__(self, state: Any) -> None:
        pass


class _Array:
    """Stands in for numpy.ndarray: keeps the state as it is in the file."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def uint8(self) -> np.ndarray:
        state = self.state
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("its array is damaged")
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or dtype.code not in ("u1", "|u1") or not isinstance(raw, bytes):
            raise ValueError("its array does not hold unsigned bytes")
        if not isinstance(shape, tuple) or len(raw) != int(np.prod(shape)):
            raise ValueError(f"its array has {len(raw):,} bytes for shape {shape}")
        return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _encode(text: str, _encoding: str = "latin1") -> bytes:
    return text.encode("latin-1")  # how Python 3 writes bytes in the pickle protocols of Python 2


_STAND_INS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}


class _BatchUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="bytes")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a CIFAR-10 batch never does")
        return _STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")
