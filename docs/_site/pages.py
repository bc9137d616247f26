"""Pages of the site that are no files under docs/: the README as the first, and the reference, made of each room's `__all__`."""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
TABLES = re.compile(r"docs/results/[^/]+/.*\.md$")
"""Written by commands, and shown by the pages about them."""
ROOMS = ("vaefast", "ops", "metrics", "nets", "models", "training", "data")


def public_names(room: str) -> list[str]:
    """What a room exports, read without importing it."""
    folder = ROOT / "vaefast" / ("" if room == "vaefast" else room)
    for node in ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return [name for name in ast.literal_eval(node.value) if name not in (*ROOMS, "__version__")]
    raise ValueError(f"{folder / '__init__.py'} has no __all__")


def reference(room: str) -> str:
    """Markdown of a page of the reference."""
    module = "vaefast" if room == "vaefast" else f"vaefast.{room}"
    names = "\n\n".join(f"::: {module}.{name}" for name in public_names(room))
    text = ast.get_docstring(ast.parse((ROOT / module.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")))
    return f"# {module}\n\n{text}\n\n{names}\n"


def first_page() -> str:
    """The README as it reads from inside docs/."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace("](LICENSE)", "](https://www.apache.org/licenses/LICENSE-2.0)")
    return re.sub(r"\]\((?![a-z]+:|#)(docs/)?", lambda match: "](" if match[1] else "](../", text)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    files.append(File.generated(config, "index.md", content=first_page()))
    for room in ROOMS:
        files.append(File.generated(config, f"reference/{room}.md", content=reference(room)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to folders, and to files of the checkout that are no part of docs/, become names: a site has neither."""
    folder = posixpath.dirname(page.file.src_uri)

    def named(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", folder, match[2]))
        if target.startswith("docs/") and not (ROOT / target).is_dir() and not TABLES.match(target):
            return match[0]
        return f"`{match[1]}`" if target.endswith(match[1]) else f"{match[1]} (`{target}`)"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^):#]+)\)", named, markdown)
