"""The arguments of the commands that train a model that is named, and the request that they make."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from inspect import signature
from typing import Any

from vaefast.api import MODELS
from vaefast.api.base import Model
from vaefast.api.unread import giving_way
from vaefast.cli.arguments import NETWORKS, named, numbers, option, pair, real, value_of
from vaefast.cli.signature import Hint, add_arguments, flag, hints_of
from vaefast.data import names as data_names
from vaefast.data.array_files import ARRAYS, SUFFIXES, reads_as_images
from vaefast.data.decode import ON_BAD
from vaefast.errors import ArgumentError
from vaefast.experiments.config_file import read_config
from vaefast.experiments.presets import PRESETS, Preset
from vaefast.experiments.request import Request
from vaefast.training import Trainer
from vaefast.training.schedule import Ramp
from vaefast.training.settings import StageSettings

GROUPS = ("request", "data", "model", "stage", "trainer")
"""Of the namespace's names: "stage.lr" is a setting of the stages."""
RENAMED = {"steps": "--chain-steps"}
"""Arguments of models whose own name is taken."""
_TAKEN = ("epochs", "steps", "ramps", "players")
"""Settings of stages that no flag of their own name gives."""


def model_of(kind: str) -> type[Model]:
    """The class of what `vaefast train` calls `kind`."""
    return MODELS[next(iter(PRESETS[kind].values())).kind]


def flags_of_models(kind: type | None = None) -> set[str]:
    """The flags of all models' arguments, or of those that may be of that type."""
    return {RENAMED.get(name) or flag(name) for model in PRESETS for name, hint in hints_of(model_of(model)).items()
            if hint.given and (kind is None or kind in hint.plain)}


def kind_of(words: Sequence[str]) -> str | None:
    """The model that a command line names, or the file of its --config."""
    switches = ["--resume", "--sync", "--flip", "--tensorboard", "--csv", "--keep-best", "--dry-run", "--early-stop",
                *flags_of_models(bool)]
    path = value_of(words, "--config")
    return named(words, list(PRESETS), switches) or (read_config(path).get("kind") if path else None)


