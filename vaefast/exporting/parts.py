"""The parts of a model that can be exported: for each the module, its inputs and its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vaefast import models
from vaefast.api import ImageModel, Model, SecondStage
from vaefast.errors import ArgumentError
from vaefast.exporting.modules import (
    DecoderPart,
    EncoderPart,
    FlowCodes,
    MixtureCodes,
    PriorCodes,
    SamplerPart,
    SecondVAECodes,
)
from vaefast.exporting.values import Value
from vaefast.models.condition import is_conditional
from vaefast.models.flow_matching import STEPS

PartName = Literal["encoder", "decoder", "second-stage", "sampler"]
PARTS: tuple[PartName, ...] = get_args(PartName)


@dataclass(frozen=True)
class Part:
    """One graph: `module` takes the inputs, in this order."""

    name: PartName
    module: nn.Module
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def parts_of(model: Model, steps: int | None = None) -> tuple[dict[PartName, Part], dict[PartName, str]]:
    """The parts of a model in float32 on the CPU, and, of the others that there might be, why they cannot be exported.

    Args:
        model: any; its weights are shared, not copied.
        steps: of the solver of a second stage that is a flow; `sample`'s default if None.

    Raises:
        ArgumentError: `steps` of a model that has no flow, or fewer than 1.
    """
    first, second = getattr(model, "first", None), getattr(model, "second", None)
    if steps is not None and not isinstance(second, models.FlowMatching):
        raise ArgumentError(f"steps is {steps!r}, which is for a second stage that is a flow; leave it out.")
    steps = STEPS if steps is None else steps
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ArgumentError(f"steps is {steps!r}; expected a whole number, 1 or more.")
    refused = _refused(model, first)
    found: dict[PartName, Part] = {}
    if isinstance(model, ImageModel) and first is not None:
        if model.encodes and "encoder" not in refused:
            found["encoder"] = _encoder(model, first)
        if "decoder" not in refused:
            found["decoder"] = _decoder(model, first)
    if second is not None and "second-stage" not in refused:
        found["second-stage"] = _second_stage(second, steps)
    if "decoder" in found and "sampler" not in refused:
        found["sampler"] = _sampler(found["decoder"], found.get("second-stage"), _prior(first))
    return found, refused


def _refused(model: Model, first: Any) -> dict[PartName, str]:
    """Why parts of this model have no graph, in a sentence each."""
    if isinstance(first, models.SequentialVAE):
        why = ("a SequentialVAE normalises by the statistics of each batch, and fills batches up with draws of its own, so that "
               "a graph of a batch of any size would be another model")
        return {"encoder": why, "decoder": why, "sampler": why}
    if not isinstance(model, (ImageModel, SecondStage)):
        why = f"a model of kind {model.kind!r} takes and gives tables of mixed columns, which are no tensors"
        return dict.fromkeys(PARTS, why)
    if getattr(first, "autoregressive", False):
        why = "its decoder draws pixel after pixel with random numbers, each from those before it"
        return {"decoder": why, "sampler": why}
    return {}


def _encoder(model: Any, first: Any) -> Part:
    if model.draws_images:
        given = Value("images", model.data_shape, "images, channels first, black 0 and white 1", limits=(0.0, 1.0))
    else:
        units = getattr(first, "standardiser", None)
        given = Value("x", model.data_shape, "examples in their own units",
                      typical=None if units is None else (units.mean, units.std))
    k = (model.latent_dim,)
    spread = "standard deviation of q(z|x)" + (", before its flow" if getattr(first, "flow", None) is not None else "")
    return Part("encoder", EncoderPart(first), (given, *_condition(first)),
                (Value("mean", k, "mean of q(z|x), the usual code"), Value("std", k, spread, limits=(0.0, torch.inf))))


def _decoder(model: Any, first: Any) -> Part:
    images = len(_shape(model)) == 3
    out = (Value("images", _shape(model), "images, channels first, black 0 and white 1", limits=(0.0, 1.0)) if images else
           Value("x", _shape(model), "examples in their own units"))
    prior = _prior(first)
    codes = Value("z", prior.shape, "codes; as they are distributed here they are draws of the prior", prior.kind, prior.limits,
                  prior.std)
    return Part("decoder", DecoderPart(first, images), (codes, *_condition(first)), (out,))


def _shape(model: Any) -> tuple[int, ...]:
    return tuple(getattr(model, "data_shape", None) or model.image_shape)


def _prior(first: Any) -> Value:
    """How the codes of the prior are drawn, as an input."""
    uniform = getattr(first, "z", None) == "uniform"
    return Value("u", (first.latent_dim,), "noise", "uniform" if uniform else "normal", (-1.0, 1.0) if uniform else None,
                 float(getattr(first, "prior_std", 1.0)))


def _condition(module: Any) -> tuple[Value, ...]:
    """What a module is told: labels, vectors, or nothing."""
    if not is_conditional(module):
        return ()
    if dims := getattr(module, "condition_dim", 0):
        units = module.condition_units
        return (Value("condition", (dims,), "vectors that the model is conditioned on, in their own units",
                      typical=(units.mean, units.std)),)
    shares = getattr(module, "shares", None)
    return (_labels(torch.full((module.classes,), 1 / module.classes) if shares is None else shares),)


def _labels(shares: Tensor) -> Value:
    shares = shares.double()
    return Value("labels", (), "class of each row", "classes", shares=tuple((shares / shares.sum()).tolist()))


def _second_stage(second: Any, steps: int) -> Part:
    noise = Value("u", (second.latent_dim,), "noise", "normal")
    out = (Value("z", noise.shape, "codes for the decoder"),)
    if isinstance(second, models.FlowMatching):
        return Part("second-stage", FlowCodes(second, steps), (noise, *_condition(second)), out)
    eps = Value("eps", noise.shape, "noise", "normal")
    if isinstance(second, models.Mixture):
        choice = Value("choice", (), "in whose component's share it lies", "uniform", (0.0, 1.0))
        told: tuple[Value, ...] = ()
        if second.classes:
            told = (_labels(torch.zeros(second.classes, dtype=torch.double, device=second.weights.device).index_add_(
                0, second.component_class, second.weights)),)
        return Part("second-stage", MixtureCodes(second), (choice, eps, *told), out)
    return Part("second-stage", SecondVAECodes(second), (noise, eps), out)


def _sampler(decoder: Part, second: Part | None, prior: Value) -> Part:
    told_decoder = decoder.inputs[1:]
    if second is None:  # the noise has the deviation 1, or the prior's own range
        noises: tuple[Value, ...] = (Value("u", prior.shape, prior.meaning, prior.kind, prior.limits),)
        codes: nn.Module = PriorCodes(prior.std)
        told_codes: tuple[Value, ...] = ()
    else:
        noises = tuple(v for v in second.inputs if v.name not in ("labels", "condition"))
        codes, told_codes = second.module, second.inputs[len(noises):]
    module = SamplerPart(codes, decoder.module, len(noises), bool(told_codes), bool(told_decoder))
    return Part("sampler", module, (*noises, *(told_codes or told_decoder)), decoder.outputs)
