"""Imports run one way through the house, and importing costs little."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vaefast

ROOT = Path(vaefast.__file__).parent
ALLOWED = {
    "collectives": set(), "cpu": set(), "errors": set(), "files": set(), "digest": set(), "float32": set(), "pixel_values": set(),
    "torch_private": set(), "weights_file": set(), "nets": set(),
    "ops": {"_C", "kernels"}, "data": set(),
    "models": {"ops", "nets"}, "metrics": {"ops", "data"},
    "training": {"models", "nets", "metrics", "data", "ops"},
    "api": {"training", "models", "metrics", "nets", "data", "ops"},
    "experiments": {"api", "training", "models", "nets", "metrics", "data", "ops"},
    "exporting": {"api", "training", "models", "nets"},
    "cli": {"experiments", "exporting", "api", "training", "data", "models", "metrics", "nets"},
    "__main__": {"cli"},
}


def imported(path: Path) -> set[str]:
    """Rooms of vaefast that a file imports."""
    rooms = set()
    package = ("vaefast", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join((*base, *([node.module] if node.module else [])))
            names = [f"{stem}.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("vaefast.") and name.count(".")}
    return rooms


def test_imports_run_one_way():
    wrong = []
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room in ("__init__", "kernels"):
            continue
        allowed = ALLOWED[room] | {room, "collectives", "cpu", "errors", "files", "digest", "float32", "pixel_values",
                                   "torch_private", "weights_file", "__version__"}
        wrong += [f"{path.relative_to(ROOT)} imports {other}" for other in imported(path) - allowed]
    assert not wrong


def test_private_parts_of_torch_are_in_one_module():
    wrong = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if path.name != "torch_private.py"
             and re.search(r"\btorch\.(ops\.\w+\.)?_[a-zA-Z]|from torch\._", path.read_text())]
    assert not wrong


def test_import_is_clean_quick_and_touches_no_gpu():
    code = ("import time, torch; t = time.process_time(); import vaefast, vaefast.api; d = time.process_time() - t;"
            "assert not torch.cuda.is_initialized(); import sys;"
            "assert not {'matplotlib', 'sklearn', 'vaefast.metrics'} & sys.modules.keys(); print(d)")
    out = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert float(out.stdout) < 3.0  # 0.3 s of processor time on most; other work on the machine is not counted


@pytest.mark.parametrize(("first", "users", "policy"), [("vaefast", None, "passive"), ("vaefast", "active", "active"),
                                                        ("torch", None, "None")])
def test_threads_wait_asleep_where_torch_can_still_be_told(first, users, policy):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if users is None else {"OMP_WAIT_POLICY": users}
    code = f"import os, {first}, vaefast; print(os.environ.get('OMP_WAIT_POLICY'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == policy, done.stderr
