"""What all tests share: where real data lie, and the marker of long tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

DATA = Path(os.environ.get("VAEFAST_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


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
