"""Which of a model's arguments nothing reads: those of a part, or of a kind of it, that the model is without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vaefast.errors import ArgumentError
from vaefast.models.gan_losses import LOSSES
from vaefast.nets.second_stage import DEPTH, WIDTH

Arguments = Mapping[str, Any]

GAMMA = ("gamma", "gamma_init")
SIZES = {"width": WIDTH, "depth": DEPTH}
"""Of a second stage; these values are in a model's config where nothing was given."""
NOT_READ = {"flow": GAMMA, "mixture": (*GAMMA, *SIZES)}
"""By kinds of a second stage."""
SECOND = tuple(f"second_{name}" for name in (*GAMMA, *SIZES))
USUAL = SIZES | {f"second_{name}": size for name, size in SIZES.items()}


@dataclass(frozen=True)
class Rule:
    """Arguments that others leave `unread`; `why`, with {names} of those; and what to do `instead` of leaving them out."""

    names: tuple[str, ...]
    unread: Callable[[Arguments], bool]
    why: str
    instead: str = ""


def _of_kind(key: str, prefix: str, kind: str) -> Rule:
    return Rule(tuple(prefix + name for name in NOT_READ[kind]), lambda given: given.get(key) == kind,
                f"which a second stage of kind {kind!r} has not")


def _none(key: str) -> Callable[[Arguments], bool]:
    return lambda given: given.get(key, "") is None


def _has_own(given: Arguments) -> bool:
    return given.get("encoder") is not None and given.get("nets") != "custom"


def _no_adversary(given: Arguments) -> bool:
    return given.get("adversary", "") is None and given.get("adversarial_weight") != 0


def _not_gamix(given: Arguments) -> bool:
    return given.get("nets", "gamix") != "gamix" or given.get("encoder") is not None


def _no_patchgan(given: Arguments) -> bool:
    return "adversary" in given and (given["adversary"] != "patchgan" or given.get("adversarial_weight") == 0)


def _no_noise(given: Arguments) -> bool:
    """The family of images is "bernoulli", where neither a name nor a decoder of one's own says another."""
    if "family" not in given or given.get("decoder") is not None or given.get("nets") == "custom":
        return False
    named = given["family"]
    return given.get("image_shape") is not None if named is None else named not in ("gaussian", "laplace")


def _no_code_adversary(given: Arguments) -> bool:
    return given.get("penalty") == "mmd" or given.get("regularizer", "adversarial") != "adversarial"


def _no_penalty(given: Arguments) -> bool:
    loss = given.get("loss")
    return isinstance(loss, str) and loss in LOSSES and (given.get("penalty") or LOSSES[loss].penalty) == "none"


RULES = (
    *[_of_kind(key, prefix, kind) for key, prefix in (("kind", ""), ("second", "second_")) for kind in NOT_READ],
    Rule(SECOND, _none("second"), "which is of a second stage, and second is None", "choose one"),
    Rule(("second", "classes", *SECOND), lambda given: given.get("second_stage") is False,
         "which is of a second stage, and there is none", "give second_stage=True with it"),
    Rule(("adversarial_weight",), _no_adversary, "and there is no adversary", "choose one"),
    Rule(("perceptual_weight",), _none("perceptual"), "and perceptual is None", "choose one"),
    Rule(("norm",), _not_gamix, "which the gamix networks alone have"),
    Rule(("width",), lambda given: _not_gamix(given) and _no_patchgan(given),
         "and there are neither gamix networks nor a PatchGAN"),
    Rule(("nets",), _has_own, "beside an encoder and a decoder of your own"),
    Rule(("reveal",), lambda given: given.get("inference", "infusion") != "infusion", "which inference='infusion' alone has"),
    Rule(("embedding_dim",), _none("classes"), "and there are no classes", "give classes"),
    Rule(("flow_depth",), _none("flow"), "and flow is None", "choose one"),
    Rule(GAMMA, lambda given: given.get("likelihood") in ("bernoulli", "squared"), "which likelihood={likelihood!r} has not"),
    Rule(GAMMA, _no_noise, "which a Gaussian or Laplace family alone has", "choose family='gaussian' or 'laplace'"),
    Rule(("gamma_init",), lambda given: isinstance(given.get("gamma"), (int, float)),
         "which a gamma that is a number has not"),
    Rule(("adversary_width", "adversary_depth"), _no_code_adversary, "which is of an adversary on the codes, and there is none"),
    Rule(("kernel",), lambda given: given.get("penalty") == "gan", "which penalty='gan' has not"),
    Rule(("prior_trick",), lambda given: given.get("penalty") == "mmd", "which penalty='mmd' has not"),
    Rule(("lambda_",), _no_penalty, "the weight of a gradient penalty, and loss={loss!r} has none by itself",
         "choose a penalty"),
    Rule(("began_lambda", "began_gamma", "began_clip"), lambda given: given.get("loss", "began") != "began",
         "which loss={loss!r} has not"),
)


def refuse_unread(given: Arguments, defaults: Arguments) -> None:
    """Raise for an argument that is given, which is other than its default, and that nothing reads."""
    for rule in RULES:
        for name in rule.names:
            if name in given and given[name] not in (defaults[name], USUAL.get(name)) and rule.unread(given):
                instead = f"{rule.instead}, or " if rule.instead else ""
                raise ArgumentError(f"{name} is {given[name]!r}, {rule.why.format(**given)}; {instead}leave it out.")


def without_unread(config: dict[str, Any]) -> dict[str, Any]:
    """A saved model's arguments without those that are refused: earlier versions took, and saved, any."""
    unread = _unread(config)
    return {name: value for name, value in config.items() if name not in unread}


def giving_way(chosen: dict[str, Any], given: Arguments) -> dict[str, Any]:
    """A preset's or file's arguments without those that only `given` ones leave unread."""
    unread = _unread({**chosen, **given}) - _unread(chosen)
    return {name: value for name, value in chosen.items() if name not in unread}


def _unread(given: Arguments) -> set[str]:
    return {name for rule in RULES for name in rule.names if name in given and rule.unread(given)}
