"""Tensors and JSON on disk: written whole or not at all, checked when read. No pickle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaefast.errors import CheckpointError
from vaefast.files import write_atomically


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path, what: str) -> Any:
    """Parsed JSON. Raises `CheckpointError` naming `what` the file is if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; it should hold {what}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); it should hold {what}.") from None


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none to read, for those to whom the rest is still worth having."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else \
            hashlib.sha256(file.read()).hexdigest()


def save_tensors(stem: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """`stem`.safetensors, then `stem`.json: `meta` and the checksum, which makes the pair count as complete.

    An existing pair stays valid until the new one is: the new tensors are in place before the JSON that vouches for
    them, and a checksum that does not fit is reported as damage, never loaded.
    """
    tensors = _apart({name: t.detach().to("cpu").contiguous() for name, t in tensors.items()})
    digest = ""

    def write(path: Path) -> None:
        nonlocal digest
        try:
            save_file(tensors, path)
        except SafetensorError as error:  # its word for a full disk
            raise OSError(None, str(error)) from error
        digest = file_digest(path)

    write_atomically(stem.with_name(stem.name + ".safetensors"), write)
    write_json(stem.with_name(stem.name + ".json"), {**meta, "sha256": digest})


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each in memory of its own: tied weights, for which the file's format has no word, are written twice."""
    apart: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in taken else tensor
        taken.add(place)
    return apart


def load_tensors(stem: Path, what: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and meta of a pair that `save_tensors` wrote; `CheckpointError` if it is not whole."""
    meta = read_json(stem.with_name(stem.name + ".json"), what)
    path = stem.with_name(stem.name + ".safetensors")
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; it should hold the tensors of {what}.")
    if not isinstance(meta, dict) or file_digest(path) != meta.get("sha256"):
        raise CheckpointError(f"{path} is damaged: its checksum is not the one in {stem.name}.json.")
    try:
        return load_file(path), meta
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from None
