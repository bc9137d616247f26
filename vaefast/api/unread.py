"""Which of a model's arguments nothing reads: those of a part, or of a kind of it, that the model is without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vaefast.errors import ArgumentError
from vaefast.models.gan_losses import LOSSES
from vaefast.nets.second_stage import DEPTH, WIDTH

Arguments = Mapping[str, Any]
Unsaid = Mapping[str, tuple[Any, ...]]
"""Arguments, with what stands where nothing is given, in files of models, too."""

GAMMA: Unsaid = {"gamma": ("learned",), "gamma_init": (1.0,)}
OF_SECOND: Unsaid = {**GAMMA, "width": (None, WIDTH), "depth": (None, DEPTH)}
NOT_READ = {"flow": tuple(GAMMA), "mixture": tuple(OF_SECOND)}
"""By kinds of a second stage."""
SECOND: Unsaid = {f"second_{name}": unsaid for name, unsaid in OF_SECOND.items()}
BEGAN: Unsaid = {"began_lambda": (1e-3,), "began_gamma": (0.75,), "began_clip": (False,)}
ADVERSARY: Unsaid = {"adversary_width": (1024,), "adversary_depth": (4,)}


@dataclass(frozen=True)
class Rule:
    """Arguments that others leave `unread`; `why`, with {names} of those; and what to do `instead` of leaving them out."""

    unsaid: Unsaid
    unread: Callable[[Arguments], bool]
    why: str
    instead: str = ""


def _word(given: Arguments, key: str) -> str:
    """Of a file, which may hold anything."""
    value = given.get(key)
    return value if isinstance(value, str) else ""


def _of_kind(key: str, prefix: str, name: str) -> Rule:
    return Rule({prefix + name: OF_SECOND[name]}, lambda given: name in NOT_READ.get(_word(given, key), ()),
                f"which a second stage of kind {{{key}!r}} has not")


def _none(key: str) -> Callable[[Arguments], bool]:
    return lambda given: key in given and given[key] is None


def _no_adversary(given: Arguments) -> bool:
    return "adversary" in given and given["adversary"] is None and given.get("adversarial_weight") != 0


def _not_gamix(given: Arguments) -> bool:
    return given.get("nets", "gamix") != "gamix" or given.get("encoder") is not None


def _no_noise(given: Arguments) -> bool:
    """The family of images is "bernoulli", where neither a name nor a decoder of one's own says another."""
    if "family" not in given or given.get("decoder") is not None or given.get("nets") == "custom":
        return False
    named = given["family"]
    return given.get("image_shape") is not None if named is None else named not in ("gaussian", "laplace")


def _no_penalty(given: Arguments) -> bool:
    loss = LOSSES.get(_word(given, "loss"))
    return loss is not None and (given.get("penalty") or loss.penalty) == "none"


RULES = (
    *[_of_kind(key, prefix, name) for key, prefix in (("kind", ""), ("second", "second_")) for name in OF_SECOND],
    Rule(SECOND, _none("second"), "which is of a second stage, and second is None", "choose one"),
    Rule({"second": ("vae",), "classes": (None,), **SECOND}, lambda given: given.get("second_stage") is False,
         "which is of a second stage, and there is none", "give second_stage=True with it"),
    Rule({"adversarial_weight": (100.0,)}, _no_adversary, "and there is no adversary", "choose one"),
    Rule({"perceptual_weight": ("adaptive",)}, _none("perceptual"), "and perceptual is None", "choose one"),
    Rule({"norm": ("batch",)}, _not_gamix, "which the gamix networks alone have"),
    Rule({"flow_depth": (10,)}, _none("flow"), "and flow is None", "choose one"),
    Rule(GAMMA, lambda given: given.get("likelihood") == "bernoulli", "which likelihood={likelihood!r} has not"),
    Rule(GAMMA, _no_noise, "which a Gaussian or Laplace family alone has", "choose family='gaussian' or 'laplace'"),
    Rule({"gamma_init": (1.0,)}, lambda given: isinstance(given.get("gamma"), (int, float)),
         "which a gamma that is a number has not"),
    Rule(ADVERSARY, lambda given: given.get("penalty") == "mmd" or given.get("regularizer", "adversarial") != "adversarial",
         "which is of an adversary on the codes, and there is none"),
    Rule({"kernel": ("imq",)}, lambda given: given.get("penalty") == "gan", "which penalty='gan' has not"),
    Rule({"prior_trick": (True,)}, lambda given: given.get("penalty") == "mmd", "which penalty='mmd' has not"),
    Rule({"lambda_": (10.0,)}, _no_penalty, "the weight of a gradient penalty, and loss={loss!r} has none by itself",
         "choose a penalty"),
    Rule(BEGAN, lambda given: given.get("loss", "began") != "began", "which loss={loss!r} has not"),
)


def refuse_unread(given: Arguments) -> None:
    """Raise for an argument that is given, and that nothing reads."""
    for rule in RULES:
        for name, unsaid in rule.unsaid.items():
            if name in given and given[name] not in unsaid and rule.unread(given):
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
    return {name for rule in RULES for name in rule.unsaid if name in given and rule.unread(given)}
