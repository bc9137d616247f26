"""What a paper says of its tables and figures, held against what was measured here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from vaefast.experiments.pictures import html

DISTANCES = ("fid", "fd_classifier", "fd_exemplar")
"""Keys of the distances of samples, the most telling first: without the 2015 Inception weights there is no FID, without labels no
classifier."""


ONE_SEED = 0.14
"""Relative deviation that a value of a single seed is taken to have: that of three seeds of preset quick on MNIST, 0.428 with
0.059."""
APART = 2.0
"""Deviations that two values have to differ by, for a verdict."""
RULE = (f"A comparison of two rows is told where they differ by more than {APART:g} deviations (the root of the sum of both "
        f"squares, over seeds; of a single seed {ONE_SEED:.0%} of its value); else this budget cannot tell.")


@dataclass(frozen=True)
class Claim:
    """One statement, what was measured, and whether it holds; None where nothing was measured to tell. `close`: what was measured
    is too little apart for a verdict."""

    text: str
    measured: str
    holds: bool | None
    close: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def judged(said: Sequence[Claim], preset: str) -> list[Claim]:
    """Claims as a study of `preset` may tell them: the trainings of "smoke" are too short for any verdict."""
    return [replace(claim, holds=None) for claim in said] if preset == "smoke" else list(said)


HOLDS = {True: "yes", False: "no", None: "-"}


def verdict(said: dict[str, Any]) -> str:
    """Of a claim as `as_dict` gives it: "yes", "no", "cannot tell", or "-" where nothing was measured."""
    return "cannot tell" if said["holds"] is not None and said.get("close") else HOLDS[said["holds"]]


def markdown(claims: dict[str, list[dict[str, Any]]]) -> str:
    """Claims by data set, as `as_dict` gives them, in one Markdown table."""
    lines = ["| data | the paper says | measured here | holds |", "| --- | --- | --- | --- |"]
    for data, said in claims.items():
        cells = [[data, c["text"], c["measured"], verdict(c)] for c in said]
        lines += ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in cells]
    return "\n".join(lines) + "\n"


def html_table(said: Sequence[Claim]) -> str:
    """Claims of one data set for a page."""
    rows = [[c.text, c.measured, verdict(c.as_dict())] for c in said]
    return html.table(["the paper says", "measured here", "holds"], rows, "words")


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
    """That row `better` is below row `worse`, by `RULE`."""
    said = claim(text, [mean_of(rows, name, metric) for name in (better, worse)],
                 lambda a, b: f"{a:.4g} against {b:.4g}" + (f", {b / a:.2g} times" if a > 0 else ""), lambda a, b: a < b)
    return said if said.holds is None else replace(said, close=close(rows[better][metric], rows[worse][metric]))


def close(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two values {mean, std} are too little apart for a verdict."""
    deviations = [abs(v["mean"]) * ONE_SEED if v.get("std") is None else v["std"] for v in (a, b)]
    return abs(a["mean"] - b["mean"]) <= APART * math.hypot(*deviations)


def monotone(text: str, values: Sequence[float | None], form: str = ".3g", words: str = "", *, falls: bool = False) -> Claim:
    """That each of the values is above the one before, or below it."""
    return claim(text, values, lambda *v: " / ".join(format(x, form) for x in v) + words,
                 lambda *v: all(b < a if falls else a < b for a, b in zip(v, v[1:], strict=False)))
