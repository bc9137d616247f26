"""fp16: the scale of the loss, and steps that are left out where a gradient does not fit."""

from __future__ import annotations

import signal

import pytest
import torch
from torch import nn

import vaefast
from vaefast.errors import ArgumentError, DivergenceError
from vaefast.models import Player
from vaefast.models.gradient_penalty import gradient_penalty, squared_slopes
from vaefast.models.inner_gradients import scaled_by
from vaefast.models.weighted_term import WeightedTerm
from vaefast.training import Callback, RunFolder, StageSettings
from vaefast.training.device import resolve_precision
from vaefast.training.distributed import World
from vaefast.training.loss_scale import FIRST, LEAST, LossScaler
from vaefast.training.turn import Turn

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_scale_is_that_of_torchs_gradscaler():
    """Step by step against torch's own, which waits for the device."""
    weight = nn.Parameter(torch.ones(3))
    theirs, optimizer = torch.amp.GradScaler("cpu", growth_interval=3), torch.optim.SGD([weight], lr=0.0)
    ours = LossScaler(CPU, growth_interval=3)
    theirs.scale(torch.ones(()))  # makes its tensors
    for finite in [True] * 4 + [False, True, False, False] + [True] * 7:
        gradient = torch.tensor([3.0, -0.5, 1.0 if finite else float("inf")]) * theirs.get_scale()
        weight.grad = gradient.clone()
        found_inf = ours.unscale([weight])
        assert found_inf.item() == (not finite)
        if finite:
            assert weight.grad.tolist() == [3.0, -0.5, 1.0]
        ours.update(found_inf)
        weight.grad = gradient.clone()
        theirs.step(optimizer)
        theirs.update()
        assert ours.scale.item() == theirs.get_scale()
        assert ours.good_steps.item() == theirs.state_dict()["_growth_tracker"]


def test_the_scale_never_grows_beyond_what_float32_holds():
    scaler = LossScaler(CPU, growth_interval=1)
    scaler.scale.fill_(2.0**127)
    scaler.update(torch.zeros(()))
    assert scaler.scale.item() == 2.0**127


def turn_of(weight: nn.Parameter, precision: str = "fp16", **settings) -> Turn:
    """Of a loss whose gradient is the batch's mean, and not finite where the scaled loss leaves float16."""
    def loss(x: torch.Tensor) -> dict[str, torch.Tensor]:
        narrow = weight.half() if precision == "fp16" else weight
        return {"loss": (narrow.float() * x.mean(0)).sum()}

    stage = StageSettings(**{"steps": 9, "lr": 0.1, "schedule": "constant", **settings})
    player = Player("only", {"w": weight}, loss)
    turn = Turn(player, [], stage, module=nn.Module(), loss=loss, device=CPU, precision=precision)
    turn.set_step(0, 9, 9)
    return turn


GOOD, TOO_LARGE = torch.full((2, 3), 0.25), torch.full((2, 3), 4.0)
"""At the first scale, 2^16, the one fits into float16 (its largest is 65,504), the other does not."""


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop", "rmsprop-tf"])
def test_a_gradient_that_does_not_fit_halves_the_scale_and_changes_nothing_else(optimizer):
    weight, plain = (nn.Parameter(torch.tensor([0.5, -1.0, 2.0])) for _ in range(2))
    settings = {"optimizer": optimizer, "ema": 0.9, "clip_norm": 1.0, "weight_decay": 0.01}
    turn, oracle = turn_of(weight, **settings), turn_of(plain, "fp32", **settings)
    assert turn.scaler is not None and oracle.scaler is None
    before = weight.detach().clone()
    turn.update((TOO_LARGE,), World())
    assert turn.scaler.scale == FIRST / 2 and turn.scaler.good_steps == 0 and not turn.bad
    assert torch.equal(weight, before) and torch.equal(turn.average.average[0], before)
    for _ in range(3):
        turn.update((GOOD,), World())
        oracle.update((GOOD,), World())
    assert turn.scaler.scale == FIRST / 2 and turn.scaler.good_steps == 3
    torch.testing.assert_close(weight, plain)  # the step that was left out left no trace in the optimizer either
    kept = weight.detach().clone(), turn.average.average[0].clone()
    turn.update((4 * TOO_LARGE,), World())
    assert turn.scaler.scale == FIRST / 4
    assert torch.equal(weight, kept[0]) and torch.equal(turn.average.average[0], kept[1])


def test_the_scale_doubles_after_steps_that_fit():
    turn = turn_of(nn.Parameter(torch.ones(3)))
    turn.scaler.growth_interval = 2
    scales = []
    for batch in (TOO_LARGE, GOOD, GOOD, GOOD, TOO_LARGE):
        turn.update((batch,), World())
        scales.append(turn.scaler.scale.item() / FIRST)
    assert scales == [0.5, 0.5, 1.0, 1.0, 0.5]