def add_data_and_budget(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """What is trained, on what, and how long."""
    file = value_of(words, "--config") is not None
    more: dict[str, Any] = {"nargs": "?"} if file else {}
    parser.add_argument("model", metavar="MODEL", choices=list(PRESETS), default=kind_of(words) if file else None,
                        help="what to train: " + ", ".join(PRESETS), **more)
    parser.add_argument("--data", dest="request.data_name", required=not file, metavar="NAME", default=argparse.SUPPRESS,
                        help="data set: " + ", ".join(data_names()) + "; or a FILE.npy or FILE.npz of images, or of vectors, "
                        "sequences or volumes")
    parser.add_argument("--data-root", dest="request.data_root", metavar="DIR", default=argparse.SUPPRESS,
                        help="folder of the data set's files (digits needs none)")
    parser.add_argument("--image-size", "--size", dest="data.size", type=int, metavar="N", default=argparse.SUPPRESS,
                        help="resize to NxN, where the set offers it (folder, celeba, ...)")
    parser.add_argument("--on-bad", dest="data.on_bad", choices=ON_BAD, default=argparse.SUPPRESS,
                        help="what to do about files that are no sound images (default: error)")
    parser.add_argument("--data-option", type=option, action="append", default=[], metavar="NAME=VALUE",
                        help="option of the data set's loader, such as crop=140 of celeba; may be given several times")
    names = sorted({name for presets in PRESETS.values() for name in presets})
    parser.add_argument("--preset", dest="request.preset_name", metavar="P", default=argparse.SUPPRESS,
                        help=f"{', '.join(names)} (default: {Request.preset_name})")
    budget = parser.add_mutually_exclusive_group()
    for name, kind in (("epochs", float), ("steps", int)):
        budget.add_argument(f"--{name}", dest=f"request.{name}", type=numbers(kind), metavar="N[,N]", default=argparse.SUPPRESS,
                            help=f"{name} of all stages, or of each")
    add_request(parser, ["condition", "augment", "precision"])


def add_request(parser: Any, names: Sequence[str]) -> None:
    """Flags of the request's own fields."""
    add_arguments(parser, Request, names, group="request", defaults={f.name: f.default for f in fields(Request)})


def add_trainer(parser: Any, names: Sequence[str]) -> None:
    """Flags of `vaefast.Trainer`'s arguments."""
    defaults = {name: p.default for name, p in signature(Trainer).parameters.items() if p.default is not False}
    add_arguments(parser, Trainer, names, group="trainer", defaults=defaults)


def add_model(parser: argparse.ArgumentParser, kind: str, words: Sequence[str]) -> None:
    """Flags of the model's arguments, and of its stages' settings, with the preset's values as defaults."""
    model, name = model_of(kind), value_of(words, "--preset") or Request.preset_name
    chosen = PRESETS[kind].get(name, next(iter(PRESETS[kind].values())))
    hints, defaults = hints_of(model), {n: p.default for n, p in signature(model).parameters.items()} | chosen.arguments({})
    group = parser.add_argument_group(f"the model ({model.__name__})", f"defaults of preset {name}: {chosen.about}")
    add_arguments(group, model, [n for n, hint in hints.items() if n != "image_shape" and hint.given], group="model",
                  defaults=defaults, renamed=RENAMED)
    group.add_argument("--model-option", type=pair, action="append", default=[], metavar="NAME=VALUE",
                       help="any of these as NAME=VALUE; may be given several times")
    group.add_argument("--networks", dest="model.networks", metavar="SPEC", default=argparse.SUPPRESS, help=NETWORKS)
    group.add_argument("--network-option", type=option, action="append", default=[], metavar="NAME=VALUE",
                       help="argument of that function; may be given several times")
    stage = parser.add_argument_group("training, in all stages")
    add_arguments(stage, StageSettings, [n for n in hints_of(StageSettings) if n not in {*_TAKEN, *hints}], group="stage",
                  defaults=_of_stages(chosen))
    stage.add_argument("--beta1", dest="stage.beta1", type=real, metavar="X", default=argparse.SUPPRESS,
                       help="the first of --betas; the second stays")
    stage.add_argument("--ramp", dest="stage.ramps", type=ramp, action="append", metavar="NAME=START:END:STEPS",
                       default=argparse.SUPPRESS, help="a weight of the first stage's loss, such as beta or kl_weight, goes from "
                       "START to END in so many steps; may end in :exponential and :CYCLE, steps after which it begins again; "
                       "may be given several times")


def _of_stages(chosen: Preset) -> dict[str, Any]:
    """The preset's settings: one value, or those of all stages."""
    values = {f.name: [getattr(s, f.name) for s in chosen.stages] for f in fields(StageSettings)}
    return {name: v[0] if all(one == v[0] for one in v) else v for name, v in values.items() if v and v[0] is not False}


def ramp(text: str) -> tuple[str, Ramp]:
    """NAME=START:END:STEPS[:SHAPE][:CYCLE]."""
    name, value = pair(text)
    try:
        start, end, steps, *rest = value.split(":")
        shape: Any = rest.pop(0) if rest and not rest[0].isdigit() else Ramp.shape
        (cycle,) = rest or ("",)
        return name, Ramp(float(start), float(end), int(steps), int(cycle) if cycle else None, shape)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
    except ValueError:
        raise argparse.ArgumentTypeError("expected NAME=START:END:STEPS, such as beta=0:1:10000") from None


def request_of(args: argparse.Namespace) -> Request:
    """What the command line asks for, on top of what the file of its --config does."""
    by_group: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    for dest, value in vars(args).items():
        group, dot, name = dest.partition(".")
        if dot:
            by_group[group][name] = value
    file = read_config(args.config) if getattr(args, "config", None) else {}
    stage = by_group["stage"]
    if "ramps" in stage:
        stage["ramps"] = dict(stage["ramps"])
    model = {name: dict(value) if isinstance(value, list) and value and isinstance(value[0], tuple) else value
             for name, value in by_group["model"].items()} | read_options(args.model, getattr(args, "model_option", []))
    if getattr(args, "network_option", None):
        model["network_options"] = _by_name(args.network_option)
    data = {**file.pop("data_options", {}), **by_group["data"], **dict(args.data_option)}
    shape: Any = model.pop("data_shape", None)
    request = {**file, **by_group["request"]}
    if str(request.get("data_name")).endswith(SUFFIXES):
        request |= of_file(request, shape)
    elif shape is not None and request.get("data_name") != ARRAYS:
        raise ArgumentError(f"data_shape is {shape!r}, which is for examples of a NumPy file; give that as data (FILE.npy or "
                            "FILE.npz).")
    if shape is not None:
        data["data_shape"] = list(shape)
    return Request(**{**request, "kind": args.model, "data_options": data, "stage_overrides": stage,
                      "model_overrides": {**giving_way(file.pop("model_overrides", {}), model), **model}, "command": args.line,
                      "trainer": {**file.pop("trainer", {}), **by_group["trainer"]}, "device": args.device,
                      **({"seed": args.seed} if hasattr(args, "seed") else {})})


def of_file(request: Mapping[str, Any], shape: Sequence[int] | None) -> dict[str, Any]:
    """`data_name` and `data_root` of a request whose data are a NumPy file: images, where they read as such and no shape is
    given, or examples of any shape.

    Raises:
        ArgumentError: a folder is given, too, or the shape of images. Others as `vaefast.data.array_files.load_arrays`.
    """
    path = request["data_name"]
    if request.get("data_root") is not None:
        raise ArgumentError(f"data_root was given with data {path!r}, which is a file already; leave it out.")
    if shape is not None and len(shape) == 3:
        raise ArgumentError(f"data_shape is {shape!r}, which is that of images; leave it out, and the file is read as images.")
    return {"data_name": "npz" if shape is None and reads_as_images(path) else ARRAYS, "data_root": path}


def read_options(kind: str, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Arguments of a model given as NAME=VALUE, or NAME.KEY=VALUE, as its signature declares them.

    Raises:
        ArgumentError: a value that is not of the kind that it declares. Options that it has not are left for it to refuse.
    """
    hints = hints_of(model_of(kind))
    read = {name: _read(name, text, hints[name]) if name in hints else text for name, text in pairs if "." not in name}
    return read | _by_name([option(f"{name}={text}") for name, text in pairs if "." in name])


def _read(name: str, text: str, hint: Hint) -> Any:
    called = name.rstrip("_")
    if not hint.expected(called):
        raise ArgumentError(f"{called} is {text!r}; the command line cannot give what it takes: build the model in Python "
                            "(networks of your own go by --networks).")
    try:
        return hint.read(text)
    except (ValueError, OverflowError):
        raise ArgumentError(f"{called} is {text!r}; expected {hint.expected(called)}.") from None


def _by_name(options: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Options by name; NAME.KEY=VALUE is an entry of an option that is itself a mapping."""
    by_name: dict[str, Any] = {}
    for name, value in options:
        name, dot, key = name.partition(".")
        before = by_name.get(name)
        by_name[name] = {**(before if isinstance(before, Mapping) else {}), key: value} if dot else value
    return by_name
