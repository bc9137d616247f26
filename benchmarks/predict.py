"""What the GPU kernels will take, without a GPU: `python -m benchmarks.predict [--results FILE.json] [--out FILE.json]`.

Compiles csrc/cuda for sm_90, reads registers, spills and shared memory of every kernel, counts the machine instructions of
the loops over pairs, and prints a table of limit, prediction and, where the results file of benchmarks.gpu has the case, the
measured time in a graph. Needs nvcc, and cuobjdump (CUDA's or the one that comes with Triton).

A prediction is the largest of what the kernels' memory traffic, issued instructions and tensor products take at the rates below,
which a real kernel reaches to some 80 %, and a launch's price for each kernel.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ARCH = "sm_90"
# An H100 SXM: warp instructions a second, bytes a second of a measured copy, and half-precision 16 x 8 x 16 products a second of
# mma.sync, some 62 % of what the tensor cores do at their best.
ISSUES = 132 * 4 * 1.755e9
BYTES = 3.0e12
PRODUCTS = 0.62 * 989e12 / (2 * 16 * 8 * 16)
REACHED = 0.8
LAUNCH = 1.5e-6


@dataclass(frozen=True)
class Kernel:
    """What a compiled kernel uses, and its instructions: those of its main loop, where it has one, and without loops within."""

    source: str
    name: str
    registers: int
    spilled: int  # bytes stored and loaded
    shared: int
    loop: dict[str, int]


def nvcc() -> str | None:
    return shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")


def cuobjdump() -> str | None:
    installed = shutil.which("cuobjdump") or shutil.which("cuobjdump", path="/usr/local/cuda/bin")
    if installed:
        return installed
    try:
        import triton
    except ImportError:
        return None
    bundled = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    return str(bundled) if bundled.exists() else None


def _run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{command[0]} failed: {result.stderr[-2000:]}")
    return result.stdout + result.stderr


def plain_name(mangled: str) -> str:
    """A kernel's name with its template arguments, of the mangled one."""
    if not mangled.startswith("_Z"):
        return mangled
    tool = shutil.which("c++filt")
    name = _run(tool, mangled).strip() if tool else mangled
    name = re.sub(r"\(anonymous namespace\)::|vaefast::|^void ", "", name)
    return re.sub(r"\(.*", "", re.sub(r"\((?:MmdKernel|ErrorKind|ScaleParam|int|bool)\)", "", name))


def main_loop(sass: str) -> dict[str, int]:
    """Instructions, by first word, of the loop with the most tensor products, or else the longest; without loops in it."""
    code = [(int(at, 16), text) for at, text in re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;]+);", sass)]
    loops = []
    for at, text in code:
        jump = re.search(r"\bBRA(?:\.\w+)*\s+(?:`\(\S+\)|.*?0x([0-9a-f]+))", text)
        if jump and jump.group(1) and int(jump.group(1), 16) < at:
            loops.append((int(jump.group(1), 16), at))
    if not loops:
        return {}

    def words(first: int, last: int) -> Counter[str]:
        within = [(a, b) for a, b in loops if first <= a and b <= last and (a, b) != (first, last)]
        chosen = (t for at, t in code if first <= at <= last and not any(a <= at <= b for a, b in within))
        return Counter(re.sub(r"^@!?U?P\w+\s+", "", t).split()[0].split(".")[0] for t in chosen)

    best = max((words(*loop) for loop in loops), key=lambda w: (w["HMMA"], sum(w.values())))
    return dict(best)


def compiled(source: Path, folder: Path) -> list[Kernel]:
    """Every kernel of a .cu file."""
    binary = folder / f"{source.stem}.cubin"
    said = _run(nvcc() or "nvcc", "-std=c++17", "-O3", "-DNDEBUG", f"-arch={ARCH}", "-Xptxas", "-v", "-cubin", str(source), "-o",
                str(binary))
    pattern = re.compile(r"Compiling entry function '(\S+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
                         r".*?Used (\d+) registers([^\n]*)", re.S)
    tool = cuobjdump()
    code = _run(tool, "-sass", str(binary)) if tool else ""
    bodies = {body.split("\n", 1)[0].strip(): body for body in code.split("Function : ")[1:]}
    kernels = []
    for mangled, stores, loads, registers, rest in pattern.findall(said):
        shared = re.search(r"(\d+) bytes smem", rest)
        kernels.append(Kernel(source.name, plain_name(mangled), int(registers), int(stores) + int(loads),
                              int(shared.group(1)) if shared else 0, main_loop(bodies.get(mangled, ""))))  # fmt: skip
    return kernels


PREFERRED = ("mixture_density_products", "mixture_moments", "mmd_products", "scaled_nll")
"""Files of csrc/cuda whose kernels the cases below run."""


