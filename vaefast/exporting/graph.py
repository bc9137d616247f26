"""A part as a graph of PyTorch's own operators, by torch.export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vaefast.errors import ExportError, first_line
from vaefast.exporting.parts import Part
from vaefast.exporting.values import BATCH
from vaefast.models.mode import evaluating

_OPERATOR = type(torch.ops.aten.add.Tensor)
EXAMPLES = 3
"""Rows that the graph is made of; it takes any number."""
OWN = ("aten", "prims", "prim")
"""Namespaces of PyTorch's own operators."""


class Named(nn.Module):
    """A part whose inputs are given by name, as the graph has them, and whose outputs are a tuple.

    Args:
        part: whose module is called.

    torch.export takes the names from the signature, and of `**inputs` it writes guards that cannot be run (torch 2.14): all names
    that a part may have stand there, and those that this one has not are None.
    """

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part, self.names = part.module, [value.name for value in part.inputs]

    def forward(self, images: Tensor | None = None, x: Tensor | None = None, z: Tensor | None = None, u: Tensor | None = None,
                choice: Tensor | None = None, eps: Tensor | None = None, labels: Tensor | None = None,
                condition: Tensor | None = None) -> tuple[Tensor, ...]:
        given = {"images": images, "x": x, "z": z, "u": u, "choice": choice, "eps": eps, "labels": labels, "condition": condition}
        out = self.part(*(given[name] for name in self.names))
        return out if isinstance(out, tuple) else (out,)


def drawn(part: Part, n: int, seed: int) -> dict[str, Tensor]:
    """n rows of each of the part's inputs, by name."""
    generator = torch.Generator().manual_seed(seed)
    return {value.name: value.draw(n, generator) for value in part.inputs}


def shapes_of(part: Part) -> dict[str, Any]:
    """Which axes of the inputs may have any size: the first, one for all."""
    batch = Dim(BATCH, min=1)
    return {value.name: {0: batch} for value in part.inputs}


@torch.no_grad()
def graph_of(part: Part) -> ExportedProgram:
    """The graph, with a batch of any size.

    Raises:
        ExportError: it cannot be made, or has operators that other programs do not know, or random ones.
    """
    module = Named(part)
    with evaluating(module):
        try:
            program = _exported(module, drawn(part, EXAMPLES, seed=0), shapes_of(part))
        except Exception as error:  # torch raises many kinds, some of them private
            raise ExportError(f"the {part.name} cannot be exported: {reason_of(error)}") from error
    if foreign := sorted(operators(program)):
        raise ExportError(f"the {part.name} cannot be exported: its graph has {', '.join(foreign)}, which other programs do not "
                          "know or which draws random numbers; build its networks of PyTorch's own operators.")
    return program


def reason_of(error: Exception) -> str:
    """The last sentence of what torch's exporters say, whose errors are chains of pages."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return first_line(error, 300)


def _exported(module: nn.Module, inputs: dict[str, Tensor], shapes: Any) -> ExportedProgram:
    """By the calls that the module makes, or, where these ask for len(x) and the like, by its code."""
    try:
        return torch.export.export(module, (), inputs, dynamic_shapes=shapes, strict=False)
    except Exception:
        return torch.export.export(module, (), inputs, dynamic_shapes=shapes, strict=True)


def operators(program: ExportedProgram) -> set[str]:
    """Names of the operators of a graph that are not PyTorch's own, or that draw random numbers."""
    nodes = [node for module in program.graph_module.modules() for node in getattr(getattr(module, "graph", None), "nodes", ())]
    return {str(node.target) for node in nodes if isinstance(node.target, _OPERATOR)
            and (node.target.namespace not in OWN or torch.Tag.nondeterministic_seeded in node.target.tags and _draws(node))}


def _draws(node: Any) -> bool:
    """Whether an operator that may draw does: attention does for its dropout alone."""
    if node.target.namespace == "aten" and "scaled_dot_product" in node.target.name():
        return bool(node.args[4] if len(node.args) > 4 else node.kwargs.get("dropout_p", 0.0))
    return True


def largest_difference(given: Mapping[str, Tensor] | Any, expected: Any) -> float:
    """Largest absolute difference of tensors that should be the same, relative to the largest value where that is above 1;
    infinite where one is not finite."""
    worst = 0.0
    for one, other in zip(given, expected, strict=True):
        if one.shape != other.shape or not one.isfinite().all() or not other.isfinite().all():
            return float("inf")
        if other.numel():
            scale = max(1.0, float(other.abs().max()))
            worst = max(worst, float((one.double() - other.double()).abs().max()) / scale)
    return worst
