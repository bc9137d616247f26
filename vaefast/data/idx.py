"""Reading IDX files, the form MNIST and its relatives come in.

Format (Y. LeCun's MNIST page): two zero bytes, a type byte (8 = unsigned byte), the number of dimensions, one
big-endian uint32 per dimension, then the values in C order. As one big-endian number the first four bytes are 2051
for images [N, H, W] and 2049 for labels [N].
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vaefast.errors import DataError, DataNotFoundError

_KINDS = {3: "images", 1: "labels"}
_CHUNK = 1 << 24
_MAX_VALUES = 1 << 36  # 64 GiB of pixels: beyond this the header is damaged, not the machine small


@dataclass(frozen=True)
class IdxFile:
    """The content of one IDX file.

    Attributes:
        values: uint8, [N, H, W] for images or [N] for labels; writable.
        md5: hex MD5 of the uncompressed content, header included.
    """

    path: Path
    values: np.ndarray
    md5: str


def read_idx(path: str | Path, ndim: int) -> IdxFile:
    """Read an IDX file of unsigned bytes with `ndim` dimensions (3: images, 1: labels), gzip-compressed or not.

    Compression is recognised by content, not by the file's name.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it cannot be read, is truncated, holds something else, or has bytes after its end.
    """
    path = Path(path)
    want = _KINDS.get(ndim, f"{ndim}-dimensional values")
    try:
        with open(path, "rb") as plain:
            if plain.read(2) == b"\x1f\x8b":
                plain.seek(0)
                with gzip.GzipFile(fileobj=plain, mode="rb") as packed:
                    return _parse(packed, path, ndim, want)
            plain.seek(0)
            return _parse(plain, path, ndim, want)
    except FileNotFoundError:
        raise DataNotFoundError(f"{path} does not exist; an IDX file of {want} was expected there.") from None
    except EOFError:
        raise DataError(
            f"{path} is a truncated gzip file: it ends before its data do; fetch or copy it again."
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}); fetch or copy it again.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None


def _parse(stream: BinaryIO | gzip.GzipFile, path: Path, ndim: int, want: str) -> IdxFile:
    magic = stream.read(4)
    if len(magic) < 4:
        raise DataError(
            f"{path} holds {len(magic)} bytes; an IDX file of {want} was expected: fetch or copy it again."
        )
    if magic[:2] != b"\0\0" or magic[3] == 0:
        raise DataError(
            f"{path} is not an IDX file: it starts with bytes {magic.hex(' ')}, where {want} start with "
            f"00 00 08 {ndim:02x}; check that this is the right file."
        )
    if magic[2] != 8:
        raise DataError(
            f"{path} is an IDX file of value type 0x{magic[2]:02x}; unsigned bytes (0x08) were expected: "
            "convert it to bytes first."
        )
    if magic[3] != ndim:
        held = _KINDS.get(magic[3], f"{magic[3]}-dimensional values")
        raise DataError(
            f"{path} holds {held} (magic {2048 + magic[3]}), but {want} (magic {2048 + ndim}) were expected; "
            "check that the files are not swapped."
        )
    header = stream.read(4 * ndim)
    if len(header) < 4 * ndim:
        raise DataError(f"{path} is truncated inside its IDX header; fetch or copy it again.")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
    count = math.prod(shape)
    size = "x".join(map(str, shape))
    if count == 0 or count > _MAX_VALUES:
        raise DataError(f"{path} states an impossible size of {size}; fetch or copy it again.")
    content = bytearray()
    while len(content) < count:  # in pieces, so that a header that lies cannot ask for all memory at once
        piece = stream.read(min(_CHUNK, count - len(content)))
        if not piece:
            raise DataError(
                f"{path} is truncated: its header states {size} = {count:,} bytes of {want}, but only "
                f"{len(content):,} are there; fetch or copy it again."
            )
        content += piece
    if stream.read(1):  # for gzip this also checks the CRC at the end
        raise DataError(
            f"{path} has bytes after the {size} {want} that its header states; fetch or copy it again."
        )
    md5 = hashlib.md5(magic + header, usedforsecurity=False)
    md5.update(content)
    return IdxFile(path, np.frombuffer(content, np.uint8).reshape(shape), md5.hexdigest())
