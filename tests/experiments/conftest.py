"""What the tests of the reproductions share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vaefast.experiments.papers import cells
from vaefast.experiments.pictures.grids import save_png

WHOLE = ("test_trials", "test_sweep", "test_real_mnist")
"""Files whose trainings are in processes of their own, or are to learn something."""
DRAWN = ("test_after_training", "test_latent_page", "test_pictures", "test_report")
"""Files that look at what is drawn."""


@pytest.fixture(scope="module", autouse=True)
def light(request: pytest.FixtureRequest) -> Iterator[None]:
    """What most of a run of 6 steps goes into, made small: the 13 million parameters of the InfoGAN networks, and the drawing of
    curves and of codes."""
    name = request.module.__name__.rpartition(".")[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaefast.experiments.scoring.latent_page.IMAGES", 200)
        if name not in WHOLE:
            patch.setattr("vaefast.nets.infogan.HIDDEN", 16)
        if name not in (*WHOLE[2:], *DRAWN):
            patch.setattr("vaefast.experiments.run.draw_curves", lambda records, path: save_png(path, np.zeros((4, 4), np.uint8)))
            patch.setattr("vaefast.experiments.scoring.latent_page.draw_latents",
                          lambda summary, path, *_: save_png(path, np.zeros((4, 4), np.uint8)))
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
