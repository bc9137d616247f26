"""What second stages are told and asked at their doors: conditions, guidance, units, options of another kind."""

from __future__ import annotations

import json
import math

import pytest
import torch

import vaefast
from vaefast.api.unread import without_unread
from vaefast.data import as_image_set
from vaefast.errors import ArgumentError, DataError
from vaefast.models import FlowMatching, Mixture
from vaefast.nets import VelocityMaps, VelocityNet

QUIET = {"device": "cpu", "progress": False}
FEW = {**QUIET, "steps": 2, "batch_size": 16}
LABELS = torch.arange(400) % 2
CODES = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) + 6.0 * (2 * LABELS[:, None] - 1)
IMAGES = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
SET = as_image_set(IMAGES, labels=LABELS[:40])
NETS = {"nets": "residual", "net_options": {"width": 4, "depth": 1, "hidden": 8}}


def stage(kind: str, **options) -> vaefast.SecondStage:
    torch.manual_seed(0)
    return vaefast.SecondStage(2, kind=kind, **({} if kind == "mixture" else {"width": 16, "depth": 1}), **options)


def fitted(kind: str, **options) -> vaefast.SecondStage:
    model = stage(kind, **options)
    model.fit(CODES, LABELS, **QUIET, **({} if kind == "mixture" else {"steps": 150, "batch_size": 100, "lr": 1e-2}))
    return model


def two_stage(**options) -> vaefast.TwoStageVAE:
    torch.manual_seed(0)
    return vaefast.TwoStageVAE((1, 8, 8), 3, **NETS, **options)


