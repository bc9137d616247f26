"""The README.md of a model on the Hub: what it is, what it was trained on and how, and the lines that load it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vaefast import __version__
from vaefast.errors import ArgumentError

if TYPE_CHECKING:
    from vaefast.api.base import Model

_LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_OF_DATA = ("name", "split", "count", "image_shape", "data_shape")
_FILES = ("perceptual",)
"""Settings that may name files of this machine."""
_OF_STAGE = ("epochs", "steps", "batch_size", "lr", "schedule", "ema")


def model_card(model: Model, repo: str, *, run: Mapping[str, Any] | None = None, scores: str | None = None,
               pictures: Sequence[str] = (), license: str | None = None) -> str:
    """The card as Markdown with YAML in front. It names no path of this machine.

    Args:
        model: that is described.
        repo: "owner/name" that it is loaded by.
        run: a run's config.json, for data and settings; scores: a table of them; pictures: names of files beside the card.
        license: of the weights, as the Hub names it, such as "apache-2.0".

    Raises:
        ArgumentError: a license that is no such name.
    """
    if license is not None and not _LICENSE.fullmatch(license):
        raise ArgumentError(f"license is {license!r}; expected a name such as 'apache-2.0' or 'cc-by-4.0'.")
    front = ["library_name: vaefast", *([f"license: {license}"] if license else []),
             *(["pipeline_tag: unconditional-image-generation"] if model.draws_images else []), "tags:", "- vaefast",
             f"- {model.kind}"]
    parts = ["---\n" + "\n".join(front) + "\n---", f"# {repo.partition('/')[2]}",
             f"A model of kind `{model.kind}` (`vaefast.{type(model).__name__}`), written by vaefast {__version__}.",
             f"```python\nimport vaefast\n\nmodel = vaefast.load({repo!r})\n{_use(model)}\n```"]
    parts += [f"![samples]({name})" for name in pictures]
    if run is not None:
        parts += ["## Data", _table({key: run["data"][key] for key in _OF_DATA if key in run.get("data", {})})]
    settings = {key: value for key, value in model.config().items() if value is not None and key not in _FILES}
    parts += ["## Settings", _table(settings)]
    for number, stage in enumerate(run.get("stages", []) if run else [], start=1):
        parts += [f"Stage {number}:", _table({key: stage[key] for key in _OF_STAGE if stage.get(key) is not None})]
    if scores is not None:
        parts += ["## Scores", scores.rstrip("\n")]
    return "\n\n".join(parts) + "\n"


def _use(model: Model) -> str:
    """A line that uses it."""
    return "images = model.sample(64)" if model.draws_images else "samples = model.sample(64)"


def _table(values: Mapping[str, Any]) -> str:
    lines = ["| | |", "| --- | --- |"]
    for key, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value, default=str)
        shown = " ".join(shown.split()).replace("|", r"\|").replace("`", "'")
        lines.append(f"| {key} | `{shown}` |")
    return "\n".join(lines)
