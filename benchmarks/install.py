"""What an installation takes on disk and to import, beside other packages: megabytes, seconds beyond `import torch`.

`python -m benchmarks.install --out FILE.json [--also FOLDER ...]`: each package and what it requires, extras left out, as the
metadata of what is here or in the folders say; files as they were installed, without compiled Python. "torch and what it
requires" is counted apart: whoever trains has it. Imports are of a new process each, in turns, after `import torch`; seconds of
the processor stand beside those of the clock, which on a busy machine say little. vaefast has to be installed, not only to be a
checkout (pip install . --target FOLDER), with compiled Python as pip leaves it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from benchmarks import machine

TURNS = 5
PACKAGES = {
    "vaefast": ("vaefast", "from vaefast import TwoStageVAE, TableVAE, evaluate"),
    "pythae": ("pythae", "from pythae.models import VAE; from pythae.pipelines import TrainingPipeline"),
    "torch-fidelity": ("torch-fidelity", "from torch_fidelity import calculate_metrics"),
    "scvi-tools": ("scvi-tools", "from scvi.model import SCVI"),
}
"""Name -> the distribution, and what a script that trains or scores imports."""
IMPORT = """
import time, torch
clock, processor = time.perf_counter(), time.process_time()
{}
print(time.perf_counter() - clock, time.process_time() - processor)
"""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(name: str, paths: list[str]) -> tuple[dict[str, importlib.metadata.Distribution], list[str]]:
    """A distribution and all that it requires, extras only where they are asked for; names that are not installed."""
    found: dict[str, importlib.metadata.Distribution] = {}
    missing, waiting, seen = set(), [(canonical(name), "")], set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        distribution = found.get(name) or next(iter(importlib.metadata.distributions(name=name, path=paths)), None)
        if distribution is None:
            missing.add(name)
            continue
        found[name] = distribution
        for text in distribution.requires or ():
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                waiting += [(canonical(wanted.name), e) for e in ("", *wanted.extras)]
    return found, sorted(missing)


def size(distribution: importlib.metadata.Distribution) -> int:
    """Bytes of the files that were installed, compiled Python left out."""
    files = (Path(str(distribution.locate_file(f))) for f in distribution.files or () if f.suffix != ".pyc")
    return sum(file.stat().st_size for file in files if file.is_file())


def import_seconds(statement: str, paths: list[str]) -> tuple[float, float]:
    """Of the clock and of the processor, in a process of its own that sees no checkout."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", IMPORT.format(statement)]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{statement} failed: {done.stderr.strip().splitlines()[-1]}")
    clock, processor = map(float, done.stdout.split()[-2:])
    return clock, processor


def measure(also: list[str], turns: int) -> dict[str, Any]:
    here = [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
    stack, _ = required("torch", here)
    beside = {name: [folder for folder in also if any(importlib.metadata.distributions(name=name, path=[folder]))][:1]
              for name in PACKAGES}
    result: dict[str, Any] = {"machine": machine.describe(), "turns": turns, "torch_stack": {
        "packages": len(stack), "megabytes": round(sum(map(size, stack.values())) / 1e6, 1)}, "packages": {}}
    for name, (distribution, statement) in PACKAGES.items():
        everything, missing = required(distribution, [*beside[name], *here])
        if distribution not in everything:
            raise SystemExit(f"{distribution} is installed neither here nor in a folder of --also")
        sizes = {n: size(d) for n, d in everything.items()}
        beyond = {n: v for n, v in sizes.items() if n not in stack}
        result["packages"][name] = {
            "version": everything[distribution].version, "imports": statement, "not_installed": missing,
            "own_megabytes": round(sizes[distribution] / 1e6, 1), "packages_beyond_torch": len(beyond) - 1,
            "megabytes_beyond_torch": round(sum(beyond.values()) / 1e6, 1), "megabytes": round(sum(sizes.values()) / 1e6, 1),
            "largest": {n: round(v / 1e6, 1) for n, v in sorted(beyond.items(), key=lambda item: -item[1])[:5]},
            "import_clock": [], "import_processor": []}
    for turn in range(turns + 1):  # the first fills the disk's cache and writes compiled Python
        for name, row in result["packages"].items():
            clock, processor = import_seconds(row["imports"], beside[name])
            if turn:
                row["import_clock"].append(round(clock, 3))
                row["import_processor"].append(round(processor, 3))
        print(f"turn {turn} of {turns}", flush=True)
    return result


def markdown(result: dict[str, Any]) -> str:
    """The table of a result."""
    lines = ["| | itself, MB | packages beyond torch's | with them, MB | with torch, MB | import beyond torch, s of processor "
             "| of clock |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for name, row in result["packages"].items():
        seconds = [statistics.median(row[f"import_{of}"]) for of in ("processor", "clock")]
        lines.append(f"| {name} {row['version']} | {row['own_megabytes']:.1f} | {row['packages_beyond_torch']} | "
                     f"{row['megabytes_beyond_torch']:,.0f} | {row['megabytes']:,.0f} | {seconds[0]:.2f} | {seconds[1]:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--also", nargs="*", default=[], metavar="FOLDER", help="with packages, before this Python's")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--markdown", action="store_true", help="print the table of the file, measure nothing")
    options = parser.parse_args()
    if not options.markdown:
        from benchmarks.report import save

        save(options.out, measure([str(Path(folder).resolve()) for folder in options.also], options.turns))
    print(markdown(json.loads(options.out.read_text())), end="")


if __name__ == "__main__":
    main()
