"""What wheels must hold: `python tests/check_wheels.py FOLDER` prints a line for each and ends with 1 where one does not.

Nothing of vaefast is imported, so that it runs wherever wheels are made.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 60e6
"""Bytes: what package indexes take of a project that has asked for nothing is 100 MB; a download should stay well below."""
OUTSIDE = ("tests/", "csrc/", "benchmarks/", "kernels/", "docs/", "notebooks/")


def faults(wheel: Path, root: Path = ROOT) -> list[str]:
    """What is wrong with a wheel of the checkout `root`, in words."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        record = json.loads(archive.read("vaefast/_build.json"))
        (metadata,) = (archive.read(n).decode() for n in names if n.endswith(".dist-info/METADATA"))
    wanted = {p.relative_to(root).as_posix() for p in (root / "vaefast").rglob("*.py")}
    wanted |= {f"vaefast/kernels/{p.name}" for p in (root / "kernels").glob("*.py")}
    wanted |= {"vaefast/py.typed", "vaefast/data/uci_digits.npz"}
    wrong = [f"{name} is missing" for name in sorted(wanted - names)]
    wrong += [f"{name} is no part of the package" for name in sorted(names) if name.startswith(OUTSIDE)]
    wrong += [f"{name} was not asked for" for name in sorted(names) if re.search(r"\.(pyc|o|cu|cpp|h)$|libgomp", name)]
    if any(name.startswith("vaefast/_C.") for name in names) != record["built"]:
        wrong.append(f"the record says built: {record['built']}")
    if wheel.stat().st_size > LARGEST:
        wrong.append(f"{wheel.stat().st_size / 1e6:.1f} MB, at most {LARGEST / 1e6:.0f}")
    version = re.search(r'^__version__ = "(.*)"', (root / "vaefast/__init__.py").read_text(encoding="utf-8"), re.M)
    if version and f"Version: {version.group(1)}\n" not in metadata.replace("\r\n", "\n"):
        wrong.append(f"the version is not {version.group(1)}")
    if "manylinux" in wheel.name:  # as they are published
        wrong += [] if record["built"] else [f"no compiled core: {record['reason']}"]
        wrong += [] if record["cuda"]["built"] else [f"no CUDA kernels: {record['cuda']['reason']}"]
    return wrong


def main() -> int:
    wheels = sorted(Path(sys.argv[1]).glob("*.whl"))
    for wheel in wheels:
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB; {'; '.join(faults(wheel)) or 'holds what it must'}")
    return 0 if wheels and not any(map(faults, wheels)) else 1


if __name__ == "__main__":
    sys.exit(main())
