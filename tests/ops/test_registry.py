"""Which backend runs, who may force it, and what an import of the ops costs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vaefast.ops as ops
from vaefast.errors import BackendError
from vaefast.ops import _native, _registry, reparam

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    env = {**os.environ, **environment}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=env, cwd=ROOT
    )


def test_report_names_a_backend_and_a_reason_for_every_other():
    for served in ops.backends().values():
        for device, choice in served.items():
            others = set(ops.BACKENDS) - {choice.backend}
            assert set(choice.others) == others and all(choice.others.values())
            if device == "cpu":
                assert choice.backend in ("cpp", "reference")
                assert choice.backend == "cpp" or _native.why_missing()


def test_a_forced_backend_runs_and_is_restored():
    before = reparam._OP.choose("cpu")
    with ops.backend("reference"):
        assert reparam._OP.pick("cpu") is reparam._OP.kernels["reference"]
        assert ops.backends()["reparam_kl"]["cpu"].backend == "reference"
    assert reparam._OP.choose("cpu") == before


def test_a_forced_backend_that_cannot_run_raises():
    with ops.backend("cuda"), pytest.raises(BackendError, match="'cuda'.*reparam_kl on cpu.*Usable here: reference"):
        ops.reparam_kl(torch.ones(2, 3), torch.ones(2, 3))
    with pytest.raises(BackendError, match="one of reference, cpp, triton, cuda; got 'gpu'"), ops.backend("gpu"):
        pass


def test_environment_variable_forces():
    code = "import torch, vaefast.ops as o; o.reparam_kl(torch.ones(2, 3), torch.ones(2, 3)); print('ran')"
    assert python(code, VAEFAST_BACKEND="reference").stdout.strip() == "ran"
    for name in ("cuda", "nonsense"):
        result = python(code, VAEFAST_BACKEND=name)
        assert result.returncode and f"VAEFAST_BACKEND asks for backend '{name}'" in result.stderr


def test_import_is_silent_and_starts_no_cuda():
    code = "import vaefast.ops, torch, sys; assert not torch.cuda.is_initialized(); assert 'vaefast.kernels' not in sys.modules"
    result = python(code)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_runs_without_the_compiled_core():
    code = (
        "import sys; sys.modules['vaefast._C'] = None\n"
        "import torch, vaefast.ops as o\n"
        "z, kl = o.reparam_kl(torch.ones(2, 3), torch.ones(2, 3), seed=1); print(z.shape)\n"
        "s = o.backends()['reparam_kl']['cpu']; print(s.backend); print(s.others['cpp'])"
    )
    lines = python(code).stdout.splitlines()
    assert lines[1] == "reference" and lines[2]


def test_only_ops_imports_the_compiled_core_and_the_kernels():
    pattern = re.compile(r"^\s*(from|import)\s.*(\b_C\b|vaefast\.kernels|\bkernels\b)", re.M)
    for file in (ROOT / "vaefast").rglob("*.py"):
        if file.parent.name != "ops":
            assert not pattern.search(file.read_text()), file


def test_lower_instruction_sets_agree():
    if _native.why_missing() or _native.core().cpu_level() == 1:
        pytest.skip("one instruction set only")
    code = (
        "import torch, vaefast.ops as o\n"
        "g = torch.Generator().manual_seed(0); m, a = torch.randn(2, 9, 65, generator=g)\n"
        "z, kl = o.reparam_kl(m, a, param='softplus', seed=3)\n"
        "from vaefast.ops import _native; print(_native.core().cpu_level(), (z.double().sum() + kl.double().sum()).item())"
    )
    results = [python(code, VAEFAST_CPU_LEVEL=level).stdout.split() for level in ("1", "3", "4")]
    assert results[0][0] == "1"
    for result in results[1:]:
        assert float(result[1]) == pytest.approx(float(results[0][1]), rel=1e-6)
