"""The Triton kernels without a GPU: run in the interpreter, and compiled to sm_80 and sm_90 code.

The interpreter is chosen when Triton is imported, so both happen in processes of their own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vaefast

HERE = Path(__file__).resolve().parent
INTERPRETING = os.environ.get("TRITON_INTERPRET") == "1"
FILES = sorted(f.name for f in HERE.glob("test_*.py") if re.search(r"def test.*\bcpu_backend\b", f.read_text()))
KERNELS = sorted(f.stem for f in (HERE.parents[1] / "kernels").glob("*.py") if "def forward" in f.read_text())

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def version(package: str) -> tuple[int, ...]:
    if importlib.util.find_spec(package) is None:
        return 0, 0
    return tuple(int(n) for n in importlib.metadata.version(package).split(".")[:2])


# it makes a number of an array of one element, which NumPy no longer does
CANNOT_INTERPRET = version("triton") < (3, 7) and version("numpy") >= (2, 4)


def run(*command: str, **environment: str) -> None:
    env = {**os.environ, **environment}
    # The vaefast under test, which is the installed one or that of the checkout.
    env["PYTHONPATH"] = os.pathsep.join([str(Path(vaefast.__file__).parents[1]), env.get("PYTHONPATH", "")])
    # not from the checkout's root, which would come before it
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, cwd=HERE)
    assert result.returncode == 0, (result.stdout + result.stderr)[-5000:]


@pytest.mark.skipif(INTERPRETING, reason="already in the interpreter")
@pytest.mark.skipif(CANNOT_INTERPRET, reason="Triton's interpreter before 3.7 fails with NumPy 2.4: pip install 'numpy<2.4'")
def test_interpreted():
    """The tests of the ops, on the Triton kernels; in one process, as starting one takes seconds."""
    run("-m", "pytest", "-q", "-k", "[triton", *(str(HERE / file) for file in FILES), TRITON_INTERPRET="1")


@pytest.mark.skipif(INTERPRETING, reason="the interpreter cannot compile")
@pytest.mark.parametrize("kernel", [k if k in ("error_sums", "mixture_density") else pytest.param(k, marks=pytest.mark.slow)
                                    for k in KERNELS])
def test_compiles_without_a_gpu(tmp_path, kernel):
    run(str(HERE / "compile_triton.py"), kernel, TRITON_CACHE_DIR=str(tmp_path))
