"""What a run's config.json asks for, so that another run can be asked for the same."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaefast.api.arguments import CUSTOM
from vaefast.api.unread import without_unread
from vaefast.errors import ArgumentError
from vaefast.experiments.presets import PRESETS
from vaefast.training.settings import FIELDS, StageSettings, unread

_AS_THEY_ARE = ("data_name", "data_root", "data_options", "seed", "precision", "start_from", "augment")
_TRAINER = ("compile", "channels_last", "deterministic", "sync")
_READ = (*_AS_THEY_ARE, *_TRAINER, "kind", "model", "stages", "preset", "networks", "keep_best", "data", "command", "versions")
_OF_A_RUN = ("format", "device", "processes", "materialize", "workers", "value_range")
"""What a run notes of itself, of its machine, or of images that were given in Python; nothing that a file by hand may say."""


def read_config(path: str) -> dict[str, Any]:
    """Arguments of a `Request`, of a file that is a run's config.json or holds some of its entries; a folder is a run's.

    Raises:
        ArgumentError: no such file, or one that says something else.
    """
    file = Path(path) / "config.json" if Path(path).is_dir() else Path(path)
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError(f"config is {path!r}; expected a run's config.json, or a part of one ({error}).") from None
    if not isinstance(config, Mapping):
        raise ArgumentError(f"config is {path!r}, which holds {type(config).__name__}; expected an object.")
    of_a_run = "format" in config  # and perhaps of an earlier version, with settings that nothing reads
    _known(path, config, [*_READ, *(_OF_A_RUN if of_a_run else ())])
    given = config.get("stages")
    stages = [given] if isinstance(given, Mapping) else list(given or [])
    for stage in stages:
        _known(f"stages of {path}", stage, sorted(FIELDS))
    arguments = {name: config[name] for name in _AS_THEY_ARE if config.get(name) is not None}
    if "preset" in config:
        arguments["preset_name"] = config["preset"]
    if stages:
        left = [unread(StageSettings(steps=1), stage) if of_a_run else {} for stage in stages]
        stages = [{name: value for name, value in stage.items() if name not in out} for stage, out in zip(stages, left)]
        arguments["stages"] = stages[0] if isinstance(given, Mapping) else stages
    if not of_a_run and "keep_best" in config:  # a run does not note by which score
        arguments["keep_best"] = config["keep_best"]
    if CUSTOM in (config.get("augment") or ()):
        raise ArgumentError(f"{path} is of a run with an augment of its own, which is not in the file; leave it out, or train in "
                            "Python.")
    if trainer := {name: config[name] for name in _TRAINER if name in config}:
        arguments["trainer"] = trainer
    if model := _model(path, config):
        arguments["model_overrides"] = model
    data = config.get("data")
    if isinstance(data, Mapping) and (share := (data.get("validation") or {}).get("share")) is not None:
        arguments["validation"] = share
    if "kind" in config:
        arguments["kind"] = _kind(path, config)
    return arguments


def _known(where: str, entries: Mapping[str, Any], names: list[str]) -> None:
    for name in entries:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise ArgumentError(f"{where} has {name!r}; " + (f"did you mean {near[0]!r}?" if near else
                                                             f"expected some of {', '.join(names)}."))


def _model(path: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The model's arguments; its images' shape is that of the data."""
    model = config.get("model", {})
    if "format" in config:
        model = without_unread(model)
    arguments = {name: value for name, value in model.items() if name not in ("image_shape", "data_shape")}
    source = config.get("networks") or {}
    if arguments.get("nets") == CUSTOM or source:
        if "from" not in source:
            raise ArgumentError(f"{path} is of a model with networks of its own, and does not say what makes them; train it in "
                                "Python, or leave nets out of the file and name what does as networks.")
        if arguments.pop("nets", CUSTOM) != CUSTOM:
            raise ArgumentError(f"{path} has nets {model['nets']!r} and networks of its own; leave one of the two out.")
        arguments |= {"networks": source["from"], "network_options": source.get("options") or None}
    if custom := [name for name, value in arguments.items() if value == CUSTOM]:
        raise ArgumentError(f"{path} is of a model with a {custom[0]} of its own, which is not in the file; leave it out, or "
                            "train the model in Python.")
    return {name: value for name, value in arguments.items() if name != "network_options" or value}


def _kind(path: str, config: Mapping[str, Any]) -> str:
    """What `vaefast train` calls the model: of the kinds that the class serves, that whose preset is nearest."""
    name, model = config.get("preset", "quick"), config.get("model", {})
    stages = config.get("stages") if isinstance(config.get("stages"), list) else None

    def likeness(kind: str) -> tuple[bool, int]:
        chosen = PRESETS[kind].get(name, next(iter(PRESETS[kind].values())))
        same = [model.get(key) == value for key, value in chosen.model.items() if key in model]
        return not (stages and chosen.stages) or len(stages) == len(chosen.stages), sum(same) - same.count(False)

    known = config["kind"]
    kinds = [kind for kind, presets in PRESETS.items() if known in (kind, next(iter(presets.values())).kind)]
    if not kinds:
        raise ArgumentError(f"{path} is of kind {known!r}, which vaefast train does not train; it has {', '.join(PRESETS)}.")
    return known if known in PRESETS and len(kinds) == 1 else max(kinds, key=likeness)
