"""Files of weights that others wrote: safetensors, or PyTorch's .pth of plain tensors, from which no code is run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from vaefast.errors import CheckpointError, first_line


def read_tensors(path: Path, expected: str) -> dict[str, Tensor]:
    """Tensors by name.

    Args:
        path: .safetensors, or .pth.
        expected: what the file should be, for errors, such as "torchvision's vgg16".

    Raises:
        CheckpointError: it cannot be read, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile,
            safetensors.SafetensorError) as error:  # fmt: skip
        raise CheckpointError(f"{path} cannot be read as a file of weights ({first_line(error, 120)}); fetch it again.") from None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"{path} holds no mapping of names to tensors; pass {expected}.")
    return tensors
