"""Every script of examples/ runs, with a tiny budget, on the CPU."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
CASES = {
    "train_two_stage.py": ((), "--epochs 0.2 --samples 32 --device cpu --out run", "saved: run holds TwoStageVAE [1, 32, 32]"),
    "with_lightning.py": (("lightning",), "--epochs 1 --out logs", "samples [16, 1, 32, 32]"),
    "with_accelerate.py": (("accelerate",), "--epochs 1", "epoch 1: nll"),
    "torchrun_two_processes.py": ((), "--epochs 0.1 --device cpu --out run", "2 processes, backend gloo: 2 steps"),
    "optuna_search.py": (("optuna",), "--trials 2 --epochs 0.2", "best of 2 trials: {'latent_dim': "),
    "second_stage_autoencoder_kl.py": (("diffusers",), "--steps 2", "16 new images [3, 32, 32] in second-stage-samples.png"),
    "fine_tune_autoencoder_kl.py": (("diffusers",), "--steps 2", "fine-tuned holds an AutoencoderKL with codes of (4, 32, 32)"),
    "fid_in_my_loop.py": ((), "--epochs 1", "epoch 1: loss"),
    "own_op.py": ((), "", "equal to the reference; opcheck passed"),
}
"""A script -> packages that it needs besides, its arguments, and what it prints."""
LOGGERS = {"wandb": (["wandb"], "wandb/offline-run-*/run-*.wandb"), "mlflow": (["mlflow", "sqlalchemy"], "mlflow.db"),
           "tensorboard": (["tensorboard"], "run/tensorboard/events.*")}
"""A logger -> packages that it needs, and what it leaves."""


def start(script: str, words: str, folder: Path, **variables: str) -> str:
    """What a script prints, run in a folder of its own; its device is the CPU, and it reaches no network."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
                   "CUDA_VISIBLE_DEVICES": "", "VAEFAST_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1",
                   "WANDB_MODE": "offline", "WANDB_SILENT": "true", "MLFLOW_DISABLE_TELEMETRY": "true", **variables}
    launcher = TORCHRUN if script.startswith("torchrun") else ()
    done = subprocess.run([sys.executable, *launcher, str(EXAMPLES / script), *words.split()], cwd=folder, env=environment,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.mark.parametrize("script", CASES)
def test_a_script_runs(script, tmp_path):
    packages, words, printed = CASES[script]
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    kernel = {"TRITON_INTERPRET": "1"} if script == "own_op.py" and importlib.util.find_spec("triton") else {}
    assert printed in start(script, words, tmp_path, **kernel)


def test_loggers_are_told(tmp_path):
    """Those that are installed."""
    there = {name: left for name, (needs, left) in LOGGERS.items() if all(map(importlib.util.find_spec, needs))}
    words = " ".join(f"--{name}" + " mine" * (name in ("wandb", "mlflow")) for name in there)
    start("callbacks_wandb_mlflow.py", f"--csv {words} --epochs 0.2 --out run", tmp_path,
          MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db")
    assert (tmp_path / "run" / "metrics.csv").is_file()
    for name, left in there.items():
        assert list(tmp_path.glob(left)), name


def test_scripts_are_short_told_of_and_say_how_they_are_run():
    table = (EXAMPLES / "README.md").read_text()
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == {*CASES, "callbacks_wandb_mlflow.py"}
    for script in scripts:
        text = (EXAMPLES / script).read_text()
        said = ast.get_docstring(ast.parse(text)) or ""
        assert text.count("\n") <= 60 and f"examples/{script}" in said and f"| [{script}]({script}) | " in table, script
        assert "argparse" in text or script == "own_op.py"
