"""The loss on held-out data: right values, best weights, patience, resuming."""

from __future__ import annotations

import math
import signal

import pytest
import torch

import vaefast
from vaefast.api.reading import Reading
from vaefast.errors import ArgumentError
from vaefast.training import Callback, RunFolder

QUIET = {"device": "cpu", "progress": False}
IMAGES = torch.rand(70, 1, 6, 6, generator=torch.Generator().manual_seed(0))
HELD = torch.rand(23, 1, 6, 6, generator=torch.Generator().manual_seed(1))
STEPS = {"batch_size": 16, "lr": 1e-2}


def model(kind: str = "vae", **options):
    torch.manual_seed(0)
    built = {"vae": vaefast.VAE, "two-stage": vaefast.TwoStageVAE, "wae": vaefast.WAE}[kind]
    if kind != "wae":
        options["net_options"] = {"width": 4, "depth": 1, "hidden": 8}
    return built((1, 6, 6), 2, nets="residual", **options)


def test_held_out_terms_are_those_of_the_loss():
    vae = model(gamma=0.5)
    history = vae.fit(IMAGES, validation=HELD, epochs=2, **STEPS, **QUIET)
    last = history.last("stage1")
    with torch.no_grad():
        posterior = vae.first.encode(HELD)
        kl = 0.5 * (posterior.mean**2 + posterior.std**2 - 2 * posterior.std.log() - 1).sum(1).mean()
    assert last["validation/kl"] == pytest.approx(float(kl), rel=1e-5)
    assert last["validation/elbo"] == pytest.approx(-last["validation/reconstruction"] - last["validation/kl"])
    assert last["validation/bits_per_dimension"] == pytest.approx(8 - last["validation/elbo"] / 36 / math.log(2))
    # the reconstruction is of drawn codes: its mean over many draws
    draws = []
    with torch.no_grad():
        for _ in range(200):
            x = vae.decode(posterior.sample())
            draws.append(((x - HELD)**2).flatten(1).sum(1) / (2 * 0.25) + 18 * math.log(2 * math.pi * 0.25))
    draws = torch.stack(draws).mean(1)
    assert abs(last["validation/reconstruction"] - float(draws.mean())) < 5 * float(draws.std())


def test_validation_changes_nothing_of_the_training():
    plain, watched = model(), model()
    plain.fit(IMAGES, epochs=2, **STEPS, **QUIET)
    watched.fit(IMAGES, validation=HELD, epochs=2, **STEPS, **QUIET)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name


@pytest.mark.parametrize("second", ["vae", "flow", "mixture"])
def test_each_stage_has_a_held_out_loss_of_its_own(second):
    two = model("two-stage", second=second, **({} if second == "mixture" else {"second_width": 8, "second_depth": 1}))
    stages = 1 if second == "mixture" else 2
    history = two.fit(IMAGES, validation=0.2, epochs=2, **STEPS, **QUIET)
    for stage in range(1, stages + 1):
        of_stage = [r for r in history.of(f"stage{stage}") if "validation/loss" in r]
        assert len(of_stage) == 2 and all(math.isfinite(r["validation/loss"]) for r in of_stage)


def test_a_share_is_drawn_by_the_seed_and_left_out_of_training():
    vae = model()
    first = vae._hold_out(vae._accept(IMAGES)[0], 0.3, Reading(seed=0))
    again = vae._hold_out(vae._accept(IMAGES)[0], 0.3, Reading(seed=0))
    other = vae._hold_out(vae._accept(IMAGES)[0], 0.3, Reading(seed=1))
    assert len(first[0]) == 49 and len(first[1][0]) == 21
    assert torch.equal(first[0].images, again[0].images) and not torch.equal(first[0].images, other[0].images)
    seen = {float(x.sum()) for x in first[0].images} | {float(x.sum()) for x in first[1][0].images}
    assert len(seen) == 70


def test_the_flow_keeps_the_scale_of_its_training_codes():
    codes = torch.randn(200, 3) * 3 + 7
    second = vaefast.SecondStage(3, kind="flow", width=8, depth=1)
    second.fit(codes, validation=torch.randn(50, 3), steps=10, batch_size=50, evaluate_every=1, **QUIET)
    assert torch.allclose(second.second.mean, codes.mean(0), atol=1e-5)


