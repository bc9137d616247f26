"""Precisions, compilation, and what a run draws while it is being watched."""

from __future__ import annotations

import pytest
import torch

import vaefast
from vaefast.errors import ArgumentError
from vaefast.training import RunFolder, StageSettings
from vaefast.training.device import matmul_precision, resolve_precision
from vaefast.training.iteration import compiles
from vaefast.training.storage import load_tensors

CPU = torch.device("cpu")


def images(n: int = 128) -> torch.Tensor:
    """Blobs that can be learned."""
    place = torch.rand(n, 2, 1, 1, generator=torch.Generator().manual_seed(7)) * 6 + 1
    axis = torch.arange(8.0)
    d = (axis[:, None] - place[:, :1]).square() + (axis[None, :] - place[:, 1:]).square()
    return (255 * torch.exp(-d / 4)).to(torch.uint8)


def fit(precision: str = "fp32", compile: str = "off", steps: int = 40) -> vaefast.History:
    torch.manual_seed(0)
    model = vaefast.TwoStageVAE((1, 8, 8), 4, nets="residual", second_width=16)  # small: most CPUs emulate bf16
    settings = (StageSettings(steps=steps, batch_size=32, lr=1e-3), StageSettings(steps=10, batch_size=32, lr=1e-3))
    return model.fit(images(), settings=settings, device="cpu", precision=precision, compile=compile, log_every=20,
                     progress=False)


@pytest.fixture(scope="module")
def plain():
    return fit()


def test_bf16_follows_fp32(plain):
    half = fit("bf16")
    for a, b in zip(half.of("stage1"), plain.of("stage1")):
        assert a["loss"] == pytest.approx(b["loss"], rel=0.03) and a["gamma"] == pytest.approx(b["gamma"], rel=1e-3)


@pytest.mark.parametrize(("flags", "precision"), [("fma avx2", "fp32"), ("avx512f avx512_bf16", "bf16"),
                                                  ("avx512f amx_bf16", "bf16"), ("", "fp32")])
def test_auto_is_bf16_on_cpus_that_multiply_in_it(monkeypatch, flags, precision):
    monkeypatch.setattr("vaefast.cpu.cpu_info", lambda: f"flags\t\t: {flags} rdpid\n")
    assert resolve_precision("auto", CPU) == precision


@pytest.mark.parametrize("began", ["bf16", "fp32", None])
def test_a_run_goes_on_in_the_precision_in_which_it_began(train, Line, tmp_path, monkeypatch, began):
    """"auto" is another one on another machine, and may be in another version; a checkpoint from before it was kept says none."""
    kept = load_tensors

    def without(path, what):
        tensors, meta = kept(path, what)
        return tensors, {k: v for k, v in meta.items() if k != "precision" or began is not None}

    monkeypatch.setattr("vaefast.training.checkpoint.load_tensors", without)
    here, there = ("fp32", "bf16") if began == "bf16" else ("bf16", "fp32")
    monkeypatch.setattr("vaefast.training.trainer.resolve_precision", lambda asked, device: there if asked == "auto" else asked)
    monkeypatch.setattr("vaefast.training.device.cpu_info", lambda: "avx2")
    run = RunFolder.create(tmp_path / "run", {})
    auto = {"trainer": {"precision": "auto"}}
    assert train(Line(), steps=4, run=run, **auto).precision == there
    monkeypatch.setattr("vaefast.training.trainer.resolve_precision", lambda asked, device: here if asked == "auto" else asked)
    went_on = train(Line(), steps=8, run=RunFolder.open(run.path), resume=True, **auto)
    assert went_on.precision == there and len(went_on.history.records) > 1
    asked_for = train(Line(), steps=12, run=RunFolder.open(run.path), resume=True, trainer={"precision": here})
    assert asked_for.precision == here


def test_losses_and_gamma_stay_in_float32_under_autocast():
    torch.manual_seed(0)
    model = vaefast.TwoStageVAE((1, 8, 8), 4, second_width=16).first
    with torch.autocast("cpu", torch.bfloat16):
        terms = model(images(8))
    assert {t.dtype for t in terms.values() if t.is_floating_point()} == {torch.float32}
    terms["loss"].backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.slow
def test_a_compiled_run_follows_a_plain_one(plain):
    compiled = fit(compile="on")
    for a, b in zip(compiled.records, plain.records):
        assert a["loss"] == pytest.approx(b["loss"], rel=2e-3)
        assert a.keys() == b.keys()


def test_compiling_is_decided_by_the_settings_alone():
    cuda = torch.device("cuda")
    assert not compiles("auto", 10**7, CPU) and not compiles("auto", 10, cuda) and compiles("auto", 10**7, cuda)
    assert compiles("on", 1, CPU) and not compiles("off", 10**7, CPU)
    with pytest.raises(ArgumentError, match="compile is 'yes'; expected one of auto, on, off"):
        fit(compile="yes")


def test_tf32_is_a_gpus():
    with pytest.raises(ArgumentError, match="only CUDA GPUs have"):
        resolve_precision("tf32", CPU)
    before = torch.backends.cuda.matmul.allow_tf32
    with matmul_precision("tf32"):
        assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from vaefast.training.loggers import TensorBoard

    torch.manual_seed(0)
    model = vaefast.TwoStageVAE((1, 8, 8), 4, second_width=16)
    settings = (StageSettings(steps=4, batch_size=32),) * 2
    model.fit(images(), settings=settings, device="cpu", progress=False, log_every=2, callbacks=[TensorBoard()],
              out=tmp_path / "run")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert {"stage1/loss", "stage2/kl"} <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("stage1/loss")] == [2, 4]
