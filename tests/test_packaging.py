"""What gets installed: versions, contents, links, and installations where something is missing.

The slow half builds copies of the tracked files, so nothing of the checkout's own build gets in.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from check_wheels import faults

import vaefast
from vaefast.ops import _native, build_record

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("ops", "nets", "models", "data", "metrics", "training", "experiments")


def test_version_is_written_once():
    assert 'version = { attr = "vaefast.__version__" }' in (ROOT / "pyproject.toml").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev|\.post)\d+)?", vaefast.__version__)
    for installed in importlib.metadata.distributions(name="vaefast"):
        if Path(str(installed.locate_file("vaefast"))).resolve() == Path(vaefast.__file__).resolve().parent:
            assert installed.version == vaefast.__version__


def test_build_record_is_readable():
    record = build_record()
    if record["built"]:
        assert record["compiler"] and "baseline" in record["instruction_sets"]
        assert record["cuda"]["built"] or record["cuda"]["reason"]
    else:
        assert record["reason"]
    assert record["built"] == (_native.why_missing() is None)


def test_the_core_links_neither_torch_nor_cuda():
    if _native.why_missing():
        pytest.skip(_native.why_missing())
    if not shutil.which("readelf"):
        pytest.skip("readelf is not installed")
    shown = subprocess.run(["readelf", "-d", _native.core().__file__], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", shown)
    assert needed and not [n for n in needed if re.match(r"lib(torch|c10|cudart|cuda|python)", n)], needed


def test_sources_need_no_torch_and_suit_every_cpu():
    header = re.compile(r'#\s*include\s*[<"](torch|ATen|c10)/')
    for source in (ROOT / "csrc").rglob("*.*"):
        assert not header.search(source.read_text()), source
    setup = (ROOT / "setup.py").read_text()
    assert "-march=native" not in setup and not re.search(r"^\s*(import|from) torch", setup, re.M)


# The slow half.

REPORT = f"""
import json, sys
sys.path.append({str(ROOT / "tests")!r})
from installed import report
import vaefast.ops as ops
from vaefast.ops import _native
found, served = report(), ops.backends()["reparam_kl"]["cpu"]
try:
    import triton
except ImportError:
    pass
else:
    _native.kernels("noise")
assert len(found["runtimes"]) <= 1, found
print(json.dumps(dict(found, others=served.others, missing=_native.why_missing())))
"""


def call(*command: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    """Runs without the checkout on the path, and without the caller's own build options."""
    left_out = ("PYTHONPATH", "PYTHONHOME", "CXX", "CC", "CXXFLAGS", "CUDA_HOME", "CUDA_PATH")
    env = {k: v for k, v in os.environ.items() if k not in left_out and not k.startswith("VAEFAST_")}
    words = [str(c) for c in command]
    return subprocess.run(words, cwd=cwd, env={**env, **variables}, capture_output=True, text=True)


def succeed(*command: object, cwd: Path, **variables: str) -> str:
    result = call(*command, cwd=cwd, **variables)
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    return result.stdout


@pytest.fixture
def tree(tmp_path):
    """A copy of the tracked files as they are now."""
    listed = call("git", "ls-files", "-z", cwd=ROOT) if shutil.which("git") else None
    if listed is None or listed.returncode or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so which files belong to the package is not known")
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed")
    copy = tmp_path / "tree"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture
def build_tools():
    """What a build without isolation needs in this environment."""
    for module in ("setuptools", "pybind11", "ninja"):
        if importlib.util.find_spec(module) is None:  # not imported: setuptools would replace distutils here
            pytest.skip(f"{module} is not installed")
    if int(importlib.metadata.version("setuptools").partition(".")[0]) < 77:
        pytest.skip("setuptools is older than 77")


