"""Devices that are not at hand: Apple's GPUs and AMD's, by stand-ins for what torch says of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import vaefast
from vaefast.errors import ArgumentError, DeviceError
from vaefast.experiments.information import print_information
from vaefast.float32 import widest
from vaefast.models.player import Player
from vaefast.ops import _registry
from vaefast.training.checkpoint import random_state, set_random_state
from vaefast.training.device import memory_format, refuse_float64, resolve_device, resolve_precision
from vaefast.training.iteration import compiles
from vaefast.training.optimizer import make_optimizer, skips
from vaefast.training.settings import PlayerSettings
from vaefast.training.sources import ImageSource

MPS = torch.device("mps")


@pytest.fixture
def apple(monkeypatch):
    """A machine with an Apple GPU and no other, as far as torch is asked."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_mps_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="torch finds no Apple GPU here"):
        resolve_device("mps")
    with pytest.raises(ArgumentError, match="'cuda:N' or 'mps'"):
        resolve_device("xpu")


def test_mps_is_taken_when_asked_for_and_never_by_itself(apple):
    assert resolve_device("mps") == MPS and resolve_device(MPS) == MPS
    assert resolve_device("auto") == torch.device("cpu")


def test_mps_trains_in_float32_uncompiled_and_uncaptured():
    assert resolve_precision("auto", MPS) == "fp32" and resolve_precision("bf16", MPS) == "bf16"
    with pytest.raises(ArgumentError, match="only CUDA GPUs have"):
        resolve_precision("tf32", MPS)
    assert memory_format("auto", MPS, "bf16") == torch.contiguous_format
    assert not compiles("auto", 10**9, MPS) and compiles("on", 1, MPS)
    assert widest(MPS) == torch.float32 and widest(torch.device("cpu")) == torch.float64


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_on_mps_a_bad_step_is_left_out_by_the_loop_and_not_by_a_fused_optimizer(name):
    layer = nn.Linear(2, 2)
    player = Player("model", dict(layer.named_parameters()), loss=lambda x: {"loss": layer(x).mean()})
    optimizer = make_optimizer(player, PlayerSettings(optimizer=name), MPS)
    assert not skips(optimizer) and not any(isinstance(group["lr"], torch.Tensor) for group in optimizer.param_groups)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()


def test_images_stay_on_an_apple_gpu_without_asking_cuda_for_its_memory(monkeypatch):
    moved = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: pytest.fail("asked CUDA"))
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: moved.append(device) or self)
    source = ImageSource(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), MPS)
    assert source.resident and moved == [MPS]


def test_random_states_of_mps_are_kept(monkeypatch):
    kept = torch.arange(4, dtype=torch.uint8)
    put: list[torch.Tensor] = []
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: kept)
    monkeypatch.setattr(torch.mps, "set_rng_state", put.append)
    states = random_state(MPS)
    assert states["mps"] is kept
    set_random_state(states, MPS)
    assert put == [kept]


def test_float64_is_refused_on_mps_by_name(apple, tmp_path):
    second = vaefast.SecondStage(3, kind="mixture")
    with pytest.raises(ArgumentError, match="in float64, which Apple GPUs do not have; use device='cpu'"):
        second.fit(torch.randn(50, 3), device="mps", progress=False)
    second.fit(torch.randn(50, 3), device="cpu", progress=False)
    second.save(tmp_path / "second")
    with pytest.raises(ArgumentError, match="Apple GPUs"):
        vaefast.load(tmp_path / "second", device="mps")
    refuse_float64(vaefast.VAE((1, 8, 8), latent_dim=2, nets="residual"), MPS)
    refuse_float64(second, torch.device("cpu"))


def test_ops_on_mps_are_the_reference():
    for backend in ("cpp", "triton", "cuda"):
        assert "only" in str(_registry.why_not(backend, "mps"))
    assert _registry.why_not("reference", "mps") is None


def test_rocm_has_no_cuda_kernels(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "7.0")
    assert "AMD" in str(_registry.why_not("cuda", "cuda"))


def test_info_says_what_is_untested(apple, capsys, monkeypatch):
    print_information()
    assert 'Apple\'s, untested: device="mps" trains on the PyTorch reference, in float32' in capsys.readouterr().out
    properties = type("P", (), {"name": "AMD Instinct", "total_memory": 2**36, "major": 9, "minor": 4})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 4))
    monkeypatch.setattr(torch.version, "hip", "7.0")
    print_information()
    assert "by ROCm, on which vaefast is untested" in capsys.readouterr().out
