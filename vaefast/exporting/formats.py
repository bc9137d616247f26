"""A graph as a file, and the file run again by what will run it elsewhere."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.export import ExportedProgram

from vaefast.errors import ArgumentError, ExportError
from vaefast.exporting.graph import reason_of, shapes_of
from vaefast.exporting.parts import Part

GraphFormat = Literal["onnx", "torch-export"]
Format = Literal["onnx", "torch-export", "safetensors"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[str, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
LARGEST_ONNX = 1 << 30
"""Bytes of weights beyond which an ONNX file, of which protobuf takes 2 GiB, has them in a second file beside it."""

Outputs = tuple[Tensor, ...]
Run = Callable[[Mapping[str, Tensor]], Outputs]


def need_packages(to: str) -> dict[str, str]:
    """Versions of the packages that a format needs besides torch.

    Raises:
        ArgumentError: one is not installed.
    """
    if to != "onnx":
        return {}
    found = {}
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            found[name] = __import__(name).__version__
        except ImportError:
            raise ArgumentError(f"{name} is not installed, which ONNX files are written and checked with; pip install "
                                "'vaefast[export]'.") from None
    return found


def write(to: GraphFormat, program: ExportedProgram, part: Part, path: Path) -> None:
    """Write the graph of a part to `path`; the weights of a large ONNX file lie beside it, as `path`.data.

    Raises:
        ExportError: it has an operator that the format has no word for.
    """
    if to == "torch-export":
        torch.export.save(program, path)
        return
    size = sum(t.numel() * t.element_size() for t in program.state_dict.values())
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # torch's own, on how it does this
            torch.onnx.export(program, (), str(path), input_names=[v.name for v in part.inputs],
                              output_names=[v.name for v in part.outputs], dynamic_shapes=shapes_of(part), dynamo=True,
                              external_data=size > LARGEST_ONNX, verbose=False)
    except Exception as error:  # of many kinds, some of them private
        raise ExportError(f"the {part.name} cannot be written as ONNX: {reason_of(error)}") from error


def runner(to: GraphFormat, path: Path, part: Part) -> Run:
    """What runs the file at `path` on inputs by name, on the CPU: onnxruntime, or torch.export.load."""
    if to == "torch-export":
        module = torch.export.load(path).module()

        def by_torch(inputs: Mapping[str, Tensor]) -> Outputs:
            with torch.no_grad():
                out: Outputs = module(**inputs)
            return out

        return by_torch
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # no warnings of its optimizer's
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in part.outputs]

    def by_onnxruntime(inputs: Mapping[str, Tensor]) -> Outputs:
        out: Any = session.run(names, {name: value.numpy() for name, value in inputs.items()})
        return tuple(torch.from_numpy(value) for value in out)

    return by_onnxruntime
