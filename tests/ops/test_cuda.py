"""The CUDA sources compile with nvcc; that they compute right is tested through the fixture cpu_backend."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vaefast.ops._native import build_record

ROOT = Path(__file__).resolve().parents[2]
NVCC = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")


@pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")
def test_the_build_compiled_them_or_was_told_not_to():
    record = build_record()
    cuda = record.get("cuda", {})
    assert not record["built"] or cuda["built"] or "VAEFAST_NO_CUDA" in cuda["reason"], cuda


@pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")
@pytest.mark.slow  # the build has compiled them, or says why not
@pytest.mark.parametrize("source", sorted((ROOT / "csrc" / "cuda").glob("*.cu")), ids=lambda p: p.name)
def test_cuda_source_compiles(tmp_path, source):
    command = [NVCC, "-std=c++17", "-O1", "-arch=sm_80", "-c", str(source), "-o", str(tmp_path / "x.o")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
