"""`vaefast.export`: a model's parts as files that are checked against it, and a file that says what they are."""

from __future__ import annotations

import copy
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch

from vaefast.api import Model, load
from vaefast.api.base import versions
from vaefast.errors import ArgumentError, ExportError, RunFolderError
from vaefast.exporting.formats import FORMATS, SUFFIXES, Format, GraphFormat, need_packages, runner, write
from vaefast.exporting.graph import Named, drawn, graph_of, largest_difference, reason_of
from vaefast.exporting.parts import PARTS, Part, PartName, parts_of
from vaefast.models.mode import evaluating
from vaefast.training.storage import file_digest, write_json

FORMAT = 1
TOLERANCE = 1e-4
"""Most by which what a file gives may differ from what the model gives, relative to its largest value where that is above 1."""
BATCHES = (1, 2, 5, 16)
"""Sizes of batches that a file is checked on."""
REPORT = "export.json"


@dataclass
class Export:
    """What was written.

    Attributes:
        folder: where.
        parts: for each file what it takes and gives, by how much it differs from the model, and its digests, as export.json has
            it.
        left_out: parts that this model has not in a form that can be exported, and why.
        source: of a model of the Hub its name and commit.
    """

    folder: Path
    parts: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    source: str | None = None

    @property
    def largest_difference(self) -> float:
        """Of all files."""
        return max(float(part["check"]["largest_difference"]) for part in self.parts)


def export(model: Model | str | os.PathLike[str], out: str | os.PathLike[str], *, to: Format | Sequence[Format] = "onnx",
           what: PartName | Sequence[PartName] | None = None, steps: int | None = None,
           networks: str | bool | None = None) -> Export:
    """Write a model's parts as graphs of float32 without random operators, whose batch may be of any size, and check each.

    >>> vaefast.export("runs/mnist", "served", to="onnx", what="sampler")     # served/sampler.onnx, served/export.json

    Parts: "encoder" (images, float32 in [0, 1] -> mean and std of the posterior), "decoder" (codes -> images in [0, 1]),
    "second-stage" (noise -> codes), "sampler" (noise -> images, by the model's best way to draw). Noise is an input, which the
    caller draws as export.json says: so the same noise gives the same images. Labels or vectors of a model that is conditioned
    are inputs, too. Data that are no images are in their own units.

    Args:
        model: a model, or a folder (or name on the Hub) that `vaefast.load` takes.
        out: a folder that is not there yet, or is empty.
        to: "onnx" (PART.onnx, by torch.onnx; packages onnx, onnxscript and onnxruntime), "torch-export" (PART.pt2, for
            `torch.export.load`), "safetensors" (the whole model, model.safetensors and model.json, for `vaefast.load`); one or
            several.
        what: of "encoder", "decoder", "second-stage" and "sampler", for graphs; None: all that the model has.
        steps: of the solver, where the second stage is a flow; `sample`'s default if None. Each step is in the graph, twice.
        networks: of a folder, as for `vaefast.load`.

    Returns:
        What was written, as out/export.json has it.

    Raises:
        ArgumentError: a part that this model has not, a format that there is not, or whose packages are missing.
        ExportError: a part that cannot be exported, or gives something else than the model, by more than 1e-4. Nothing is kept.
        RunFolderError: `out` holds something, or cannot be written.
        CheckpointError: as `vaefast.load`.
    """
    formats = _chosen("to", to, FORMATS)
    wanted = None if what is None else _chosen("what", what, PARTS)
    graphs = [cast(GraphFormat, name) for name in formats if name != "safetensors"]
    if wanted is not None and not graphs:
        raise ArgumentError(f"what is {what!r}, which says what graphs are of; safetensors hold the whole model: leave it out.")
    if steps is not None and not graphs:
        raise ArgumentError(f"steps is {steps!r}, which is of graphs; safetensors hold the whole model: leave it out.")
    packages = {name: version for form in graphs for name, version in need_packages(form).items()}
    path = Path(out)
    _require_empty(path)
    if not isinstance(model, (Model, str, os.PathLike)):
        raise ArgumentError(f"model is of type {type(model).__name__}; expected a model such as vaefast.VAE, or the "
                            "folder of one.")
    if not isinstance(model, Model):
        model = load(model, device="cpu", networks=networks)
    done = Export(path, source=model.source)
    chosen = _parts(model, wanted, steps, done) if graphs else []
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        staged.mkdir(parents=True)
        for part in chosen:
            done.parts += _graphs(part, graphs, staged)
        if "safetensors" in formats:
            done.parts.append(_weights(model, staged))
        write_json(staged / REPORT, {"format": FORMAT, "kind": model.kind, "model": model.config(), "source": model.source,
                                     "tolerance": TOLERANCE,
                                     "parts": done.parts, "left_out": done.left_out, "versions": {**versions(), **packages}})
        os.replace(staged, path)
    except OSError as error:
        raise RunFolderError(f"cannot write {path}: {error.strerror or error}; free some space, or choose an out that you may "
                             "write to.") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return done


