"""The tutorials run as they stand, and are kept without outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vaefast

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


def cells(book: Path, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(book.read_text())["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("book", TUTORIALS, ids=lambda book: book.stem)
def test_a_tutorial_is_short_and_has_no_outputs(book):
    found = json.loads(book.read_text())
    assert 6 <= len(found["cells"]) <= 12 and found["nbformat"] == 4
    assert cells(book, "markdown")[0].startswith("# ")
    assert not [cell for cell in found["cells"] if cell.get("outputs") or cell.get("execution_count")]
    assert f"tutorials/{book.name}" in (ROOT / "mkdocs.yml").read_text()


def test_there_is_a_tutorial_of_each_kind():
    assert [book.stem for book in TUTORIALS] == ["an-op", "conditions", "first-model", "own-networks", "scoring", "second-stage",
                                                 "tables"]


@pytest.mark.parametrize("book", TUTORIALS, ids=lambda book: book.stem)
def test_a_tutorial_runs(book, tmp_path):
    """Cell after cell in one new process: their language is Python alone, so it takes no notebook server."""
    (tmp_path / "cells.json").write_text(json.dumps(cells(book, "code")))
    code = ("import json\nnames = {'__name__': '__main__'}\nfor number, cell in enumerate(json.load(open('cells.json'))):\n"
            "    exec(compile(cell, f'cell {number}', 'exec'), names)\n")
    environment = {**os.environ, "MPLBACKEND": "Agg", "VAEFAST_CACHE": str(tmp_path / "cache"),
                   "PYTHONPATH": str(Path(vaefast.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
