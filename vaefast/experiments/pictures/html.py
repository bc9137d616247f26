"""Pieces of a self-contained HTML page: pictures inside, no scripts, no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from vaefast.experiments.pictures.report_style import CSS


def page(title: str, body: Sequence[str]) -> bytes:
    """A whole page of ready pieces."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} - vaefast</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    ).encode("utf-8", "backslashreplace")  # paths may hold bytes that are no UTF-8


def section(heading: str, content: str) -> str:
    """A heading with what belongs to it."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n{content}\n</section>"


def figure(path: Path, caption: str, css: str = "") -> str:
    """The PNG or GIF at `path` within the page; a sentence in its place where it cannot be read."""
    try:
        code = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        return f'<p class="missing">{escape(path.name)} cannot be read ({escape(error.strerror or str(error))}).</p>'
    alt = escape(caption, quote=True)
    picture = f'<img src="data:image/{path.suffix[1:]};base64,{code}" alt="{alt}">'
    return f'<figure class="{css}">{picture}<figcaption>{escape(caption)}</figcaption></figure>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], css: str = "number") -> str:
    """A table whose first column is words and whose others are numbers, or words, too."""
    head = f"<th>{escape(heads[0])}</th>" + "".join(f'<th class="{css}">{escape(h)}</th>' for h in heads[1:])
    lines = "".join(f'<tr><th scope="row" class="words">{escape(row[0])}</th>' + "".join(
        f'<td class="{css}">{escape(c)}</td>' for c in row[1:]) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
