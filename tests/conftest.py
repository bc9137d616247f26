"""What all tests share: where real data lie, and the marker of long tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# pytest -n N: the workers share the cores, and so do the processes that tests start
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
# as vaefast has it, but torch comes first here; beside other work 25 times as quick
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest  # noqa: E402
import torch  # noqa: E402

# behind everything else: `benchmarks` is found in the checkout, and vaefast where it is installed
sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parent))

from pairwise import mark_exhaustive  # noqa: E402

DATA = Path(os.environ.get("VAEFAST_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

LONG_FIRST = ("ops/test_triton.py", "experiments/", "training/", "")
"""Beginnings of paths, in the order in which their tests run: a long file that comes last leaves all workers but one idle."""


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):  # xdist's: files of many tests first, however short these are
        config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what -m does not ask for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_exhaustive(items)

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        return next(i for i, beginning in enumerate(LONG_FIRST) if path.startswith(beginning))

    items.sort(key=place)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def data_root() -> Path:
    """The folder of real data sets; the test is skipped where it is missing."""
    if not (DATA / "mnist").is_dir():
        pytest.skip(f"no data sets in {DATA}; set VAEFAST_TEST_DATA to their folder")
    return DATA


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the test's own."""
    monkeypatch.setenv("VAEFAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
