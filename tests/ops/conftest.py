"""Fixtures of the op tests, and the metrics that they compare with.

Tests that take `cpu_backend` run on the reference, on the C++ kernels, on the CUDA kernels compiled for the CPU
(tests/ops/cuda_on_cpu), and, where TRITON_INTERPRET=1 is set before the start, on the Triton kernels; test_triton.py
starts that run. Tests that take `gpu_backend` run on a GPU.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch

from vaefast.ops import _native, _registry

ROOT = Path(__file__).resolve().parents[2]
SAME_ON_ALL = ("test_opcheck", "test_gradcheck", "test_linear_and_block", "test_median", "test_every_way_to_state",
               "test_gamma_a_channel", "test_weights", "test_fake_strides", "test_draws_follow_from_the_seed",
               "test_draws_are_independent", "test_noise_is_never_repeated", "test_calls_draw_new_seeds",
               "test_backward_twice_is_bitwise_equal")
"""Tests of what all backends have in common, in front of the kernels, of gradients that are held against formulas, too, of the
words of the noise (test_noise_triton.py holds those), and of the order in which blocks end, which is always the same in the
interpreter."""
INTERPRETING = os.environ.get("TRITON_INTERPRET") == "1"


def pytest_collection_modifyitems(items):
    for item in items:
        if "needs_gpu" in item.fixturenames:
            item.add_marker(pytest.mark.gpu)
        on_threads = "cuda-on-cpu" in item.name and item.name.startswith("test_gradcheck")
        if on_threads or INTERPRETING and item.name.startswith(SAME_ON_ALL):
            item.add_marker(pytest.mark.exhaustive)


@pytest.fixture(scope="session")
def cuda_on_cpu(tmp_path_factory):
    """vaefast._C with its CUDA kernels compiled for the CPU, once for all workers, or the reason why there is none."""
    cxx = shutil.which("c++") or shutil.which("g++")
    if not cxx or not importlib.util.find_spec("pybind11"):
        return "needs a C++ compiler and pybind11"
    shared = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else tmp_path_factory.getbasetemp()
    library = shared / "cuda_on_cpu" / f"_C{sysconfig.get_config_var('EXT_SUFFIX')}"
    with open(shared / "cuda_on_cpu.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            _compile(cxx, library)
    spec = importlib.util.spec_from_file_location("_C", library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compile(cxx: str, library: Path) -> None:
    import pybind11

    folder = library.parent
    folder.mkdir()
    flags = ["-std=c++17", "-fPIC", "-DVAEFAST_WITH_CUDA", "-DVAEFAST_ISA=baseline", "-Wno-attributes",
             f"-I{ROOT / 'tests/ops/cuda_on_cpu'}", f"-I{ROOT / 'csrc'}", f"-I{pybind11.get_include()}",
             f"-I{sysconfig.get_paths()['include']}"]  # fmt: skip
    sources = [ROOT / "csrc/bindings.cpp", *(ROOT / "csrc/cuda").glob("*.cu"), *(ROOT / "csrc/cpu").glob("*.cpp")]
    objects = [folder / f"{s.parent.name}_{s.stem}.o" for s in sources]
    jobs = [
        # the CPU's own kernels are there for the bindings, and not run
        subprocess.Popen([cxx, *flags, "-O1" if s.suffix == ".cu" else "-O0", "-x", "c++", "-c", str(s), "-o", str(o)],
                         stderr=subprocess.PIPE, text=True)
        for s, o in zip(sources, objects)
    ]
    for job, errors in [(job, job.communicate()[1]) for job in jobs]:
        assert job.returncode == 0, errors
    subprocess.run([cxx, "-shared", *map(str, objects), "-o", str(folder / "part")], check=True)
    (folder / "part").rename(library)


@pytest.fixture(params=["reference", "cpp", "cuda-on-cpu", *(["triton"] if INTERPRETING else [])])
def cpu_backend(request, monkeypatch):
    """Each backend that runs on CPU tensors, forced for the length of a test."""
    backend = request.param
    if backend == "cuda-on-cpu":
        core = request.getfixturevalue("cuda_on_cpu")
        if isinstance(core, str):
            pytest.skip(core)
        monkeypatch.setattr(_native, "run", lambda name, x, *f: getattr(core, name + "_cuda")(*_native.values(f), 0, 0))
        monkeypatch.setattr(_native, "on_gpu", lambda x: True)
        backend = "cpp"  # its Python side is the same
    reason = _registry.why_not(backend, "cpu")
    if reason:
        pytest.skip(f"{backend}: {reason}")
    with _registry.backend(backend):
        yield request.param


@pytest.fixture(params=["reference", "triton", "cuda"])
def gpu_backend(request, needs_gpu):
    """Each backend that runs on CUDA tensors, forced for the length of a test."""
    reason = _registry.why_not(request.param, "cuda")
    if reason:
        pytest.skip(reason)
    with _registry.backend(request.param):
        yield request.param


@pytest.fixture
def needs_gpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")


@pytest.fixture
def close():
    """close(actual, expected, rel): relative L2 error and signed bias within rel, no NaN, direction kept."""

    def check(actual: torch.Tensor, expected: torch.Tensor, rel: float) -> None:
        given = actual.dtype
        actual, expected = actual.detach().double().flatten(), expected.detach().double().flatten()
        assert actual.shape == expected.shape
        assert torch.isfinite(actual).all()
        if actual.numel() == 0 or not expected.any():
            assert not actual.any()
            return
        size = expected.norm().clamp(min=1e-30)
        if INTERPRETING and given == torch.bfloat16:
            rel = 2 * rel  # Triton's interpreter cuts floats to bfloat16 where the GPU rounds
        assert (actual - expected).norm() / size <= rel
        assert (actual - expected).sum().abs() / expected.abs().sum().clamp(min=1e-30) <= rel
        assert actual @ expected / (actual.norm().clamp(min=1e-30) * size) >= 1 - rel

    return check
