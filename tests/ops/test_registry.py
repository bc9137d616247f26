"""Which backend runs, who may force it, and what an import of the ops costs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import vaefast
import vaefast.ops as ops
from vaefast.errors import BackendError
from vaefast.ops import _native, reparam

ROOT = Path(__file__).resolve().parents[2]


# One process imports torch and forks once per scenario, as the import of torch is most of the cost.
# Nothing has started a thread or OpenMP at that point.
SCENARIOS: dict[str, tuple[dict[str, str], str]] = {
    "import": (
        {},
        "import vaefast.ops, torch, sys; assert not torch.cuda.is_initialized(); assert 'vaefast.kernels' not in sys.modules",
    ),
    **{
        name: (
            {"VAEFAST_BACKEND": name},
            "import torch, vaefast.ops as o; o.reparam_kl(torch.ones(2, 3), torch.ones(2, 3)); print('ran')",
        )
        for name in ("reference", "cuda", "nonsense")
    },
    "no core": (
        {},
        "import sys; sys.modules['vaefast._C'] = None\n"
        "import torch, vaefast.ops as o\n"
        "z, kl = o.reparam_kl(torch.ones(2, 3), torch.ones(2, 3), seed=1); assert z.shape == (2, 3)\n"
        "s = o.backends()['reparam_kl']['cpu']; print(s.backend); print(s.others['cpp'])",
    ),
    **{
        f"level {level}": (
            {"VAEFAST_CPU_LEVEL": level},
            "import torch, vaefast.ops as o\n"
            "g = torch.Generator().manual_seed(0); m, a = torch.randn(2, 9, 65, generator=g)\n"
            "z, kl = o.reparam_kl(m, a, param='softplus', seed=3)\n"
            "from vaefast.ops import _native\n"
            "level = 0 if _native.why_missing() else _native.core().cpu_level()\n"
            "print(level, (z.double().sum() + kl.double().sum()).item())",
        )
        for level in ("1", "3", "4")
    },
}

RUNNER = """
import json, os, sys, traceback
import torch
for name, (environment, code) in json.load(sys.stdin).items():
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        for fd, kind in ((1, "out"), (2, "err")):
            os.dup2(os.open(os.path.join(sys.argv[1], f"{name}.{kind}"), os.O_WRONLY | os.O_CREAT), fd)
        os.environ.update(environment)
        status = 0
        try:
            exec(code, {})
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush(); sys.stderr.flush()
        os._exit(status)
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), sep="=")
"""


@dataclass(frozen=True)
class Ran:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> dict[str, Ran]:
    """What every scenario printed, in a process of its own with warnings as errors."""
    folder = tmp_path_factory.mktemp("scenarios")
    env = {k: v for k, v in os.environ.items() if k not in ("VAEFAST_BACKEND", "VAEFAST_CPU_LEVEL")}
    # The vaefast under test, which is the installed one or that of the checkout.
    env["PYTHONPATH"] = os.pathsep.join([str(Path(vaefast.__file__).parents[1]), env.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER, str(folder)],
        input=json.dumps(SCENARIOS), capture_output=True, text=True, env=env, cwd=folder,
    )  # fmt: skip
    assert result.returncode == 0 and result.stderr == "", result.stderr
    codes = dict(line.split("=") for line in result.stdout.splitlines())
    return {
        name: Ran(int(codes[name]), *((folder / f"{name}.{kind}").read_text() for kind in ("out", "err")))
        for name in SCENARIOS
    }


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


def test_environment_variable_forces(ran):
    assert ran["reference"].stdout.strip() == "ran"
    for name in ("cuda", "nonsense"):
        assert ran[name].returncode and f"VAEFAST_BACKEND asks for backend '{name}'" in ran[name].stderr


def test_import_is_silent_and_starts_no_cuda(ran):
    assert ran["import"] == Ran(0, "", "")


def test_runs_without_the_compiled_core(ran):
    lines = ran["no core"].stdout.splitlines()
    assert lines[0] == "reference" and lines[1]


def test_only_ops_imports_the_compiled_core_and_the_kernels():
    pattern = re.compile(r"^\s*(from|import)\s.*(\b_C\b|vaefast\.kernels|\bkernels\b)", re.M)
    for file in (ROOT / "vaefast").rglob("*.py"):
        if file.parent.name != "ops":
            assert not pattern.search(file.read_text()), file


def test_lower_instruction_sets_agree(ran):
    if _native.why_missing() or _native.core().cpu_level() == 1:
        pytest.skip("one instruction set only")
    results = [ran[f"level {level}"].stdout.split() for level in ("1", "3", "4")]
    assert results[0][0] == "1"
    for result in results[1:]:
        assert float(result[1]) == pytest.approx(float(results[0][1]), rel=1e-6)
