"""What a reproduction of a paper is made of: trainings, rows of tables, parts, and the paper with all of them. Data, and no
more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaefast.data import ImageSet
from vaefast.errors import ArgumentError
from vaefast.experiments.papers.claims import Claim

if TYPE_CHECKING:
    from vaefast.experiments.papers.cells import Task

SMOKE = "a run of minutes that shows that every part works; its numbers mean nothing"
Columns = Sequence[tuple[str, str]]
"""Key of a row's value, and its heading."""
Pictures = Sequence[tuple[str, str]]
"""File names without .png, and captions."""
Record = dict[str, Any]
"""A part's DATA/NAME.json."""


@dataclass(frozen=True)
class Study:
    """What a call asks for, whatever the paper.

    Args:
        out: folder of the whole reproduction.
        data_root: folder of the data sets' files.
        preset: "smoke", "quick" or "paper".
        share: of the preset's epochs and steps, in every training; above 1, longer.
        trials: seeds of every cell.
        seed: of the first trial.
        device, precision: as for training.
        command: the line that asked for it.
        say: told what is done.
        metrics: options of `evaluate`, such as `which` and `weights`.
        data_options: options of the data sets, in every cell.
    """

    out: Path
    data_root: str | None
    preset: str
    share: float = 1.0
    trials: int = 1
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    command: str = ""
    say: Callable[[str], None] = print
    metrics: dict[str, Any] = field(default_factory=dict)
    data_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """A training that one row or more are scores of.

    Args:
        name: of its folder.
        kind: as `vaefast train` calls it.
        model: arguments that differ from the preset's.
        stages: the same of the stages' settings.
        part: whose folder it lies in, if not that of the part whose row it is: a training that several parts have is done once.
    """

    name: str
    kind: str
    model: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, Any] = field(default_factory=dict)
    part: str = ""


@dataclass(frozen=True)
class Row:
    """A line of a table: samples of which stage of which training, and what to call it; or, without a training, the best of the
    rows `best_of`."""

    name: str
    title: str
    training: Training | None
    stage: int = 1
    best_of: tuple[str, ...] = ()


def no_claims(record: Record) -> list[Claim]:
    """Of a part of which the paper says nothing that could be counted."""
    return []


@dataclass(frozen=True)
class Part:
    """A table or figure of a paper.

    Args:
        heading: on the page.
        rows: trained and scored for it.
        columns: of its table; none where it has none.
        figures: of it, on the page.
        claims: what the paper says of its record.
        draw: draws its figures beside the samples, once its rows are trained.
        run: all that is done for it, in the place of training the rows and writing their table.
        once: whether `run` is of no data set.
        more: (folder of a data set, record) -> what the page shows between table and figures.
        suits: whether "all" has it for a data set; by name it runs on any.
        data: sets where none are named, if not the paper's.
    """

    heading: str = ""
    rows: tuple[Row, ...] = ()
    columns: Columns = ()
    figures: Pictures = ()
    claims: Callable[[Record], Sequence[Claim]] = no_claims
    draw: Callable[[Task], None] | None = None
    run: Callable[[Task, Sequence[str] | None], None] | None = None
    once: bool = False
    more: Callable[[Path, Record], Sequence[str]] | None = None
    suits: Callable[[Task], bool] = lambda task: True
    data: tuple[str, ...] = ()


@dataclass(frozen=True)
class Paper:
    """A paper as `study.run` reproduces it.

    Args:
        title: of the page.
        notes: what to know before reading it, and torch's version and the cores behind the first of them.
        parts: by name, in the order of "all".
        data: sets where none are named.
        settings: (training, task) -> arguments of `vaefast.experiments.run.train`.
        samples: of each kind to score, by preset.
        scoring: further options of `evaluate`; None where the parts score their rows themselves.
        data_options: (part, preset, the training images as they come) -> options of the data set.
        takes_data_options: whether the user may give some.
        load_as: names of data sets that the loaders have under others.
        about_data: whether the page says what a data set is.
        folder: of a training in the study's.
        printed: (part, row, data set) -> the paper's own values by column.
        extra: run folder -> values that its evaluation does not have.
        real: title of the row of real images; none where it is "".
        may_diverge: whether a training that diverges is an answer, too.
        claims: the same of the parts of a data set together, in the place of each part's.
        loose: (heading, figures) at the end of a data set.
    """

    title: str
    notes: Callable[[Study], Sequence[str]]
    parts: Mapping[str, Part]
    data: tuple[str, ...]
    settings: Callable[[Training, Task], dict[str, Any]]
    samples: Callable[[str], int]
    scoring: Callable[[Task], dict[str, Any]] | None = None
    data_options: Callable[[str, str, Callable[[], ImageSet]], dict[str, Any]] = lambda part, preset, plain: {}
    takes_data_options: bool = True
    load_as: Mapping[str, str] = field(default_factory=dict)
    about_data: bool = True
    folder: str = "{data}/runs/{training}"
    printed: Callable[[str, Row, str], dict[str, Any]] = lambda part, row, data: {}
    extra: Callable[[Path], dict[str, float]] = lambda path: {}
    real: str = ""
    may_diverge: bool = True
    claims: Callable[[Mapping[str, Record]], Sequence[Claim]] | None = None
    loose: tuple[str, Pictures] = ("", ())

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows that can be trained."""
        return tuple(dict.fromkeys(row.name for part in self.parts.values() for row in part.rows if row.training))

    @property
    def keys(self) -> tuple[str, ...]:
        """Of every column that a row has a value in."""
        return tuple(dict.fromkeys(key for part in self.parts.values() if not part.run for key, _ in part.columns))


def of_preset(presets: Mapping[str, Any], name: str) -> Any:
    """What a preset has. Raises ArgumentError for one that there is none of."""
    if name not in presets:
        raise ArgumentError(f"preset is {name!r}; expected one of {', '.join(presets)}.")
    return presets[name]