# --- conditions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vae", "flow", "mixture"])
def test_a_condition_that_it_does_not_know_is_refused_and_y_ignored(kind):
    with pytest.raises(ArgumentError, match="this model is not conditioned"):
        stage(kind).fit(CODES, condition=LABELS, **QUIET)
    steps = {} if kind == "mixture" else {"steps": 3, "batch_size": 100}
    a, b = stage(kind), stage(kind)
    a.fit(CODES, LABELS, **QUIET, **steps)
    b.fit(CODES, **QUIET, **steps)
    assert torch.equal(a.sample(3, torch.Generator().manual_seed(0)), b.sample(3, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("kind", ["flow", "mixture"])
def test_labels_by_either_name_and_not_by_both(kind):
    steps = {} if kind == "mixture" else {"steps": 3, "batch_size": 100}
    a, b = stage(kind, classes=2), stage(kind, classes=2)
    a.fit(CODES, LABELS, **QUIET, **steps)
    b.fit(CODES, condition=LABELS, **QUIET, **steps)
    assert torch.equal(a.sample(3, torch.Generator().manual_seed(0)), b.sample(3, torch.Generator().manual_seed(0)))
    with pytest.raises(ArgumentError, match="y and condition are both given"):
        a.fit(CODES, LABELS, condition=LABELS, **QUIET)


@pytest.mark.parametrize("kind", ["flow", "mixture"])
def test_densities_of_a_class(kind):
    model = fitted(kind, classes=2)
    right, wrong, none = model.score(CODES, LABELS), model.score(CODES, 1 - LABELS), model.score(CODES)
    assert right > none > wrong and right - none < 2
    torch.testing.assert_close(model.log_prob(CODES[:6], condition=LABELS[:6]).mean().item(), model.score(CODES[:6], LABELS[:6]))
    assert torch.equal(model.log_prob(CODES[:6:2], condition=0), model.log_prob(CODES[:6:2], condition=torch.zeros(3).long()))
    for bad in ([5, 0], [0, 1, 0], "cat", -1):
        with pytest.raises(ArgumentError, match="condition"):
            model.log_prob(CODES[:2], condition=bad)


def test_the_density_of_a_class_in_a_mixture_is_that_of_its_own_gaussians():
    both, one = (Mixture(2, 3, classes=2).fit(CODES, LABELS) for _ in range(2))
    own = Mixture(2, 3)
    own._resize(3, torch.device("cpu"))
    chosen = one.component_class == 1
    for name in ("means", "cholesky"):
        getattr(own, name).copy_(getattr(one, name)[chosen])
    own.weights.copy_(one.weights[chosen] / one.weights[chosen].sum())
    torch.testing.assert_close(both.log_prob(CODES, condition=1), own.log_prob(CODES))
    whole = torch.stack([both.log_prob(CODES, condition=c) + math.log(0.5) for c in (0, 1)]).logsumexp(0)
    torch.testing.assert_close(whole, both.log_prob(CODES))
    absent = Mixture(2, 2, classes=3).fit(CODES, LABELS)
    assert (absent.log_prob(CODES[:3], condition=2) == -math.inf).all()


@pytest.mark.parametrize("kind", ["flow", "mixture"])
def test_a_class_of_which_there_were_none(kind):
    model = fitted(kind, classes=3)
    with pytest.raises(ArgumentError, match="condition holds class 2, of which there were no examples in the training data"):
        model.sample(4, condition=[0, 1, 2, 0])
    assert model.sample(0, condition=[]).shape == (0, 2)
    whole = two_stage(second=kind, classes=12, **({} if kind == "mixture" else {"second_width": 8, "second_depth": 1}))
    whole.fit(IMAGES, condition=torch.arange(40) % 10, **FEW)
    assert whole.sample(2, condition=9).shape == (2, 1, 8, 8)


def test_a_vector_an_example_and_not_one_for_all():
    for model, data in ((stage("flow", condition_dim=5), CODES),
                        (two_stage(second="flow", second_width=8, second_depth=1, condition_dim=5), IMAGES)):
        with pytest.raises(ArgumentError, match="expected .* vectors of 5 numbers"):
            model.fit(data, condition=[0.0, 1, 0, 1, 1], **FEW)
    assert stage("flow", condition_dim=5).second.condition_dim == 5


def test_held_out_data_with_their_conditions():
    model = stage("flow", classes=2)
    history = model.fit(CODES[:300], LABELS[:300], validation=(CODES[300:], LABELS[300:]), **FEW)
    assert "validation/loss" in history.last("stage2")
    posteriors = (CODES, torch.full_like(CODES, 0.1))
    history = model.fit(posteriors, LABELS, validation=(posteriors, LABELS), **FEW)
    assert "validation/loss" in history.last("stage2")
    whole = two_stage(second="flow", second_width=8, second_depth=1, classes=2)
    history = whole.fit(IMAGES, condition=LABELS[:40], validation=(IMAGES[:9], LABELS[:9]), **FEW)
    assert {"validation/loss"} <= history.last("stage1").keys() & history.last("stage2").keys()


def test_scikit_learns_y_of_a_model_whose_second_stage_knows_classes():
    model = two_stage(second="mixture", classes=2)
    codes = model.fit_transform(IMAGES, LABELS[:40], **FEW)
    assert codes.shape == (40, 3) and math.isfinite(model.score(IMAGES, LABELS[:40]))
    plain = two_stage(second="mixture")
    assert plain.fit_transform(IMAGES, LABELS[:40], **FEW).shape == (40, 3)


def test_scikit_learns_y_of_a_model_whose_networks_are_conditioned():
    """Once `fit_transform` trained the model, and failed as it was told no condition of what it then coded."""
    torch.manual_seed(0)
    model = vaefast.VAE((1, 8, 8), 3, classes=2, **NETS)
    codes = model.fit_transform(IMAGES, LABELS[:40], **FEW)
    assert codes.shape == (40, 3)
    assert (codes == model.transform(IMAGES, LABELS[:40])).all() and (codes != model.transform(IMAGES, 1 - LABELS[:40])).any()
    assert model.inverse_transform(codes, LABELS[:40]).shape == (40, 1, 8, 8)
    with pytest.raises(ArgumentError, match="give it condition="):
        model.transform(IMAGES)


@pytest.mark.parametrize("way", ["encode", "decode", "reconstruct"])
def test_a_second_stages_ways_take_a_condition(way):
    flow = fitted("flow", classes=2)
    free, low, high = (getattr(flow, way)(CODES[:6], condition=c) for c in (None, 0, torch.ones(6, dtype=torch.long)))
    assert free.shape == (6, 2) and torch.isfinite(free).all()
    if way == "reconstruct":  # back and forth of one condition, whatever that is
        torch.testing.assert_close(low, CODES[:6], rtol=0.1, atol=0.1)
    else:
        assert not torch.allclose(low, high) and not torch.allclose(free, high)
    with pytest.raises(ArgumentError, match="classes 5 to 5; this model knows 0 to 1"):
        getattr(flow, way)(CODES[:6], condition=5)
    with pytest.raises(ArgumentError, match="not conditioned"):
        getattr(stage("vae"), way)(CODES[:6], condition=0)
    with pytest.raises(ArgumentError, match="no latents u"):
        getattr(fitted("mixture"), way)(CODES[:6])


def test_a_condition_comes_second_and_a_generator_may():
    flow = fitted("flow", classes=2)
    z, labels = CODES[:6], LABELS[:6]
    assert torch.equal(flow.reconstruct(z, labels), flow.reconstruct(z, condition=labels))
    whole = two_stage(second="vae", second_width=8, second_depth=1)
    for way, codes in ((stage("vae").reconstruct, z), (whole.recode, torch.randn(4, 3))):
        first, second = (torch.Generator().manual_seed(1) for _ in range(2))
        assert torch.equal(way(codes, first), way(codes, generator=second))


def test_a_condition_is_given_once():
    with pytest.raises(ArgumentError, match="y and condition are both given"):
        stage("flow", classes=2).fit_transform(CODES, LABELS, condition=LABELS, **FEW)


def test_a_second_stages_loss_takes_a_condition():
    with pytest.raises(ArgumentError, match="is fitted at once and has no loss"):
        stage("mixture")(CODES)
    flow = fitted("flow", classes=2)
    losses = []
    for labels in (LABELS, 1 - LABELS):
        torch.manual_seed(0)
        losses.append(flow(CODES, labels)["loss"].item())
    assert losses[0] < 0.5 * losses[1]
    assert stage("vae")(CODES)["loss"].isfinite()


def test_conditions_of_a_flow_are_not_read_where_they_have_no_values():
    """Inside torch.func's transforms, and on the meta device."""
    u, labels = torch.randn(3, 4, 2), torch.randint(0, 2, (3, 4))
    flow = FlowMatching(VelocityNet(2, width=8, depth=1, classes=2), 2)

    def way(u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return flow.decode(u, condition=labels, guidance=1.5, steps=2)

    torch.testing.assert_close(torch.func.vmap(way)(u, labels), torch.stack([way(a, b) for a, b in zip(u, labels)]))
    vectors = FlowMatching(VelocityNet(2, width=8, depth=1, condition_dim=3), 2)
    assert torch.func.vmap(lambda u, c: vectors.encode(u, condition=c, steps=2))(u, torch.randn(3, 4, 3)).shape == u.shape
    flow.to("meta")
    assert way(u[0].to("meta"), labels[0].to("meta")).shape == (4, 2)
    assert flow.sample(3, condition=1, guidance=2.0).shape == (3, 2)


def test_a_flows_shares_stay_in_single_precision():
    flow = FlowMatching(VelocityNet(2, classes=3), 2).half()
    assert flow.shares.dtype == torch.float32 and flow.velocity.classes == 3
    assert "shares" not in dict(FlowMatching(VelocityNet(2), 2).half().named_buffers())


def test_a_class_with_one_example_is_refused_before_anything_is_trained(tmp_path):
    model, labels = two_stage(second="mixture", classes=2), (torch.arange(40) == 3).long()
    with pytest.raises(DataError, match="2 latents of class 1 or more; there is 1"):
        model.fit(IMAGES, condition=labels, out=str(tmp_path / "run"), **FEW)
    assert not (tmp_path / "run").exists()


# --- guidance ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [math.nan, math.inf, -math.inf, 1e300, "2", None, [2.0], True])
def test_guidance_that_cannot_work(guidance):
    model = stage("flow", classes=2)
    torch.nn.init.normal_(model.second.velocity.out.weight)
    with pytest.raises(ArgumentError, match="guidance is"):
        model.sample(4, condition=0, guidance=guidance)
    whole = two_stage(second="flow", second_width=8, second_depth=1, classes=2)
    if guidance not in (None, 1e300):
        with pytest.raises(ArgumentError, match="guidance is"):
            vaefast.evaluate(whole, SET, guidance=guidance, samples=4, say=pytest.fail)


def test_guidance_of_another_kind_is_refused_before_anything_is_scored():
    model = two_stage(second="mixture", classes=2)
    model.fit(IMAGES, condition=LABELS[:40], **FEW)
    with pytest.raises(ArgumentError, match="guidance is for a second stage that is a flow"):
        vaefast.evaluate(model, SET, guidance=2.0, samples=4, say=pytest.fail)


# --- units and precisions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-150, 1e-6, 1.0, 1e6, 1e100])
def test_a_mixture_needs_no_scale(scale):
    codes = CODES.double() * torch.tensor([1.0, 30.0])
    one, scaled = (Mixture(2, 4).fit(z) for z in (codes, codes * scale))
    torch.testing.assert_close(scaled.means / scale, one.means)
    torch.testing.assert_close(scaled.cholesky / scale, one.cholesky)
    torch.testing.assert_close(scaled.log_likelihood + 2 * math.log(scale), one.log_likelihood)


def test_codes_whose_variance_no_float_holds_end_in_an_error():
    with pytest.raises(DataError, match="variance is too large for float64"):
        Mixture(2).fit(torch.randn(100, 2).double() * 1e155)
    with pytest.raises(DataError, match="row 0 of the latents is NaN or infinite when it is drawn"):
        stage("mixture").second.fit(vaefast.models.Latents(torch.zeros(9, 2), torch.full((9, 2), math.inf)))
    with pytest.raises(ArgumentError, match="floor inf"):
        Mixture(2, floor=math.inf)


@pytest.mark.parametrize("kind", ["flow", "mixture"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_second_stage_keeps_its_units_in_any_precision(kind, dtype):
    model = stage(kind)
    model.fit(CODES + 1e5, **QUIET, **({} if kind == "mixture" else {"steps": 3, "batch_size": 100}))
    model.to(dtype)
    drawn = model.sample(400, torch.Generator().manual_seed(0)).double()
    assert (drawn - 1e5).abs().max() < 40 and drawn.std() > 1
    assert model.log_prob((CODES + 1e5)[:3]).isfinite().all()
    two = two_stage(second="mixture")
    two.fit(IMAGES, **FEW)
    assert two.to(dtype).sample(2).isfinite().all()


@pytest.mark.parametrize("kind", ["flow", "mixture"])
def test_codes_that_float32_cannot_tell_apart_are_warned_of(kind):
    with pytest.warns(UserWarning, match="hardly tells apart"):
        stage(kind).fit(0.01 * CODES.double() + 1e6, **QUIET, **({} if kind == "mixture" else {"steps": 2, "batch_size": 100}))


def test_a_score_is_the_same_each_time_and_moves_no_ones_generator():
    torch.manual_seed(0)
    model = vaefast.SecondStage(70, kind="flow", width=8, depth=1)
    torch.nn.init.normal_(model.second.velocity.out.weight, std=0.1)
    codes, state = torch.randn(20, 70), torch.get_rng_state()
    assert model.score(codes) == model.score(codes) and torch.equal(state, torch.get_rng_state())


# --- options of another kind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "says"), [
    ({"kind": "flow", "gamma": 0.1}, "gamma is 0.1, which a second stage of kind 'flow' has not"),
    ({"kind": "mixture", "gamma_init": 2.0}, "gamma_init is 2.0"), ({"kind": "mixture", "width": 77}, "width is 77"),
    ({"kind": "mixture", "depth": 2}, "depth is 2")])
def test_options_of_another_kind_are_refused(options, says):
    with pytest.raises(ArgumentError, match=says):
        vaefast.SecondStage(3, **options)
    of_two = {"second" if name == "kind" else f"second_{name}": value for name, value in options.items()}
    if "second_gamma_init" not in of_two:
        with pytest.raises(ArgumentError, match="second_" + says):
            two_stage(**of_two)


def test_a_model_saved_with_such_an_option_still_loads(tmp_path):
    for model, given in ((stage("mixture"), {"width": 77, "gamma": 0.1}), (two_stage(second="flow"), {"second_gamma": "optimal"}),
                         (two_stage(second="mixture"), {"second_width": 512, "second_depth": 2})):
        folder = tmp_path / f"{type(model).__name__}{len(given)}{model.config().get('second')}"
        model.save(folder)
        meta = json.loads((folder / "model.json").read_text())
        meta["config"] |= given
        (folder / "model.json").write_text(json.dumps(meta))
        assert vaefast.load(folder).config() == model.config()
    vae = {"kind": "vae", "gamma": 0.1, "width": 8}
    assert without_unread(vae) == vae


def test_a_run_started_with_such_an_option_goes_on(tmp_path):
    two_stage(second="mixture").fit(IMAGES, out=str(tmp_path / "run"), **FEW)
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    config["model"] |= {"second_width": 512, "second_gamma": "optimal"}
    path.write_text(json.dumps(config))
    again = two_stage(second="mixture")
    again.fit(IMAGES, out=str(tmp_path / "run"), resume=True, **{**FEW, "steps": 4})
    assert again.sample(2).isfinite().all()


@pytest.mark.parametrize("width", [16, 25, 50, 64, 75, 96])
def test_attention_of_maps_takes_any_width(width):
    flow = FlowMatching(VelocityMaps((2, 4, 4), width, 1), 32)
    assert flow.sample(2, steps=1).shape == (2, 32)


def test_a_mixture_looks_at_what_it_is_given():
    mixture = Mixture(2, 2).fit(CODES)
    for call, error, says in (
            (lambda: mixture.log_prob(torch.zeros(3, 5)), ArgumentError, "5 dimensions"),
            (lambda: mixture.log_prob(torch.zeros(2)), ArgumentError, r"\[2\]"),
            (lambda: mixture.log_prob(torch.full((3, 2), math.nan)), DataError, "NaN"),
            (lambda: Mixture(2).fit(CODES, LABELS), ArgumentError, "not conditioned"),
            (lambda: Mixture(2, classes=2).fit(CODES, LABELS / 2), ArgumentError, "labels is"),
            (lambda: Mixture(2, classes=2).fit(CODES, LABELS[:9]), ArgumentError, "labels is"),
            (lambda: Mixture(2, classes=-1), ArgumentError, "classes is -1"),
            (lambda: Mixture(2, classes="3"), ArgumentError, "classes is '3'"),
            (lambda: stage("mixture").fit(CODES, seed="a", **QUIET), ArgumentError, "seed is 'a'"),
            (lambda: stage("mixture").fit(CODES, seed=2**70, **QUIET), ArgumentError, "seed is"),
            (lambda: stage("mixture").fit(CODES.to_sparse(), **QUIET), ArgumentError, "pass a dense one")):
        with pytest.raises(error, match=says):
            call()
    assert mixture.log_prob(torch.zeros(0, 2)).shape == (0,)
    each = torch.func.vmap(mixture.log_prob)(CODES[:6].view(2, 3, 2))
    torch.testing.assert_close(each.flatten(), mixture.log_prob(CODES[:6]))
    compiled = torch.compile(mixture.log_prob, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(CODES[:6]), mixture.log_prob(CODES[:6]))
    z = CODES[:3].clone().requires_grad_()
    mixture.log_prob(z).sum().backward()
    assert z.grad.isfinite().all()


def test_a_flow_in_float64_keeps_its_digits():
    torch.manual_seed(0)
    flow = FlowMatching(VelocityNet(2, 8, 1), 2).double()
    assert flow.mean.dtype == torch.float64 and flow.sample(2).dtype == torch.float64
