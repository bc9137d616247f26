"""What the tests of the reproductions share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vaefast.experiments.papers import cells

WHOLE = ("test_trials", "test_sweep", "test_real_mnist")
"""Files whose trainings are in processes of their own, or are to learn something."""


@pytest.fixture(scope="module", autouse=True)
def narrow(request: pytest.FixtureRequest) -> Iterator[None]:
    """The InfoGAN networks with a dense layer of 16: their 13 million parameters are most of what a run of 6 steps computes,
    writes and reads."""
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__.rpartition(".")[2] not in WHOLE:
            patch.setattr("vaefast.nets.infogan.HIDDEN", 16)
        yield


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
