"""What a sweep draws its settings from.

A setting is a dict of values by name: "model/latent_dim" is an argument of the model, "stage/lr" a setting of every stage
(`StageSettings`), and "stage/beta1" the first of its betas. Setting number i is a pure function of the space's name, the seed
and i: any process can draw it, in any order, and a longer sweep begins with the settings of a shorter one.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaefast.api.gan import AUTHORS, Authors
from vaefast.errors import ArgumentError
from vaefast.models.gan import PENALTY_WEIGHT

GROUPS = ("model", "stage")


@dataclass(frozen=True)
class Uniform:
    """Between `low` and `high`."""

    low: float
    high: float

    def at(self, u: float) -> float:
        """The value of which a share u in [0, 1) lies below."""
        return self.low + u * (self.high - self.low)


@dataclass(frozen=True)
class LogUniform:
    """Between `low` and `high`, uniform in the logarithm."""

    low: float
    high: float

    def at(self, u: float) -> float:
        """The value of which a share u in [0, 1) lies below."""
        return math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))


@dataclass(frozen=True)
class Choice:
    """One of `values`, each as likely."""

    values: tuple[Any, ...]

    def at(self, u: float) -> Any:
        """The value of u in [0, 1)."""
        return self.values[int(u * len(self.values))]


Distribution = Uniform | LogUniform | Choice


@dataclass(frozen=True)
class Space:
    """Distributions by name.

    Args:
        name: enters what is drawn, so that no two spaces draw the same.
        draws: of each value.
        fixed: what all settings have.
        default: what setting 0 has in the place of what is drawn.
    """

    name: str
    draws: dict[str, Distribution]
    fixed: dict[str, Any] = field(default_factory=dict)
    default: dict[str, Any] = field(default_factory=dict)

    def setting(self, seed: int, index: int) -> dict[str, Any]:
        """Setting number `index`; the first, 0, is the default one."""
        if index == 0:
            return {**self.fixed, **self.default}
        return {**self.fixed, **{name: kind.at(_share(self.name, seed, index, name)) for name, kind in self.draws.items()}}


def _share(*key: Any) -> float:
    """A number in [0, 1), uniform over keys."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def overrides(setting: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model's arguments and the stages' settings, as a `Request` takes them."""
    by_group: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    for name, value in setting.items():
        group, _, key = name.partition("/")
        by_group[group][key] = value
    return by_group["model"], by_group["stage"]


# Lucic et al. 2018, section 5 and appendix; compare_gan, params.py. Of both searches, and of every model
_WIDE: dict[str, Distribution] = {"stage/lr": LogUniform(1e-5, 1e-2), "stage/beta1": Uniform(0.0, 1.0)}
_NARROW: dict[str, Distribution] = {"stage/lr": LogUniform(1e-4, 1e-3), "stage/beta1": Choice((0.5,))}
_ON_OFF = Choice((True, False))

_WIDE_GAN = {**_WIDE, "model/disc_iters": Choice((1, 5)), "model/batch_norm": _ON_OFF}
_NARROW_GAN = {**_NARROW, "model/disc_iters": Choice((1,)), "model/batch_norm": _ON_OFF}
_NARROW_PENALTY: dict[str, Distribution] = {"model/lambda_": LogUniform(1e-1, 1e1), "model/batch_norm": Choice((False,))}


@dataclass(frozen=True)
class _GAN:
    """What a GAN has beside its authors' settings, and its searches beside those of all GANs."""

    extras: dict[str, Any] = field(default_factory=dict)
    wide: dict[str, Distribution] = field(default_factory=dict)
    narrow: dict[str, Distribution] = field(default_factory=dict)

    def default(self, authors: Authors) -> dict[str, Any]:
        return {"stage/lr": authors.lr, "stage/beta1": authors.beta1, "model/disc_iters": authors.disc_iters,
                "model/batch_norm": authors.batch_norm, **self.extras}


