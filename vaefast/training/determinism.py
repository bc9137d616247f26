"""Algorithms that give the same bits every time, for as long as a run lasts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.utils.deterministic

from vaefast.errors import ArgumentError

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_REPRODUCIBLE = (":4096:8", ":16:8")
"""Workspaces with which cuBLAS adds in one order whatever runs beside it."""


@contextmanager
def deterministic_algorithms(device: torch.device) -> Iterator[None]:
    """PyTorch's deterministic algorithms inside, of cuDNN and cuBLAS, too; the caller's settings again afterwards. vaefast's own
    kernels add in a fixed order whatever these say.

    Raises:
        ArgumentError: an operation inside has no deterministic algorithm on the device; or cuBLAS has begun to work, or is set,
            in another way (the environment's CUBLAS_WORKSPACE_CONFIG, which is set here where nothing has used the GPU yet).
    """
    if device.type == "cuda":
        _reproducible_products()
    cudnn, fill = torch.backends.cudnn, cast(Any, torch.utils.deterministic)  # whose types lack its switch
    before = (cudnn.deterministic, cudnn.benchmark, fill.fill_uninitialized_memory)
    mode, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    # memory that is read before it is written would be a fault of its own: filling all of it costs a kernel an operation
    cudnn.deterministic, cudnn.benchmark, fill.fill_uninitialized_memory = True, False, False
    try:
        yield
    except RuntimeError as error:
        if "does not have a deterministic implementation" not in str(error):
            raise
        name = str(error).split()[0]
        raise ArgumentError(f"deterministic is set, but {name} has no deterministic algorithm on {device.type}; leave it out, or "
                            "use networks without it.") from error
    finally:
        torch.use_deterministic_algorithms(mode, warn_only=warn)
        cudnn.deterministic, cudnn.benchmark, fill.fill_uninitialized_memory = before


def _reproducible_products() -> None:
    given = os.environ.get(_WORKSPACE)
    if given is None and not torch.cuda.is_initialized():
        os.environ[_WORKSPACE] = given = _REPRODUCIBLE[0]
    if given not in _REPRODUCIBLE:
        raise ArgumentError(f"deterministic is set, but {_WORKSPACE} is {given!r}; set it to {_REPRODUCIBLE[0]} before the "
                            "program starts.")