def test_a_gradient_that_is_bad_at_any_scale_is_told_of():
    turn = turn_of(nn.Parameter(torch.ones(3)))
    turn.scaler.scale.fill_(2 * LEAST)
    bad = torch.full((2, 3), 1e38)  # a finite loss; its gradient is beyond float16 at the least scale, too
    turn.update((bad,), World())
    assert not turn.bad and turn.scaler.scale == LEAST
    turn.update((bad,), World())
    assert turn.bad


def test_accumulated_parts_are_scaled_alike():
    whole, parted = (nn.Parameter(torch.ones(3)) for _ in range(2))
    batch = torch.arange(12.0).view(4, 3) / 64
    turn_of(whole, batch_size=4, optimizer="sgd").update((batch,), World())
    turn_of(parted, batch_size=4, accumulate=2, optimizer="sgd").update((batch,), World())
    torch.testing.assert_close(whole, parted)


# --- whole runs --------------------------------------------------------------------------------------------------------


def images(n: int = 128) -> torch.Tensor:
    """Blobs that can be learned."""
    place = torch.rand(n, 2, 1, 1, generator=torch.Generator().manual_seed(7)) * 6 + 1
    axis = torch.arange(8.0)
    d = (axis[:, None] - place[:, :1]).square() + (axis[None, :] - place[:, 1:]).square()
    return (255 * torch.exp(-d / 4)).to(torch.uint8)


def fit(precision: str, **options) -> vaefast.History:
    torch.manual_seed(0)
    model = vaefast.TwoStageVAE((1, 8, 8), 4, nets="residual", second_width=16)
    settings = (StageSettings(steps=60, batch_size=32, lr=1e-3), StageSettings(steps=20, batch_size=32, lr=1e-3))
    return model.fit(images(), settings=settings, device="cpu", precision=precision, log_every=20, progress=False, **options)


def test_fp16_follows_fp32():
    half, plain = fit("fp16"), fit("fp32")
    for a, b in zip(half.of("stage1"), plain.of("stage1")):
        assert a["loss"] == pytest.approx(b["loss"], rel=0.05) and a["gamma"] == pytest.approx(b["gamma"], rel=0.01)
    assert all(r["loss_scale"] <= FIRST for r in half.records) and not any("loss_scale" in r for r in plain.records)


def test_a_gan_follows_fp32_with_a_scale_of_each_player():
    data = torch.randint(0, 256, (64, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    records = {}
    for precision in ("fp16", "fp32"):
        torch.manual_seed(0)
        gan = vaefast.GAN((1, 28, 28), loss="wgan-gp")
        records[precision] = gan.fit(data, steps=2, batch_size=16, device="cpu", precision=precision, progress=False).records[-1]
    half, plain = records["fp16"], records["fp32"]
    assert half["discriminator/loss"] == pytest.approx(plain["discriminator/loss"], rel=0.05)
    assert {name for name in half if name not in plain} == {"discriminator/loss_scale", "generator/loss_scale"}
    assert 0 < half["discriminator/loss_scale"] <= FIRST and half["generator/loss_scale"] <= FIRST


def test_slopes_of_half_precision_points_are_taken():
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 1), torch.rand(8, 64)
    with torch.autocast("cpu", dtype=torch.float16):
        slopes = squared_slopes(lambda x: layer(x)[:, 0], x.half())
    torch.testing.assert_close(slopes, squared_slopes(lambda x: layer(x)[:, 0], x))
    meta = nn.Linear(64, 1, device="meta")
    assert squared_slopes(lambda x: meta(x)[:, 0], x.to("meta")).shape == (8,)


@pytest.mark.parametrize("penalty", ["gp", "dragan", "r1"])
def test_slopes_are_not_taken_in_float16(penalty):
    """Of logits so flat that float16 has no such slopes; bfloat16, whose range is float32's, has."""
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 1), torch.rand(8, 64)
    nn.init.normal_(layer.weight, std=1e-8)
    found = {}
    for half in (None, torch.float16, torch.bfloat16):
        layer.zero_grad()
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=half or torch.bfloat16, enabled=half is not None):
            slopes = squared_slopes(lambda x: layer(x)[:, 0], x).mean()
            cost = gradient_penalty(penalty, lambda x: layer(x)[:, 0], x, 1 - x)
        (1e12 * slopes + cost).backward()
        found[half] = layer.weight.grad.clone()
    assert found[None].norm() > 0
    torch.testing.assert_close(found[torch.float16], found[None])
    torch.testing.assert_close(found[torch.bfloat16], found[None], rtol=0.02, atol=0)


