"""Builds vaefast._C in the checkout by setup.py's own plan, without pip or a recent setuptools: `python -m benchmarks.build`."""

from __future__ import annotations

import json
import runpy
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    plan = runpy.run_path(str(ROOT / "setup.py"), run_name="plan")
    target = ROOT / "vaefast" / f"_C{sysconfig.get_config_var('EXT_SUFFIX')}"
    record = plan["build_native"](target, ROOT / "build" / "native")
    (target.parent / plan["RECORD"]).write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
