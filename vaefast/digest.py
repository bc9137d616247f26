"""One digest of tensors, by which data, latents and weights are told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

_CHUNK_BYTES = 1 << 26


def tensor_digest(tensors: Iterable[tuple[str, Tensor | None]]) -> str:
    """SHA-256 (hex) of each tensor's label, dtype, shape and values, in the given order; None counts, too."""
    sha = hashlib.sha256()
    for label, tensor in tensors:
        if tensor is None:
            sha.update(f"{label}none;".encode())
            continue
        sha.update(f"{label}{tensor.dtype} {list(tensor.shape)};".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        for start in range(0, flat.size, _CHUNK_BYTES):
            sha.update(flat[start:start + _CHUNK_BYTES].data)
    return sha.hexdigest()