def test_an_adaptive_weight_sees_gradients_that_float16_has_none_of():
    """The term's are below 6e-8, its least, before they are scaled; where the scale is too large the last weight stays."""
    torch.manual_seed(0)
    decoder, x = nn.Linear(4, 4), torch.rand(8, 4)
    found, overflowed = {}, {}
    for half, scale in ((None, None), (torch.float16, 2.0**14), (torch.float16, 2.0**40), (torch.bfloat16, None)):
        term = WeightedTerm("term_weight", "adaptive", 0.5, "term=None")
        scaler = LossScaler(CPU)
        scaler.scale.fill_(scale or 1.0)
        with torch.autocast("cpu", dtype=half or torch.bfloat16, enabled=half is not None), scaled_by(scaler if scale else None):
            out = decoder(x)
            loss = term.added((out.float() * 1e-2).square().mean(), (out.float() * 1e-7).sum() / 8, decoder)
        assert torch.isfinite(loss)
        found[half, scale], overflowed[half, scale] = term.weight.item(), scaler.unscale([]).item()
        assert not scaler.overflowed
    assert found[torch.float16, 2.0**14] == pytest.approx(found[None, None], rel=0.01)
    assert found[torch.bfloat16, None] == pytest.approx(found[None, None], rel=0.02)
    assert found[torch.float16, 2.0**40] == 0.5  # as it was, and the scale is halved
    assert overflowed == {key: float(key[1] == 2.0**40) for key in found}


def test_an_adaptive_weight_whose_term_alone_overflows_lowers_the_scale():
    """Else it would stay what it was for as long as the whole gradient fits, as it does here."""
    torch.manual_seed(0)
    decoder, term = nn.Linear(4, 4), WeightedTerm("term_weight", "adaptive", 0.5, "term=None")

    def loss(x: torch.Tensor) -> dict[str, torch.Tensor]:
        out = decoder(x)
        return {"loss": term.added(1e-3 * out.float().square().mean(), 1e3 * out.float().mean(), decoder)}

    module = nn.ModuleList([decoder, term])
    stage = StageSettings(steps=9, lr=1e-3, schedule="constant")
    turn = Turn(Player("only", dict(decoder.named_parameters()), loss), [], stage, module=module, loss=loss, device=CPU,
                precision="fp16")
    turn.set_step(0, 9, 9)
    weights = []
    for _ in range(8):
        turn.update((torch.rand(8, 4),), World())
        weights.append(term.weight.item())
    assert turn.scaler.scale < FIRST and not turn.bad
    assert weights[0] == 0.5 and weights[-1] < 1e-4


class _StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, trainer) -> None:
        if trainer.done == self.at:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("kind", ["Line", "Duel"])
@pytest.mark.parametrize("stop_at", [1, 7])
def test_a_resumed_run_ends_with_the_same_bits(train, Line, Duel, tmp_path, kind, stop_at):
    make = {"Line": Line, "Duel": Duel}[kind]
    common = {"steps": 12, "ema": 0.9}
    whole, cut, again = make(), make(), make()
    trainer = {"precision": "fp16"}
    ended = train(whole, **common, trainer=trainer)
    run = RunFolder.create(tmp_path / "run", {})
    with pytest.raises(KeyboardInterrupt):
        train(cut, **common, run=run, trainer={**trainer, "callbacks": [_StopAt(stop_at)]})
    resumed = train(again, **common, run=RunFolder.open(run.path), resume=True, trainer=trainer)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))
    scales = [{k: v for k, v in t.history.records[-1].items() if "loss_scale" in k} for t in (ended, resumed)]
    assert scales[0] == scales[1] and scales[0]


def test_a_checkpoint_from_before_there_was_a_scale_loads():
    weight = nn.Parameter(torch.ones(3))
    old, new = turn_of(weight, "fp32"), turn_of(weight)
    old.update((GOOD,), World())
    new.load(old.tensors(), old.meta())
    assert new.scaler.scale == FIRST
    new.update((GOOD,), World())
    assert new.scaler.good_steps == 1


def test_a_loss_that_is_not_finite_ends_the_run_as_ever(train, Line):
    class Bad(Line):
        def forward(self, x):
            return {"loss": super().forward(x)["loss"] * float("nan")}

    with pytest.raises(DivergenceError, match="became NaN or infinite at step 1"):
        train(Bad(), trainer={"precision": "fp16"})


# --- where it is taken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("capability", "precision"), [((6, 1), "fp32"), ((7, 0), "fp16"), ((7, 5), "fp16"), ((8, 0), "bf16"),
                                                       ((9, 0), "bf16"), ((12, 0), "bf16")])
def test_auto_is_fp16_on_tensor_cores_without_bf16(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    assert resolve_precision("auto", CUDA) == precision


def test_fp16_is_refused_on_apples_gpus():
    assert resolve_precision("fp16", CPU) == "fp16"
    with pytest.raises(ArgumentError, match="precision is 'fp16', whose scaled loss is for CUDA GPUs and CPUs; use fp32 or bf16"):
        resolve_precision("fp16", torch.device("mps"))
