"""docs/ten-inputs.md: every kind of data goes in as the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

PAGE = (Path(__file__).parent.parent / "docs" / "ten-inputs.md").read_text()
INPUTS = dict(re.findall(r"<!-- input (\w+) -->\n```python\n(.*?)```", PAGE, re.S))


def test_the_page_has_ten():
    assert len(INPUTS) == 10


@pytest.mark.parametrize("name", INPUTS)
def test_it_goes_in(name, tmp_path, monkeypatch):
    for module in ("datasets", "webdataset", "sklearn"):
        if re.search(rf"^(import|from) {module}\b", INPUTS[name], re.M):
            pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    torch.manual_seed(0)
    names: dict = {"__name__": "inputs"}
    exec(compile(INPUTS[name], f"docs/ten-inputs.md#{name}", "exec"), names)
    x = names["x"] if name != "pil" else names["pictures"][:4]
    assert len(x) == 4 or len(next(iter(x.values()))) == 4