def cuda_kernels(every: bool = False) -> list[Kernel]:
    sources = [s for s in sorted((ROOT / "csrc/cuda").glob("*.cu")) if every or s.stem in PREFERRED]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        return [k for kernels in pool.map(lambda s: compiled(s, Path(folder)), sources) for k in kernels]


@dataclass(frozen=True)
class Work:
    """What an op does at one size, forward and backward: bytes that it must move, kernels it launches, and the warps' tiles of
    16 x 64 pairs that each of its loops over pairs visits."""

    op: str
    size: str
    bytes: float
    launches: int
    limit_products: float = 0.0
    tiles: tuple[tuple[str, float], ...] = ()


PAIR = 16 * 64
WORKS = (
    Work("gaussian_nll", "64x3x64x64", 14 * 64 * 12288, 2),
    Work("gaussian_nll", "1,024x3x64x64", 14 * 1024 * 12288, 2),
    Work("gaussian_nll", "8,192x3x64x64", 14 * 8192 * 12288, 2),
    Work("mixture_moments", "512x64", 24 * 512 * 64, 3),
    Work("mixture_moments", "60,000x64", 24 * 60_000 * 64, 3),
    Work("mixture_moments", "2,097,152x64", 24 * 2**21 * 64, 3),
    Work("mmd2", "10,000 x 10,000 x 64", 0, 45, 192 * 20_000**2 / PAIR, (("products_kernel<0, 7, 64>", 20_000**2 / PAIR),)),
    Work("mixture_log_density", "10,000 x 10,000 x 64", 0, 30, (192 + 2 * 384) * 10_000**2 / PAIR,
         (("forward_products_kernel", 10_000**2 / PAIR), ("gradient_products_kernel<true>", 10_000**2 / PAIR),
          ("gradient_products_kernel<false>", 10_000**2 / PAIR))),
)  # fmt: skip


def predicted(work: Work, kernels: list[Kernel]) -> tuple[float, float, int | None]:
    """Seconds at the limit, seconds predicted, and instructions a pair, of a thread."""
    seconds, issued = 0.0, 0.0
    for name, tiles in work.tiles:
        (kernel,) = [k for k in kernels if k.name == name]
        instructions = sum(kernel.loop.values())
        issued += tiles * instructions
        seconds += max(tiles * instructions / ISSUES, tiles * kernel.loop.get("HMMA", 0) / PRODUCTS)
    limit = max(work.bytes / BYTES, work.limit_products / PRODUCTS)
    pairs = sum(t for _, t in work.tiles) * PAIR / 32
    each = round(issued / pairs) if pairs else None
    return limit, max(seconds / REACHED, work.bytes / BYTES / 0.92) + work.launches * LAUNCH, each


def measured(results: Path | None, work: Work) -> float | None:
    """Microseconds of the quickest backend in a graph."""
    if results is None or not results.exists():
        return None
    for r in json.loads(results.read_text())["results"]:
        if (r["op"], r["size"], r["dtype"]) == (work.op, work.size, "float32"):
            times = [r["variants"].get(f"{b}, graph", {}).get("median_us") for b in ("triton", "cuda")]
            return min((t for t in times if t), default=None)
    return None


def report(kernels: list[Kernel], results: Path | None) -> str:
    lines = ["| op, forward + backward | size | limit, µs | predicted, µs | measured, µs | instructions a pair |",
             "|---|---|---:|---:|---:|---:|"]  # fmt: skip
    for work in WORKS:
        limit, seconds, each = predicted(work, kernels)
        real = measured(results, work)
        times = (f"{us:.0f}" if us else "" for us in (1e6 * limit, 1e6 * seconds, real))
        cells = [work.op, work.size, *times, str(each or "")]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| kernel | file | registers | spilled, bytes | shared, bytes | tensor products | in the main loop |",
              "|---|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for k in kernels:
        cells = [k.name, k.source, k.registers, k.spilled, k.shared, k.loop.get("HMMA", ""), sum(k.loop.values()) or ""]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measured_file = ROOT / "benchmarks/results/ops-h100.json"
    parser.add_argument("--results", type=Path, default=measured_file, help="measured by benchmarks.gpu")
    parser.add_argument("--out", type=Path, help="write the kernels there, as JSON")
    parser.add_argument("--all", action="store_true", help="the kernels of every file, which takes minutes")
    options = parser.parse_args()
    if nvcc() is None or cuobjdump() is None:
        sys.exit("needs nvcc and cuobjdump (CUDA's, or Triton's)")
    kernels = cuda_kernels(options.all)
    if options.out:
        options.out.write_text(json.dumps([asdict(k) for k in kernels], indent=1) + "\n")
    print(report(kernels, options.results), end="")


if __name__ == "__main__":
    main()
