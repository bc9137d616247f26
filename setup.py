"""Builds vaefast._C with ninja: the CPU kernels always, the CUDA kernels where nvcc is found.

Nothing here may break an installation: what cannot be built is left out, vaefast runs on the PyTorch
reference instead, and the reason is written to vaefast/_build.json, which `vaefast info` shows.

Environment:
    CXX, CXXFLAGS           C++ compiler and extra flags
    CUDA_HOME, CUDA_PATH    where nvcc is (bin/nvcc); otherwise PATH is searched
    VAEFAST_NO_CUDA=1       leave the CUDA kernels out
    VAEFAST_CUDA_ARCHS      such as "80,90,90+ptx" (the default): compute capabilities, +ptx for forward compatibility
    VAEFAST_REQUIRE_NATIVE=1  fail instead of installing without the compiled core
    MAX_JOBS                compilers at a time

`python setup.py build_native` builds the module into the checkout, by itself: with any setuptools or none, and without a network.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"
RECORD = "_build.json"

# The names must match csrc/cpu/isa.h.
X86_ISAS = {
    "baseline": [],
    "x86_64_v3": ["-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2"],
    "x86_64_v4": ["-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mavx512f", "-mavx512bw", "-mavx512dq",
                  "-mavx512vl", "-mprefer-vector-width=512"],
}  # fmt: skip
CXX_FLAGS = ["-std=c++17", "-O3", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math",
             "-ffp-contract=fast", "-Wall"]  # fmt: skip
DEFAULT_CUDA_ARCHS = "80,90,90+ptx"


class CannotBuild(Exception):
    """Why a part cannot be built, in one sentence."""


def run(command: list[str]) -> subprocess.CompletedProcess:
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
    except (OSError, ValueError) as error:
        raise CannotBuild(f"{shlex.join(command[:1])} does not run: {getattr(error, 'strerror', None) or error}") from error


def words(variable: str) -> list[str]:
    """The words of an environment variable, as a shell reads them."""
    value = os.environ.get(variable, "")
    try:
        return shlex.split(value)
    except ValueError as error:
        raise CannotBuild(f"{variable}={value!r} cannot be read ({error}): its quotes are not balanced") from error


def say(text: str) -> None:
    """Print, whatever letters the terminal has."""
    encoding = sys.stderr.encoding or "ascii"
    print(f"vaefast: {text}".encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr, flush=True)


def compiles(command: list[str], source: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "probe.cpp")
        file.write_text(source, encoding="utf-8")
        return run([*command, str(file), "-o", str(Path(folder, "probe.so"))]).returncode == 0


def find_cxx() -> list[str]:
    wished = words("CXX")
    commands = [wished] if wished else [["c++"], ["g++"], ["clang++"]]
    for command in commands:
        if shutil.which(command[0]):
            if compiles([*command, "-std=c++17", "-fPIC", "-shared"], "#include <cstdint>\nint probe;\n"):
                return command
            raise CannotBuild(f"the C++ compiler {shlex.join(command)!r} cannot build a C++17 shared library")
    named = "CXX=" + os.environ["CXX"] if wished else ", ".join(command[0] for command in commands)
    raise CannotBuild(f"no C++ compiler: {named} not found")


def host_compiler(cxx: list[str]) -> tuple[str, list[str]]:
    """The compiler itself, which nvcc calls, and its flags: CXX="ccache g++ -m64" begins with a launcher, of no use to nvcc."""
    place = max(i for i, word in enumerate(cxx) if i == 0 or not word.startswith("-") and shutil.which(word))
    return cxx[place], cxx[place + 1:]


def compilers_at_once() -> tuple[int, list[str]]:
    """How many compilers run at a time, and what there is to say of that."""
    value = os.environ.get("MAX_JOBS")
    usual = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if value is None or value.strip().isdecimal() and int(value) > 0:
        return int(value) if value else usual, []
    return usual, [f"MAX_JOBS={value!r} is no whole number above 0; {usual} compilers ran at a time"]


def find_ninja() -> str:
    try:
        import ninja

        found = shutil.which("ninja", path=ninja.BIN_DIR)
    except ImportError:
        found = None
    found = found or shutil.which("ninja")
    if not found:
        raise CannotBuild("ninja is not installed")
    return found


def pybind11_include() -> str:
    try:
        import pybind11
    except ImportError as error:
        raise CannotBuild("pybind11 is not installed") from error
    return pybind11.get_include()


def find_nvcc() -> str:
    if os.environ.get("VAEFAST_NO_CUDA", "0") not in ("", "0"):
        raise CannotBuild("left out by VAEFAST_NO_CUDA")
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        home = os.environ.get(variable)
        if home:
            nvcc = Path(home, "bin", "nvcc")
            if not nvcc.exists():
                raise CannotBuild(f"{variable}={home} holds no bin/nvcc")
            return str(nvcc)
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if not nvcc:
        raise CannotBuild("nvcc not found (CUDA_HOME, CUDA_PATH, PATH)")
    return nvcc


def nvcc_version(nvcc: str) -> str:
    result = run([nvcc, "--version"])
    match = re.search(r"release (\d+\.\d+)", result.stdout)
    if result.returncode or not match:
        raise CannotBuild(f"{nvcc} --version failed")
    return match.group(1)


def gencode_flags(archs: str) -> list[str]:
    flags = []
    for arch in re.split(r"[,;\s]+", archs.strip()):
        match = re.fullmatch(r"(\d+)\.?(\d)([af]?)(\+ptx)?", arch.lower())
        if not match:
            raise CannotBuild(f"VAEFAST_CUDA_ARCHS={archs!r}: {arch!r} is not like 80, 9.0, 90a or 90+ptx")
        number = match.group(1) + match.group(2) + match.group(3)
        code = ("compute_" if match.group(4) else "sm_") + number
        flags += ["-gencode", f"arch=compute_{number},code={code}"]
    return flags


def quote(words: list[str]) -> str:
    return shlex.join(words).replace("$", "$$")


def ninja_path(path: object) -> str:
    return str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")


class Plan:
    """The build.ninja of one configuration, and what the record says of it."""

    def __init__(self, cxx: list[str], nvcc: str | None) -> None:
        self.cxx, self.nvcc = cxx, nvcc
        self.flags = [*CXX_FLAGS, *words("CXXFLAGS")]
        self.openmp = compiles([*cxx, "-fopenmp", "-fPIC", "-shared"], "#include <omp.h>\nint n = omp_get_max_threads();\n")
        if self.openmp:
            self.flags.append("-fopenmp")
        self.isas = {"baseline": []}
        if platform.machine().lower() in ("x86_64", "amd64"):
            probe = "extern int x; int x;\n"
            if all(compiles([*cxx, *flags, "-fPIC", "-shared"], probe) for flags in X86_ISAS.values()):
                self.isas = X86_ISAS
                self.flags.append("-DVAEFAST_MULTI_ISA")
        self.gencode = gencode_flags(os.environ.get("VAEFAST_CUDA_ARCHS") or DEFAULT_CUDA_ARCHS) if nvcc else []

    def write(self, folder: Path, target: Path) -> None:
        include = [f"-I{pybind11_include()}", f"-I{sysconfig.get_paths()['include']}"]
        cuda = ["-DVAEFAST_WITH_CUDA"] if self.nvcc else []
        jobs = [(CSRC / "bindings.cpp", "bindings.o", "cxx", [*include, *cuda])]
        for source in sorted((CSRC / "cpu").glob("*.cpp")):
            per_isa = "VAEFAST_ISA" in source.read_text(encoding="utf-8")
            for isa, flags in self.isas.items() if per_isa else [("", [])]:
                extra = [f"-DVAEFAST_ISA={isa}", *flags] if per_isa else []
                jobs.append((source, f"{source.stem}.{isa or 'any'}.o", "cxx", extra))
        if self.nvcc:
            jobs += [(s, f"{s.stem}.cuda.o", "nvcc", []) for s in sorted((CSRC / "cuda").glob("*.cu"))]
        compiler, own = host_compiler(self.cxx)
        nvcc = [self.nvcc or "nvcc", "-ccbin", compiler, *(w for f in own for w in ("-Xcompiler", f))]
        host = [f for f in self.flags if f.startswith("-f")]
        openmp = ["-fopenmp"] if self.openmp else []
        late = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []  # Python's symbols, when it is loaded
        if self.nvcc:
            link = [*nvcc, "-shared", "--cudart=static", *(w for f in openmp for w in ("-Xcompiler", f))]
        else:
            link = [*self.cxx, "-shared", *openmp, *late]
        lines = [
            "rule cxx",
            f"  command = {quote([*self.cxx, *self.flags])} $flags -MMD -MF $out.d -c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            "rule nvcc",
            f"  command = {quote([*nvcc, '-std=c++17', '-O3', '-DNDEBUG', *self.gencode, '--threads', '2'])} "
            f"{quote([w for f in host if f != '-fopenmp' for w in ('-Xcompiler', f)])} -MMD -MF $out.d -c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            "rule link",
            f"  command = {quote(link)} $in -o $out",
        ]
        for source, object_name, rule, flags in jobs:
            lines += [f"build {object_name}: {rule} {ninja_path(source)}", f"  flags = {quote(flags)}"]
        lines.append(f"build {ninja_path(target)}: link " + " ".join(job[1] for job in jobs))
        text = "\n".join(lines) + "\n"
        (folder / "build.ninja").write_bytes(os.fsencode(text))  # paths as the file system has them, whatever the locale

    def build(self, folder: Path, target: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.write(folder, target)
        result = run([find_ninja(), "-C", str(folder), "-j", str(compilers_at_once()[0])])
        sys.stdout.flush()
        sys.stdout.buffer.write(result.stdout.encode(errors="replace"))
        sys.stdout.flush()
        if result.returncode:
            errors = [line.strip() for line in result.stdout.splitlines() if re.search(r"\b(error|fatal)\b", line, re.I)]
            raise CannotBuild((errors or ["ninja failed"])[0][:300])


def build_native(target: Path, folder: Path) -> dict:
    """Builds the module with as much in it as this machine allows; the record of what is in it."""
    if sys.platform not in ("linux", "darwin"):
        raise CannotBuild(f"the compiled core is built on Linux and macOS only, and this is {sys.platform}")
    cxx = find_cxx()
    cuda: dict = {"built": False}
    plan = None
    try:
        nvcc = find_nvcc()
        cuda.update(nvcc=nvcc_version(nvcc))
        plan = Plan(cxx, nvcc)
        archs = os.environ.get("VAEFAST_CUDA_ARCHS") or DEFAULT_CUDA_ARCHS
        cuda.update(archs=archs)
        say(f"compiling the CUDA kernels, too, with {nvcc} for {archs}, which takes minutes; VAEFAST_NO_CUDA=1 leaves them out")
        plan.build(folder / "cuda", target)
        cuda.update(built=True)
    except CannotBuild as reason:
        cuda.update(reason=str(reason))
        plan = Plan(cxx, None)
        plan.build(folder / "cpu", target)
    return {
        "built": True,
        "compiler": run([*cxx, "--version"]).stdout.splitlines()[0],
        "instruction_sets": list(plan.isas),
        "openmp": plan.openmp,
        "cuda": cuda,
        **({"notes": notes} if (notes := compilers_at_once()[1]) else {}),
    }


def build_recorded(target: Path, folder: Path) -> None:
    """Builds the module, or leaves it out; what was built, and why not more, is written beside it."""
    try:
        record = build_native(target, folder)
    except CannotBuild as reason:
        if os.environ.get("VAEFAST_REQUIRE_NATIVE", "0") not in ("", "0"):
            raise
        target.unlink(missing_ok=True)
        record = {"built": False, "reason": str(reason), "cuda": {"built": False, "reason": str(reason)}}
        say(f"installing without the compiled core: {reason}")
    target.parent.mkdir(parents=True, exist_ok=True)
    (target.parent / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="ascii")


def build_in_place() -> None:
    """The module into the checkout, without setuptools."""
    build_recorded(ROOT / "vaefast" / f"_C{sysconfig.get_config_var('EXT_SUFFIX')}", ROOT / "build" / "native")


def package() -> None:
    """What setuptools is asked for."""
    from setuptools import Extension, find_packages, setup
    from setuptools.command.build_ext import build_ext

    class BuildNative(build_ext):
        def build_extension(self, ext: Extension) -> None:
            build_recorded(Path(self.get_ext_fullpath(ext.name)).resolve(), Path(self.build_temp).resolve())

        def copy_extensions_to_source(self) -> None:  # editable installs and --inplace
            super().copy_extensions_to_source()
            built = Path(self.build_lib, "vaefast")
            for ext in self.extensions:
                if not Path(self.get_ext_fullpath(ext.name)).exists() or not any(built.glob("_C*")):
                    (ROOT / "vaefast" / Path(self.get_ext_filename(ext.name)).name).unlink(missing_ok=True)
            shutil.copyfile(built / RECORD, ROOT / "vaefast" / RECORD)

    setup(
        packages=[*find_packages(include=["vaefast", "vaefast.*"]), "vaefast.kernels"],
        package_dir={"vaefast.kernels": "kernels"},
        package_data={"vaefast": ["py.typed"], "vaefast.data": ["uci_digits.npz"]},
        ext_modules=[Extension("vaefast._C", sources=[], optional=True)],
        cmdclass={"build_ext": BuildNative},
    )


def reads_pyproject() -> bool:
    """Whether this setuptools knows what pyproject.toml says of the licence, as those since 77 do."""
    try:
        import setuptools
    except ImportError:
        return False
    return int(setuptools.__version__.partition(".")[0]) >= 77


if __name__ == "__main__":
    wanted = sys.argv[1:]
    if wanted == ["build_native"] or "build_ext" in wanted and {"--inplace", "-i"} & {*wanted} and not reads_pyproject():
        build_in_place()
    else:
        package()
