"""Every row of every paper: a model that can be built, with stages that can be set, at every preset."""

import pytest
import torch

from vaefast.data import ImageSet
from vaefast.experiments.papers.catalog import PAPERS
from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.plan import Study
from vaefast.experiments.request import Request
from vaefast.experiments.run import build

SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32), "lfw": (3, 64, 64)}
PADDED = (1, 32, 32)
"""MNIST as the WAE paper's networks take it."""


@pytest.mark.parametrize("preset", ["smoke", "quick", "paper"])
@pytest.mark.parametrize("work", PAPERS)
def test_every_row_is_a_model_and_its_stages(tmp_path, monkeypatch, work, preset):
    paper = PAPERS[work]
    rows = [(part, data, row) for part, one in paper.parts.items() for data in dict.fromkeys((*(one.data or paper.data), "lfw"))
            for row in one.rows if row.training]
    assert rows
    for part, data, row in rows:
        shape = PADDED if (part, data) == ("table2", "mnist") else SHAPES[data]
        monkeypatch.setattr(Task, "train", ImageSet(torch.zeros(4, *shape, dtype=torch.uint8)))
        task = Task(paper, Study(tmp_path, None, preset), part, data)
        if not paper.parts[part].suits(task):
            continue
        asked = Request(data_name=data, out=str(tmp_path), **paper.settings(row.training, task))
        with torch.device("meta"):
            model = build(asked.kind, asked.preset, shape, asked.model_overrides)
        assert model.image_shape == shape and asked.stages_from(asked.preset.stages_of(model))
