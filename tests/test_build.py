"""The build: what it makes of any environment, without running a compiler where that is not what is asked."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def build(monkeypatch):
    for name in ("CXX", "CXXFLAGS", "CUDA_HOME", "CUDA_PATH", "MAX_JOBS", "VAEFAST_NO_CUDA", "VAEFAST_REQUIRE_NATIVE"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("build_of_vaefast", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("cxx", "compiler", "flags"), [
    ("g++", "g++", []), ("ccache g++", "g++", []), ("distcc ccache g++ -m64 -pipe", "g++", ["-m64", "-pipe"]),
    ("clang++ -O1", "clang++", ["-O1"]), ("g++ -include nowhere.h", "g++", ["-include", "nowhere.h"])])
def test_nvcc_gets_the_compiler_and_not_its_launcher(build, monkeypatch, cxx, compiler, flags):
    monkeypatch.setattr(build.shutil, "which", lambda word: word if word in ("g++", "clang++", "ccache", "distcc") else None)
    assert build.host_compiler(cxx.split()) == (compiler, flags)


@pytest.mark.parametrize("value", ["auto", "0", "-1", "", "2.5", " "])
def test_jobs_that_are_no_number_are_noted(build, monkeypatch, value):
    monkeypatch.setenv("MAX_JOBS", value)
    jobs, notes = build.compilers_at_once()
    assert jobs >= 1 and f"MAX_JOBS={value!r}" in notes[0]
    monkeypatch.setenv("MAX_JOBS", "3")
    assert build.compilers_at_once() == (3, [])


@pytest.mark.parametrize(("variable", "value"), [
    ("CXX", '"g++'), ("CXX", "g++ 'x"), ("CXXFLAGS", '-O2 "'), ("CXX", "/no/such c++")])
def test_what_cannot_be_read_is_a_reason_and_no_traceback(build, monkeypatch, tmp_path, capsys, variable, value):
    if variable == "CXXFLAGS" and not any(map(shutil.which, ("c++", "g++", "clang++"))) or sys.platform != "linux":
        pytest.skip("no C++ compiler")
    monkeypatch.setenv("VAEFAST_NO_CUDA", "1")
    monkeypatch.setenv(variable, value)
    build.build_recorded(tmp_path / "vaefast" / "_C.so", tmp_path / "work")
    record = json.loads((tmp_path / "vaefast" / "_build.json").read_text())
    assert record["built"] is False and f"{variable}=" in record["reason"]
    assert "not found" in record["reason"] or "quotes are not balanced" in record["reason"]
    assert "installing without the compiled core" in capsys.readouterr().err
    monkeypatch.setenv("VAEFAST_REQUIRE_NATIVE", "1")
    with pytest.raises(build.CannotBuild):
        build.build_recorded(tmp_path / "vaefast" / "_C.so", tmp_path / "work")


def test_an_old_setuptools_or_none_builds_in_place(monkeypatch, build):
    for version, reads in (("65.5.0", False), ("77.0.3", True), ("84.2.1.post1", True)):
        monkeypatch.setitem(sys.modules, "setuptools", types.SimpleNamespace(__version__=version))
        assert build.reads_pyproject() is reads
    monkeypatch.setitem(sys.modules, "setuptools", None)
    assert build.reads_pyproject() is False


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("c++"), reason="no C++ compiler")
@pytest.mark.parametrize("command", [["build_native"], pytest.param(["build_ext", "--inplace"], marks=pytest.mark.slow)])
def test_a_folder_of_any_letters_in_the_c_locale(tmp_path, command):
    for module in ("pybind11", "ninja"):
        pytest.importorskip(module)
    folder = tmp_path / "Bücher 日本"
    (folder / "csrc" / "cpu").mkdir(parents=True)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "vaefast").mkdir()
    (folder / "vaefast" / "__init__.py").write_text('__version__ = "0"\n')
    (folder / "kernels").mkdir()
    code = "#include <pybind11/pybind11.h>\nPYBIND11_MODULE(_C, m) { m.attr(\"x\") = 3; }\n"
    (folder / "csrc" / "bindings.cpp").write_text(code)
    (folder / "old").mkdir()
    (folder / "old" / "setuptools.py").write_text('__version__ = "65.5.0"\n')  # all that is asked of one that is too old
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "VAEFAST_NO_CUDA": "1", "CXXFLAGS": "-O0",
           "MAX_JOBS": "auto", "PYTHONPATH": "old"}
    env.pop("CXX", None)
    done = subprocess.run([sys.executable, "setup.py", *command], cwd=folder, env=env, capture_output=True)
    record = json.loads((folder / "vaefast" / "_build.json").read_text())
    assert done.returncode == 0 and record["built"] and "MAX_JOBS='auto'" in record["notes"][0], done.stderr
    assert list((folder / "vaefast").glob("_C*.so"))
