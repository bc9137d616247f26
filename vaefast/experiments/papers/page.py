"""The page of a reproduction: all that is there so far, read from its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from vaefast.api.base import versions
from vaefast.experiments.papers.claims import RULE, Claim, html_table, judged, markdown
from vaefast.experiments.papers.plan import Paper, Pictures, Record, Study
from vaefast.experiments.papers.tables import lines_of
from vaefast.experiments.pictures import html
from vaefast.files import write_atomically
from vaefast.training.storage import read_object, write_json

CALLS = "calls.jsonl"


def write_page(paper: Paper, study: Study) -> Path:
    """report.html, claims.json and claims.md in the study's folder, of every part that is there; returns the page's path."""
    body = [f"<h1>{escape(paper.title)}</h1>"]
    machine = f"torch {versions()['torch']}, {os.cpu_count()} cores."
    first, *others = paper.notes(study)
    if study.share != 1:
        machine = f"Trained for {study.share:.2g} of the preset's epochs and steps; {machine}"
    body += [f'<p class="note">{escape(text)}</p>' for text in (f"{first} {machine}", *others)]
    said = {name: judged(claims, study.preset) for name, claims in all_claims(paper, study.out).items()}
    for folder in folders(study.out):
        if there := records(paper, folder, once=False):
            body.append(html.section(folder.name, _section(paper, folder, there, said[folder.name])))
    for name in records(paper, study.out, once=True):
        pieces = [*pictures(study.out, paper.parts[name].figures), *_verdicts(said[name])]
        body.append(html.section(paper.parts[name].heading, "".join(pieces)))
    body.append(html.section("Calls", calls(study)))
    write_claims(said, study.out)
    return write_atomically(study.out / "report.html", html.page(paper.title, body))


def write_claims(said: Mapping[str, list[Claim]], folder: Path) -> None:
    """claims.json and claims.md."""
    claim_records = {name: [claim.as_dict() for claim in claims] for name, claims in said.items()}
    write_json(folder / "claims.json", claim_records)
    write_atomically(folder / "claims.md", markdown(claim_records).encode())


def folders(out: Path) -> list[Path]:
    """Those of the data sets."""
    return sorted(path for path in out.iterdir() if path.is_dir()) if out.is_dir() else []


def all_claims(paper: Paper, out: Path) -> dict[str, list[Claim]]:
    """What the paper says of all records in a folder, by data set and by part that is there once."""
    said = {folder.name: claims_of(paper, there) for folder in folders(out) if (there := records(paper, folder, once=False))}
    return said | {name: list(paper.parts[name].claims(record)) for name, record in records(paper, out, once=True).items()}


def records(paper: Paper, folder: Path, once: bool) -> dict[str, Record]:
    """The records of the parts that are there."""
    names = [name for name, part in paper.parts.items() if part.once == once and part.heading]
    return {name: record for name in names if (record := read_object(folder / f"{name}.json"))}


def claims_of(paper: Paper, there: Mapping[str, Record]) -> list[Claim]:
    """What the paper says of the parts of a data set."""
    if paper.claims is not None:
        return list(paper.claims(there))
    return [claim for name, record in there.items() for claim in paper.parts[name].claims(record)]


def _section(paper: Paper, folder: Path, there: Mapping[str, Record], said: list[Claim]) -> str:
    """What the page shows of a data set."""
    about = read_object(folder / "data.json").get("about")
    pieces = [f'<p class="note">{escape(about)}</p>'] if about else []
    for name, record in there.items():
        part = paper.parts[name]
        pieces.append(heading(part.heading, record))
        if part.columns:
            lines = lines_of(record, part.columns)
            pieces.append(html.table(lines[0], lines[1:]))
        pieces += [*(part.more(folder, record) if part.more else ()), *pictures(folder, part.figures)]
    title, figures = paper.loose
    if drawn := pictures(folder, figures):
        pieces += [f"<h3>{escape(title)}</h3>", *drawn]
    return "".join([*pieces, *_verdicts(said)])


def _verdicts(said: list[Claim]) -> list[str]:
    return ["<h3>Does it hold here?</h3>", f"<p>{RULE}</p>", html_table(said)] if said else []


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
    path = study.out / CALLS
    made = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    lines = [[call["command"] or "from Python", call["device"], f"{call['cores']} cores, {call['threads']} threads",
              f"{call['seconds'] / 60:.1f}"] for call in made]
    if not lines:
        return "<p>None came to its end yet.</p>"
    return html.table(["command", "device", "machine", "minutes"], lines, "words")


def about_data(train: Any, test: Any) -> str:
    """A data set in a sentence, and what its loader has to say of it."""
    channels, height, width = train.image_shape
    return f"{len(train):,} training images, {len(test):,} others, {height}x{width}, {channels} channels. {train.note}".strip()
