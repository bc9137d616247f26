"""The page of a reproduction, and pieces of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from vaefast.experiments.papers.calls import read_calls
from vaefast.experiments.papers.cell import Study
from vaefast.experiments.papers.claims import Claim, html_table, judged, markdown
from vaefast.experiments.pictures import html
from vaefast.files import write_atomically
from vaefast.training.storage import read_object, write_json

Pictures = Sequence[tuple[str, str]]
"""File names without .png, and captions."""
Parts = Mapping[str, dict[str, Any]]
"""Records of the parts that are there, by name."""


@dataclass(frozen=True)
class Section:
    """A section of the page: its heading, what it shows, and what the paper says of that."""

    heading: str
    pieces: Sequence[str]
    claims: Sequence[Claim]


def write_page(study: Study, title: str, notes: Sequence[str], parts: Iterable[str], pieces: Callable[[Path, Parts], list[str]],
               claims_of: Callable[[Parts], Sequence[Claim]], others: Mapping[str, Section] | None = None) -> Path:
    """report.html, claims.json and claims.md in the study's folder, of every part that is there; returns the page's path.

    Args:
        notes: what to know before reading it.
        parts: names of the parts, whose records are DATA/NAME.json.
        pieces: (folder of a data set, its parts) -> what the page shows of them.
        claims_of: the parts of a data set -> what the paper says of them.
        others: sections that belong to no data set, by the names that claims.json has them under.
    """
    names, sections = tuple(parts), {}
    for folder in sorted(p for p in study.out.iterdir() if p.is_dir()) if study.out.is_dir() else ():
        if there := {name: record for name in names if (record := read_object(folder / f"{name}.json"))}:
            sections[folder.name] = Section(folder.name, pieces(folder, there), claims_of(there))
    sections |= others or {}
    said = {name: judged(section.claims, study.preset) for name, section in sections.items()}
    body = [f"<h1>{escape(title)}</h1>", *(f'<p class="note">{escape(text)}</p>' for text in notes)]
    for name, section in sections.items():
        verdicts = ["<h3>Does it hold here?</h3>", html_table(said[name])] if said[name] else []
        body.append(html.section(section.heading, "".join([*section.pieces, *verdicts])))
    body.append(html.section("Calls", calls(study)))
    found = {name: [claim.as_dict() for claim in claims] for name, claims in said.items()}
    write_json(study.out / "claims.json", found)
    write_atomically(study.out / "claims.md", markdown(found).encode())
    return write_atomically(study.out / "report.html", html.page(title, body))


def claims_by_part(of: Mapping[str, Callable[[dict[str, Any]], Sequence[Claim]]]) -> Callable[[Parts], list[Claim]]:
    """What a paper says of each of its parts by itself: `of` has a function for each, from its record."""
    return lambda parts: [claim for name, record in parts.items() for claim in of[name](record)]


def heading(text: str, record: Mapping[str, Any]) -> str:
    """A part's heading, with the number of its trials where it has some."""
    trials = f", {record['trials']} trial{'s' * (record['trials'] > 1)}" if "trials" in record else ""
    return f"<h3>{escape(text + trials)}</h3>"


def pictures(folder: Path, figures: Pictures) -> list[str]:
    """Those of the figures that are there."""
    there = [(folder / f"{name}.png", caption) for name, caption in figures]
    return [html.figure(path, caption, "wide") for path, caption in there if path.is_file()]


def calls(study: Study) -> str:
    """What was asked for, where it ran, and how long it took."""
    lines = [[call["command"] or "from Python", call["device"], f"{call['cores']} cores, {call['threads']} threads",
              f"{call['seconds'] / 60:.1f}"] for call in read_calls(study)]
    if not lines:
        return "<p>None came to its end yet.</p>"
    return html.table(["command", "device", "machine", "minutes"], lines, "words")


def about_data(train: Any, test: Any) -> str:
    """A data set in a sentence, and what its loader has to say of it."""
    channels, height, width = train.image_shape
    return f"{len(train):,} training images, {len(test):,} others, {height}x{width}, {channels} channels. {train.note}".strip()