class Venv:
    """A new virtual environment that sees this one's packages, its own first."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.python = folder, folder / "bin" / "python"
        succeed(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
        paths = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "outer.pth").write_text("\n".join(paths) + "\n")

    def install(self, *arguments: object, **variables: str) -> None:
        # --ignore-installed: a vaefast of the outer environment is neither enough nor to be touched.
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--ignore-installed")
        succeed(self.python, "-m", "pip", "install", *options, *arguments, cwd=self.folder, **variables)

    def report(self) -> dict:
        """What an installed vaefast says of itself, asked from another folder with warnings as errors."""
        return json.loads(succeed(self.python, "-W", "error", "-c", REPORT, cwd=self.folder))


@pytest.fixture
def venv(tmp_path):
    return Venv(tmp_path / "venv")


def with_compiler() -> bool:
    return sys.platform == "linux" and any(map(shutil.which, ("c++", "g++", "clang++")))


@pytest.mark.slow
def test_wheel_of_an_isolated_build_holds_everything(tree, tmp_path):
    result = call(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path / "out", tree, cwd=tmp_path)
    if result.returncode and re.search(r"No matching distribution|Connection|Max retries|Temporary failure", result.stderr):
        pytest.skip("the isolated build reaches no package index")
    assert result.returncode == 0, result.stderr[-4000:]
    (wheel,) = (tmp_path / "out").glob("vaefast-*.whl")
    assert not faults(wheel, tree)
    with zipfile.ZipFile(wheel) as archive:
        record = json.loads(archive.read("vaefast/_build.json"))
        names = archive.namelist()
    assert {f"vaefast/{room}/__init__.py" for room in ROOMS} <= {*names}
    assert record["built"] == with_compiler(), record


def test_a_wheel_that_lacks_something_is_told(tmp_path):
    whole = {p.relative_to(ROOT).as_posix(): b"" for p in (ROOT / "vaefast").rglob("*.py")}
    whole |= {f"vaefast/kernels/{p.name}": b"" for p in (ROOT / "kernels").glob("*.py")}
    whole |= {"vaefast/py.typed": b"", "vaefast/data/uci_digits.npz": b"", "vaefast/_C.abi.so": b"",
              "vaefast.dist-info/METADATA": f"Version: {vaefast.__version__}\n".encode(),
              "vaefast/_build.json": b'{"built": true, "cuda": {"built": false, "reason": "no nvcc"}}'}

    def told(name: str, **changed: bytes | None) -> list[str]:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file, text in {**whole, **changed}.items():
                if text is not None:
                    archive.writestr(file, text)
        return faults(tmp_path / name)

    assert told("whole-linux_x86_64.whl") == []
    assert told("whole-manylinux_2_28_x86_64.whl") == ["no CUDA kernels: no nvcc"]
    assert told("untyped.whl", **{"vaefast/py.typed": None}) == ["vaefast/py.typed is missing"]
    assert told("sources.whl", **{"csrc/bindings.cpp": b""})[0] == "csrc/bindings.cpp is no part of the package"
    assert told("no-core.whl", **{"vaefast/_C.abi.so": None}) == ["the record says built: True"]
    assert told("runtime.whl", **{"vaefast.libs/libgomp.so.1": b""}) == ["vaefast.libs/libgomp.so.1 was not asked for"]


@pytest.mark.slow
def test_sdist_builds_and_so_does_a_wheel_of_it(tree, build_tools, venv, tmp_path):
    code = "import setuptools.build_meta as b; print(b.build_sdist('dist'))"
    sdist = tree / "dist" / succeed(sys.executable, "-c", code, cwd=tree).splitlines()[-1]
    with tarfile.open(sdist) as archive:
        names = {n.partition("/")[2] for n in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "LICENSE", "README.md", "mkdocs.yml"} <= names
    for folder in ("csrc", "kernels", "vaefast", "tests", "docs", "examples"):
        files = {str(p.relative_to(tree)) for p in (tree / folder).rglob("*") if p.is_file()}
        assert files <= names, files - names
    assert not [n for n in names if n.endswith((".so", ".o", "_build.json", ".pyc"))]
    venv.install(sdist, VAEFAST_NO_CUDA="1", CXXFLAGS="-O0")
    report = venv.report()
    assert report["record"]["cuda"] == {"built": False, "reason": "left out by VAEFAST_NO_CUDA"} or not with_compiler()
    assert report["backend"] == ("cpp" if with_compiler() else "reference")


@pytest.mark.slow
def test_without_a_compiler_the_reference_runs_and_says_why(tree, build_tools, venv):
    venv.install(tree, CC="/nowhere/cc", CXX="/nowhere/c++")
    report = venv.report()
    assert Path(report["file"]).is_relative_to(venv.folder)
    assert report["backend"] == "reference" and report["record"]["built"] is False
    assert report["missing"] == report["others"]["cpp"] == "no C++ compiler: CXX=/nowhere/c++ not found"


@pytest.mark.slow
@pytest.mark.skipif(not with_compiler(), reason="no C++ compiler")
@pytest.mark.parametrize("answers", [False, True], ids=["does nothing", "tells its version only"])
def test_a_broken_nvcc_leaves_the_cpu_kernels_and_a_reason(tree, build_tools, venv, tmp_path, answers):
    nvcc = tmp_path / "cuda" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    version = 'case "$*" in --version) echo "Cuda compilation tools, release 12.4"; exit 0;; esac\n' if answers else ""
    nvcc.write_text(f"#!/bin/sh\n{version}echo 'fatal error: this nvcc is broken' >&2\nexit 1\n")
    nvcc.chmod(0o755)
    where = {"PATH": f"{nvcc.parent}:{os.environ['PATH']}"} if answers else {"CUDA_HOME": str(nvcc.parent.parent)}
    venv.install(tree, CXXFLAGS="-O0", **where)
    report = venv.report()
    assert report["backend"] == "cpp" and report["record"]["cuda"]["built"] is False
    assert ("this nvcc is broken" if answers else "--version failed") in report["record"]["cuda"]["reason"]


@pytest.mark.slow
def test_editable_install_imports_from_another_folder(tree, build_tools, venv):
    venv.install("--editable", tree, VAEFAST_NO_CUDA="1", CXXFLAGS="-O0")
    report = venv.report()
    assert Path(report["file"]) == tree / "vaefast" / "__init__.py"
    assert report["backend"] == ("cpp" if with_compiler() else "reference")
