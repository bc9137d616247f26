"""What a paper says of its tables and figures, held against what was measured here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from vaefast.experiments.pictures import html

DISTANCES = ("fid", "fd_classifier", "fd_exemplar")
"""Keys of the distances of samples, the most telling first: without the 2015 Inception weights there is no FID, without labels no
classifier."""


@dataclass(frozen=True)
class Claim:
    """One statement, what was measured, and whether it holds; None where nothing was measured to tell."""

    text: str
    measured: str
    holds: bool | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def judged(said: Sequence[Claim], preset: str) -> list[Claim]:
    """Claims as a study of `preset` may tell them: the trainings of "smoke" are too short for any verdict."""
    return [replace(claim, holds=None) for claim in said] if preset == "smoke" else list(said)


HOLDS = {True: "yes", False: "no", None: "-"}


def markdown(claims: dict[str, list[dict[str, Any]]]) -> str:
    """Claims by data set, as `as_dict` gives them, in one Markdown table."""
    lines = ["| data | the paper says | measured here | holds |", "| --- | --- | --- | --- |"]
    lines += [f"| {data} | {c['text']} | {c['measured']} | {HOLDS[c['holds']]} |" for data, said in claims.items() for c in said]
    return "\n".join(lines) + "\n"


def html_table(said: Sequence[Claim]) -> str:
    """Claims of one data set for a page."""
    return html.table(["the paper says", "measured here", "holds"], [[c.text, c.measured, HOLDS[c.holds]] for c in said], "words")


def by_name(record: dict[str, Any]) -> dict[str, Any]:
    """The rows of a table by their names."""
    return {row["name"]: row for row in record["rows"]}


def measured(record: dict[str, Any], keys: Sequence[str]) -> str:
    """The first of `keys` that any row but the real images' has a value of."""
    return next((key for key in keys if any(row.get(key) for row in record["rows"] if row["name"] != "real")), keys[0])


def mean_of(rows: dict[str, Any], name: str, key: str) -> float | None:
    """A row's mean; None where it has none."""
    value = rows.get(name, {}).get(key)
    return value["mean"] if value else None


def claim(text: str, values: Sequence[float | None], words: Callable[..., str], holds: Callable[..., bool]) -> Claim:
    """What is measured of `values` in words, and whether it holds; not measured where one of them is None."""
    if any(value is None for value in values):
        return Claim(text, "not measured", None)
    return Claim(text, words(*values), holds(*values))


def less(rows: dict[str, Any], metric: str, better: str, worse: str, text: str) -> Claim:
    """That row `better` is below row `worse`."""
    return claim(text, [mean_of(rows, name, metric) for name in (better, worse)],
                 lambda a, b: f"{a:.4g} against {b:.4g}" + (f", {b / a:.2g} times" if a > 0 else ""), lambda a, b: a < b)


def monotone(text: str, values: Sequence[float | None], form: str = ".3g", words: str = "", *, falls: bool = False) -> Claim:
    """That each of the values is above the one before, or below it."""
    return claim(text, values, lambda *v: " / ".join(format(x, form) for x in v) + words,
                 lambda *v: all(b < a if falls else a < b for a, b in zip(v, v[1:], strict=False)))