def _chosen(name: str, given: Any, known: Iterable[str]) -> list[Any]:
    """One word, or several, of those known, each once."""
    words = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    wrong = [word for word in words if word not in known]
    if wrong or not words:
        raise ArgumentError(f"{name} is {wrong[0] if wrong else given!r}; expected one or more of {', '.join(known)}.")
    return list(dict.fromkeys(words))


def _require_empty(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunFolderError(f"{path} {'is not empty' if path.is_dir() else 'is a file'}; an export needs a folder of its own. "
                             "Choose another out.")


def _parts(model: Model, wanted: list[PartName] | None, steps: int | None, done: Export) -> list[Part]:
    """The parts that are asked for; `left_out` gets those that there might be."""
    weights, halves = model.parameters(), (torch.float16, torch.bfloat16)  # a mixture's buffers are of float64
    if (any(t.device.type != "cpu" or t.dtype in halves for t in model.state_dict().values())
            or any(p.is_floating_point() and p.dtype != torch.float32 for p in weights)):
        model = copy.deepcopy(model).cpu().float()
    found, refused = parts_of(model, steps)
    if wanted is None:
        done.left_out = {str(name): why for name, why in refused.items()}
        if not found:
            raise ArgumentError(f"this model has no part that can be exported as a graph: {next(iter(refused.values()))}. Its "
                                "weights can be exported as safetensors.")
        return list(found.values())
    for name in wanted:
        if name not in found:
            why = refused.get(name) or f"a model of kind {model.kind!r} has {', '.join(found) or 'none'}"
            raise ArgumentError(f"what is {name!r}, which this model cannot be exported as: {why}.")
    return [found[name] for name in wanted]


def _graphs(part: Part, formats: list[GraphFormat], folder: Path) -> list[dict[str, Any]]:
    """Write one part in these formats, and check each file."""
    program, told = graph_of(part), []
    reference = Named(part)
    for to in formats:
        path = folder / f"{part.name}{SUFFIXES[to]}"
        write(to, program, part, path)
        difference = _checked(part, to, path, reference)
        told.append({"part": part.name, "to": to, "file": path.name,
                     "inputs": [value.as_input() for value in part.inputs],
                     "outputs": [value.as_output() for value in part.outputs],
                     "check": {"batches": list(BATCHES), "largest_difference": difference},
                     "sha256": {file.name: file_digest(file) for file in sorted(folder.glob(f"{path.name}*"))}})
    return told


def _checked(part: Part, to: GraphFormat, path: Path, reference: Named) -> float:
    """The largest difference between what the file gives and what the model gives, over batches of several sizes."""
    worst = 0.0
    try:
        run = runner(to, path, part)
        for seed, count in enumerate(BATCHES, start=1):
            inputs = drawn(part, count, seed)
            with evaluating(reference), torch.no_grad():
                expected = reference(**inputs)
            if not all(tensor.isfinite().all() for tensor in expected):
                raise ExportError(f"the {part.name} of this model gives NaN or infinity; nothing is kept.")
            worst = max(worst, largest_difference(run(inputs), expected))
    except ExportError:
        raise
    except Exception as error:  # of the runtime's own kinds
        raise ExportError(f"the {part.name} was exported as {to}, but the file cannot be run ({reason_of(error)}); nothing is "
                          "kept.") from error
    if not worst <= TOLERANCE:
        raise ExportError(f"the {part.name} was exported as {to}, but gives something else than the model, by {worst:.3g} where "
                          f"{TOLERANCE:g} is allowed; nothing is kept.")
    return worst


def _weights(model: Model, folder: Path) -> dict[str, Any]:
    """The whole model, as `model.save` writes it, read again."""
    model.save(folder)
    read = safetensors.torch.load_file(folder / "model.safetensors")
    saved = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    if read.keys() != saved.keys() or not all(torch.equal(read[name], saved[name]) for name in saved):
        raise ExportError("the weights were written as safetensors, but are others when they are read again; nothing is kept.")
    files = ("model.json", "model.safetensors")
    return {"part": "model", "to": "safetensors", "file": "model.safetensors", "inputs": [], "outputs": [],
            "check": {"batches": [], "largest_difference": 0.0}, "sha256": {name: file_digest(folder / name) for name in files}}