_LAMBDA: dict[str, Distribution] = {"model/lambda_": LogUniform(1e-1, 1e2)}
_GANS = {
    "mm": _GAN(),
    "ns": _GAN(),
    "lsgan": _GAN(),
    "wgan": _GAN({"model/weight_clip": AUTHORS["wgan"].weight_clip}, {"model/weight_clip": LogUniform(1e-3, 1.0)},
                 {"model/weight_clip": LogUniform(1e-2, 1.0)}),
    "wgan-gp": _GAN({"model/lambda_": PENALTY_WEIGHT}, _LAMBDA, _NARROW_PENALTY),
    "dragan": _GAN({"model/lambda_": PENALTY_WEIGHT}, _LAMBDA, _NARROW_PENALTY),
    "began": _GAN({"model/began_lambda": 1e-3, "model/began_gamma": 0.75},
                  {"model/began_lambda": LogUniform(1e-4, 1e-2), "model/began_gamma": Uniform(0.0, 1.0)},
                  {"model/began_lambda": Choice((1e-3,)), "model/began_gamma": Uniform(0.6, 0.9)}),
}

LOSSES = tuple(_GANS)
"""Of GANs that have a space."""
SPACES = ("wide", "narrow")


def space_of(kind: str, name: str = "wide", loss: str | None = None) -> Space:
    """The space called `name` of a kind of model.

    "wide" and "narrow" are Lucic et al.'s (2018): for "gan" over learning rate, beta1, discriminator steps, batch norm and what
    belongs to `loss`, with its authors' settings as setting 0; for other models over learning rate and beta1, with the
    preset's own settings as setting 0. Any other name is that of a JSON file (`read_space`).

    Raises:
        ArgumentError: no such space or loss, or a file that is not one.
    """
    if name not in SPACES:
        return read_space(Path(name), {} if loss is None else {"model/loss": loss})
    if kind != "gan":
        fixed = {} if loss is None else {"model/loss": loss}
        return Space("/".join([kind, name, *([loss] if loss else [])]), _WIDE if name == "wide" else _NARROW, fixed)
    loss = "ns" if loss is None else loss
    if loss not in _GANS:
        raise ArgumentError(f"loss is {loss!r}; {name} is a space of {', '.join(LOSSES)}. For others, write a space of your own.")
    gan = _GANS[loss]
    draws = {**_WIDE_GAN, **gan.wide} if name == "wide" else {**_NARROW_GAN, **gan.narrow}
    return Space(f"{kind}/{name}/{loss}", draws, {"model/loss": loss}, gan.default(AUTHORS[loss]))


_KINDS: dict[str, type[Uniform] | type[LogUniform]] = {"uniform": Uniform, "log_uniform": LogUniform}


def read_space(path: Path, fixed: dict[str, Any] | None = None) -> Space:
    """A space in a JSON file: each name with {"uniform": [low, high]}, {"log_uniform": [low, high]}, {"choice": [...]}, or a
    value that all settings have. Setting 0 has the latter alone, and otherwise what the preset says.

    Raises:
        ArgumentError: no such file, or one that says something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        entries = json.loads(text)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"space is {str(path)!r}; expected {' or '.join(SPACES)}, or a JSON file ({error}).") from None
    if not isinstance(entries, dict) or not entries:
        raise ArgumentError(f"{path} holds {type(entries).__name__}; expected an object of distributions by name.")
    draws: dict[str, Distribution] = {}
    fixed = dict(fixed or {})
    for name, value in entries.items():
        if name.partition("/")[0] not in GROUPS or not name.partition("/")[2]:
            raise ArgumentError(f"{path} names {name!r}; expected model/ARGUMENT or stage/SETTING, such as stage/lr.")
        if isinstance(value, dict):
            draws[name] = _distribution(path, name, value)
        else:
            fixed[name] = value
    return Space(f"file/{hashlib.sha256(text.encode()).hexdigest()[:16]}", draws, fixed)


def _distribution(path: Path, name: str, value: dict[str, Any]) -> Distribution:
    kind, values = next(iter(value.items())) if len(value) == 1 else (None, None)
    if kind == "choice" and isinstance(values, list) and values:
        return Choice(tuple(values))
    if kind in _KINDS and isinstance(values, list) and len(values) == 2 and all(isinstance(v, (int, float)) for v in values):
        low, high = values
        if low <= high and (kind == "uniform" or low > 0):
            return _KINDS[kind](low, high)
    raise ArgumentError(f'{path} gives {name} the distribution {json.dumps(value)}; expected {{"uniform": [low, high]}}, '
                        '{"log_uniform": [low, high]} with low above 0, or {"choice": [...]}.')
