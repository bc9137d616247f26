"""`vaefast.push_to_hub`: a run's model on the Hub, with its scores and pictures."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from vaefast import api
from vaefast.api.hub import FILES, push_folder
from vaefast.experiments.scoring.tables import markdown_scores
from vaefast.training.storage import read_object

PICTURES = ("samples_stage2.png", "samples_stage1.png", "samples_classes.png", "reconstructions.png")
"""Those of a run's folder that a card shows, where they are."""


def push_to_hub(folder: str | os.PathLike[str], repo: str, *, token: str | None = None, private: bool = False,
                revision: str | None = None, license: str | None = None, message: str = "A model of vaefast") -> str:
    """Save the model in a folder on the Hugging Face Hub, as `Model.push_to_hub` does, with what the folder tells besides.

    >>> vaefast.push_to_hub("runs/mnist", "me/mnist-two-stage", license="apache-2.0")
    'me/mnist-two-stage@0c5d...'

    Args:
        folder: of a finished run, or one that `model.save` wrote. The README gets the data and settings of config.json, the
            scores of evaluation.json, and the pictures of samples, as far as these are there; nothing else is uploaded.
        repo, token, private, revision, license, message: as for `Model.push_to_hub`.

    Returns, raises as there; CheckpointError also for a folder without a model, or a damaged one.
    """
    folder = Path(folder)
    model = api.load(folder)
    run, result = read_object(folder / "config.json") or None, read_object(folder / "evaluation.json")
    scores = markdown_scores(result) if "samples" in result else None
    pictures = tuple(name for name in PICTURES if (folder / name).is_file())
    options: dict[str, Any] = {"token": token, "private": private, "revision": revision, "license": license, "message": message}
    with tempfile.TemporaryDirectory(prefix="vaefast-push-") as copy:
        for name in (*FILES, *pictures):
            shutil.copy(folder / name, copy)
        return push_folder(Path(copy), repo, model, run=run, scores=scores, pictures=pictures, **options)