class Falls(Callback):
    """Makes the held-out loss rise from the second score on."""

    def evaluate(self, trainer, record) -> None:
        record["validation/loss"] = float(abs(trainer.epoch - 2))


def test_patience_ends_a_stage_and_the_next_one_comes(tmp_path):
    two = model("two-stage", second_width=8, second_depth=1)
    history = two.fit(IMAGES, validation=HELD, epochs=(9, 2), patience=3, keep_best=True, out=tmp_path / "run",
                      callbacks=[Falls()], **STEPS, **QUIET)
    assert history.last("stage1")["epoch"] == 5 and history.last("stage2")["epoch"] == 2


def test_a_stage_that_ended_by_patience_is_not_trained_on_when_resumed(tmp_path):
    one = model()
    one.fit(IMAGES, validation=HELD, epochs=9, patience=2, out=tmp_path / "run", callbacks=[Falls()], **STEPS, **QUIET)
    assert RunFolder.open(tmp_path / "run").read_metrics()[-1]["epoch"] == 4
    again = model()
    again.fit(IMAGES, validation=HELD, epochs=9, patience=2, out=tmp_path / "run", resume=True, callbacks=[Falls()], **STEPS,
              **QUIET)
    assert RunFolder.open(tmp_path / "run").read_metrics()[-1]["epoch"] == 4
    for name, value in one.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_stopped_run_goes_on_with_the_same_scores(tmp_path):
    class Stop(Callback):
        def step(self, trainer) -> None:
            if trainer.done == 7:
                signal.raise_signal(signal.SIGINT)

    options = {"validation": 0.3, "epochs": 4, **STEPS, **QUIET}
    whole = model().fit(IMAGES, **options)
    with pytest.raises(KeyboardInterrupt):
        model().fit(IMAGES, out=tmp_path / "run", callbacks=[Stop()], **options)
    again = model().fit(IMAGES, out=tmp_path / "run", resume=True, **options)
    assert [r["validation/loss"] for r in whole.records] == [r["validation/loss"] for r in again.records]


def test_a_last_batch_of_one_is_no_batch():
    wae = model("wae")
    history = wae.fit(IMAGES, validation=HELD[:17], epochs=1, **STEPS, **QUIET)  # 16 + 1
    assert math.isfinite(history.last("stage1")["validation/loss"])


@pytest.mark.parametrize("options, words", [
    ({"validation": 1.5}, "validation is 1.5; expected held-out data, or a share of the data between 0 and 1"),
    ({"validation": 1e-4}, "leaves 70 of 70 examples to train on and 0 to hold out"),
    ({"validation": torch.rand(4, 1, 5, 5)}, "image_shape="),
    ({"patience": 3}, "patience of stage1 is 3; expected 1 or more, with a score"),
    ({"patience": 0, "validation": HELD}, "patience of stage1 is 0"),
])
def test_what_cannot_be_held_out_is_refused_in_a_sentence(options, words):
    with pytest.raises(ArgumentError, match=words.split("(")[0].replace(".", r"\.")):
        model().fit(IMAGES, epochs=1, **STEPS, **QUIET, **options)


def test_a_gan_has_no_held_out_loss():
    gan = vaefast.GAN((1, 28, 28))
    with pytest.raises(ArgumentError, match="a game of two networks"):
        gan.fit(torch.rand(20, 1, 28, 28), validation=0.5, steps=1, **QUIET)


def test_a_dataset_is_held_out_too():
    class Items(torch.utils.data.Dataset):
        def __len__(self):
            return len(HELD)

        def __getitem__(self, index):
            return HELD[index]

    plain, streamed = (model().fit(IMAGES, validation=data, epochs=1, **STEPS, **QUIET) for data in (HELD, Items()))
    a, b = plain.last("stage1"), streamed.last("stage1")
    assert a["validation/kl"] == pytest.approx(b["validation/kl"], rel=1e-5)
    with pytest.raises(ArgumentError, match="not held whole"):
        model().fit(Items(), validation=0.5, epochs=1, **STEPS, **QUIET)
