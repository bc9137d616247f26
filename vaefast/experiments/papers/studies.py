"""The papers that `vaefast reproduce` runs, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vaefast.experiments.papers.dai_wipf import study as dai_wipf
from vaefast.experiments.papers.gamix import study as gamix
from vaefast.experiments.papers.hinrichsen import study as hinrichsen
from vaefast.experiments.papers.zhao import study as zhao


@dataclass(frozen=True)
class Paper:
    """One reproduction.

    Args:
        reproduce: (part, data sets, study, models) -> the report's path.
        parts: what it consists of.
        data: sets where none are named.
        data_of: the same of parts that have their own.
        data_options: whether it takes options of the data sets.
    """

    reproduce: Callable[..., Path]
    parts: tuple[str, ...]
    data: tuple[str, ...]
    data_options: bool = False
    data_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


STUDIES = {
    "dai-wipf": Paper(dai_wipf.reproduce, dai_wipf.PARTS, ("mnist",)),
    "gamix": Paper(gamix.reproduce, gamix.PARTS, gamix.DATA, data_options=True),
    "hinrichsen": Paper(hinrichsen.reproduce, hinrichsen.PARTS, ("cifar10", "lfw"), data_options=True),
    "zhao": Paper(zhao.reproduce, zhao.PARTS, ("mnist", "lfw"), data_options=True, data_of=zhao.DATA_OF),
}
