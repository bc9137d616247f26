"""The pages show what the result files say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vaefast.experiments.tables import markdown_scores

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_the_mnist_table_is_the_measured_one(page):
    result = json.loads((ROOT / "docs/results/two-stage-mnist-quick.json").read_text())
    assert markdown_scores(result) in (ROOT / page).read_text()


def test_the_second_stage_is_worth_having():
    result = json.loads((ROOT / "docs/results/two-stage-mnist-quick.json").read_text())
    assert result["samples"] == 10_000
    assert result["fd_classifier/stage2"] <= 0.2 * result["fd_classifier/stage1"]
