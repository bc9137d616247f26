"""Type checkers find in a user's script what its author means, and nothing wrong in the rooms that are typed throughout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from vaefast.api.general import PIXEL_NETS, PixelNets
from vaefast.api.sequential import VARIANTS, VariantName
from vaefast.models.gan_losses import LOSSES, LossName
from vaefast.models.gradient_penalty import PENALTIES, PenaltyName
from vaefast.models.regularizers import REGULARIZERS, RegularizerName
from vaefast.models.wae import COST_FACTORS, Cost
from vaefast.nets import FLOWS, NETS, NetsName
from vaefast.nets.biggan.parts import ACTIVATIONS, Activation
from vaefast.nets.flows import FlowName

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("user_script.py")
PYRIGHT = shutil.which("pyright") or shutil.which("basedpyright")  # the same checker; the latter brings its own node
TYPED = ("api", "cli", "metrics", "ops", "training")


@pytest.mark.slow
def test_mypy_reads_a_users_script_and_the_typed_rooms():
    pytest.importorskip("mypy", reason="mypy is not installed (pip install 'vaefast[test]')")
    words = [sys.executable, "-m", "mypy", "--follow-imports=silent", str(SCRIPT), *(f"vaefast/{room}" for room in TYPED)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(PYRIGHT is None, reason="neither pyright nor basedpyright is installed (pip install basedpyright)")
def test_pyright_reads_a_users_script():
    done = subprocess.run([str(PYRIGHT), str(SCRIPT)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("names", "table"), [
    (LossName, LOSSES), (PenaltyName, PENALTIES), (RegularizerName, REGULARIZERS), (Cost, COST_FACTORS), (FlowName, FLOWS),
    (NetsName, NETS), (PixelNets, PIXEL_NETS), (VariantName, VARIANTS), (Activation, ACTIVATIONS)])
def test_words_are_those_of_their_tables(names, table):
    assert get_args(names) == tuple(table)
