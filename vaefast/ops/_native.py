"""Loads the compiled core vaefast._C and the Triton kernels, and keeps the reason when they do not load."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from vaefast.torch_private import current_stream

# The numbers of csrc/core/dtype.h.
DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3, torch.uint8: 4}

_PACKAGE = Path(__file__).resolve().parent.parent


def build_record() -> dict[str, Any]:
    """What the build wrote about itself: compiler, instruction sets, CUDA, or why there is none."""
    try:
        record: dict[str, Any] = json.loads((_PACKAGE / "_build.json").read_text())
    except (OSError, ValueError):
        return {"built": False, "reason": "the compiled core was never built (pip install . builds it)"}
    return record


try:
    # torch comes first (above), so that its OpenMP runtime and ours are one.
    from vaefast import _C
except ImportError as error:
    _C = None
    _record = build_record()
    _missing: str | None = (
        f"vaefast._C does not load: {error}" if _record.get("built") else str(_record.get("reason", error))
    )
else:
    _missing = None


def core() -> Any:
    """The module vaefast._C. Only for callers that `why_missing` has let through."""
    return _C


def why_missing() -> str | None:
    """Why the compiled core is not there, or None where it is."""
    return _missing


@cache
def why_no_cuda() -> str | None:
    """Why the compiled core has no CUDA kernels, or None where it has."""
    if _missing:
        return _missing
    if core().with_cuda:
        return None
    return "built without CUDA: " + str(build_record().get("cuda", {}).get("reason", "no reason recorded"))


@cache
def kernels(name: str) -> ModuleType:
    """The Triton module vaefast.kernels.<name>, imported when it is first needed.

    In a checkout that was built in place and not installed, the folder kernels/ is found beside vaefast/.
    """
    if importlib.util.find_spec("vaefast.kernels") is None:
        folder = _PACKAGE.parent / "kernels"
        spec = importlib.util.spec_from_file_location(
            "vaefast.kernels", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec is None or spec.loader is None or not folder.is_dir():
            raise ModuleNotFoundError("vaefast.kernels is not installed")
        package = importlib.util.module_from_spec(spec)
        sys.modules["vaefast.kernels"] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f"vaefast.kernels.{name}")


def values(fields: tuple[Any, ...]) -> list[Any]:
    """Fields of an argument struct as vaefast._C takes them: tensors as addresses (None as null), dtypes as numbers."""
    return [
        v if (kind := type(v)) is int or kind is float or kind is bool
        else v.data_ptr() if kind is torch.Tensor
        else 0 if v is None
        else DTYPES[v] if kind is torch.dtype
        else v.data_ptr() if isinstance(v, torch.Tensor)
        else v
        for v in fields
    ]  # fmt: skip


def run(name: str, x: torch.Tensor, *fields: object) -> None:
    """Run the kernel `name` of the compiled core on x's device, its current stream and torch's number of threads.

    `fields` are those of the kernel's struct in csrc/core/<op>_args.h, in order. Whoever calls holds the tensors;
    addresses go out only for the length of the call.
    """
    if x.is_cuda:
        device = x.device.index
        getattr(_C, name + "_cuda")(*values(fields), device, current_stream(device))
    else:
        getattr(_C, name + "_cpu")(*values(fields), torch.get_num_threads())


def on_gpu(x: torch.Tensor) -> bool:
    """Whether `run` takes x to a GPU's kernels."""
    return x.is_cuda


def has_products(x: torch.Tensor) -> bool:
    """Whether `run` takes x to a GPU whose tensor cores multiply as csrc/cuda/mma.h does."""
    return on_gpu(x) and (not x.is_cuda or _capability(x.device.index) >= (8, 0))


@cache
def _capability(device: int) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """`x` [..., k] itself where its rows have unit stride, as the kernels need, else a contiguous copy."""
    return x if x.stride(-1) == 1 or x.shape[-1] <= 1 else x.contiguous()
