"""What the tests of the reproductions share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vaefast.experiments.papers import cells


@pytest.fixture(scope="module")
def patch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """A module's own patches, among them that networks trained on a data set for its scores are of a few steps, and cached
    apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEFAST_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("vaefast.metrics.classifier._LEAST_STEPS", 20)
        patch.setattr("vaefast.metrics.classifier._EPOCHS", 0)
        yield patch


@pytest.fixture
def nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and scoring a cell of a study fail."""
    monkeypatch.setattr(cells, "train", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr(cells, "evaluate", lambda *_, **__: pytest.fail("scored again"))
