"""deterministic=True: what it switches, that it is put back, and what it refuses."""

from __future__ import annotations

import pytest
import torch

import vaefast
from vaefast.errors import ArgumentError
from vaefast.training import Callback, determinism
from vaefast.training.determinism import deterministic_algorithms

CPU = torch.device("cpu")
IMAGES = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def switches() -> tuple:
    return (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark,
            torch.utils.deterministic.fill_uninitialized_memory)


def test_a_run_has_the_switches_and_gives_them_back():
    before, inside = switches(), []

    class Look(Callback):
        def step(self, trainer):
            inside.append(switches())

    def trained(**options):
        torch.manual_seed(0)
        model = vaefast.VAE((1, 8, 8), 2, nets="residual", gamma="optimal")
        model.fit(IMAGES, steps=3, batch_size=16, device="cpu", progress=False, callbacks=[Look()], log_every=1, **options)
        return model

    plain, same = trained(), trained(deterministic=True)
    assert inside[-1] == (True, False, True, False, False) and inside[0] == before == switches()
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), same.state_dict().values(), strict=True))


def test_what_cannot_be_had_is_a_sentence():
    before = switches()
    with pytest.raises(ArgumentError, match="deterministic is set, but put_.* has no deterministic algorithm on cpu"):
        with deterministic_algorithms(CPU):
            raise RuntimeError("put_ does not have a deterministic implementation, but you set 'torch.use_deterministic_...'")
    with pytest.raises(RuntimeError, match="another"), deterministic_algorithms(CPU):
        raise RuntimeError("another fault")
    assert switches() == before


@pytest.mark.parametrize(("given", "used", "fine"), [(None, False, True), (":16:8", True, True), (None, True, False),
                                                     (":0:0", False, False)])
def test_cublas_is_asked_for_one_order_before_it_works(monkeypatch, given, used, fine):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", given or "")
    if given is None:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    if fine:
        determinism._reproducible_products()
        assert determinism.os.environ["CUBLAS_WORKSPACE_CONFIG"] == (given or ":4096:8")
    else:
        with pytest.raises(ArgumentError, match="set it to :4096:8 before the program starts"):
            determinism._reproducible_products()
