"""Models of vectors, sequences and volumes, in their own units, by the words of those of images."""

from __future__ import annotations

import json
import math
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import vaefast
from vaefast.data import ArraySet, as_array_set
from vaefast.errors import ArgumentError, DataError, RunFolderError, VaefastError
from vaefast.metrics import importance_weighted_bound

SHAPES = {"vector": (5,), "sequence": (2, 17), "volume": (1, 5, 7, 9)}
KINDS = {
    "vae": (vaefast.VAE, {"net_options": {"width": 8}}), "vae-flow": (vaefast.VAE, {"flow": "planar", "flow_depth": 2}),
    "vae-squared": (vaefast.VAE, {"likelihood": "squared"}), "vae-optimal": (vaefast.VAE, {"gamma": "optimal"}),
    "two-stage": (vaefast.TwoStageVAE, {"second_width": 8}), "two-stage-mixture": (vaefast.TwoStageVAE, {"second": "mixture"}),
    "two-stage-flow": (vaefast.TwoStageVAE, {"second": "flow", "second_width": 8, "second_depth": 1}),
    "wae": (vaefast.WAE, {}), "wae-gan": (vaefast.WAE, {"penalty": "gan", "adversary_width": 8, "pretrain": True}),
    "general": (vaefast.GeneralVAE, {}), "general-tc": (vaefast.GeneralVAE, {"regularizer": "tc", "family": "laplace"})}
# every kind on vectors, and the plainest and the deepest of them on the others
CASES = [("vector", kind) for kind in KINDS] + [("sequence", "two-stage"), ("volume", "vae")]
MEAN, SCALE = 1e6, 1e3


def data(shape: tuple[int, ...], n: int = 72) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    return MEAN + SCALE * torch.randn(n, *shape, generator=g)


def make(kind: str, shape: tuple[int, ...], **more):
    model, options = KINDS[kind]
    torch.manual_seed(3)
    return model(data_shape=shape, latent_dim=3, **options, **more)


def fit(model, x, **options):
    usual = {"steps": 6, "batch_size": 16, "lr": 1e-3, "device": "cpu", "progress": False, "log_every": 2}
    return model.fit(x, **{**usual, **options})


@pytest.mark.parametrize(("what", "kind"), CASES)
def test_train_use_save_load_and_resume(what, kind, tmp_path, stop_at):
    shape = SHAPES[what]
    x, whole = data(shape), make(kind, shape)
    history = fit(whole, x, out=tmp_path / "whole")
    last = history.last("stage1")
    assert last["step"] == 6 and abs(last.get("loss", last.get("autoencoder/loss"))) < 1e4  # in standardised units
    assert whole.data_shape == shape and not whole.draws_images and not hasattr(whole, "image_shape")
    z = whole.encode(x[:5]).sample()
    for given in (whole.sample(5), whole.decode(z), whole.reconstruct(x[:5])):  # in the data's own
        assert given.shape == (5, *shape) and given.dtype == torch.float32 and (given.detach() - MEAN).abs().max() < 30 * SCALE

    loaded = vaefast.load(tmp_path / "whole")
    assert type(loaded) is type(whole) and loaded.config() == whole.config() and loaded.config()["nets"] == "residual"
    g = [torch.Generator().manual_seed(5) for _ in range(2)]
    assert torch.equal(loaded.sample(7, generator=g[0]), whole.sample(7, generator=g[1]))

    with pytest.raises(KeyboardInterrupt):
        fit(make(kind, shape), x, out=tmp_path / "cut", callbacks=[stop_at(3)])
    resumed = make(kind, shape)
    fit(resumed, x, out=tmp_path / "cut", resume=True)
    state = resumed.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in whole.state_dict().items())
    with pytest.raises(RunFolderError, match="data.digest|digest"):
        fit(make(kind, shape), x + SCALE, out=tmp_path / "whole", resume=True)


def test_units_are_those_of_the_first_fit():
    x = torch.stack([torch.arange(64.0), torch.full((64,), 7.0), torch.randn(64) * 1e-4], 1)
    model = vaefast.VAE(data_shape=(3,), latent_dim=2)
    fit(model, x)
    units = model.first.standardiser
    torch.testing.assert_close(units.mean, x.double().mean(0).float())
    torch.testing.assert_close(units.std, torch.tensor([float(x[:, 0].std(correction=0)), 1.0, float(x[:, 2].std(correction=0))]))
    torch.testing.assert_close(units.undo(units(x)), x)
    fit(model, x * 2)
    torch.testing.assert_close(units.mean, x.double().mean(0).float())  # the weights go with them
    plain = vaefast.VAE(data_shape=(3,), latent_dim=2, standardise=False)
    fit(plain, torch.randn(64, 3))
    assert plain.first.standardiser is None and not any("standardiser" in name for name in plain.state_dict())


def test_channels_have_one_unit_each():
    x = torch.randn(40, 2, 17) * torch.tensor([1.0, 100.0])[:, None] + torch.tensor([0.0, -500.0])[:, None]
    model = vaefast.VAE(data_shape=(2, 17), latent_dim=2)
    fit(model, x)
    standard = model.first.standardiser(x)
    assert model.first.standardiser.mean.shape == (2, 1)
    torch.testing.assert_close(standard.mean((0, 2)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.std((0, 2), correction=0), torch.ones(2))


def test_bytes_count_as_0_to_1():
    x = torch.randint(0, 256, (32, 1, 4, 5, 6), dtype=torch.uint8)
    models = [vaefast.VAE(data_shape=(1, 4, 5, 6), latent_dim=2) for _ in range(2)]
    for model, given in zip(models, (x, x.float() / 255)):
        fit(model, given, steps=1)
    torch.testing.assert_close(models[0].first.standardiser.mean, models[1].first.standardiser.mean)
    assert 0.4 < float(models[0].first.standardiser.mean) < 0.6
    torch.testing.assert_close(models[0].encode(x).mean, models[0].encode(x.float() / 255).mean, atol=1e-5, rtol=1e-4)
    occupied = torch.rand(32, 1, 4, 5, 6) < 0.3
    assert torch.equal(as_array_set(occupied).values, occupied.to(torch.uint8) * 255)
    assert models[0].encode(occupied).mean.shape == (32, 2)


class Pairs(Dataset):
    def __init__(self, x, y=None):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i] if self.y is None else (self.x[i], int(self.y[i]))


def test_forms_that_are_taken():
    x, y = torch.randn(12, 2, 5), torch.arange(12) % 3
    forms = [x, x.double(), x.numpy(), x.numpy().astype(">f8"), x.numpy()[::-1][::-1], list(x), list(x.numpy()), x.tolist(),
             TensorDataset(x), TensorDataset(x, y), TensorDataset(x, torch.randn(12)), Pairs(x), Pairs(x, y),
             [(one, label) for one, label in zip(x, y)], as_array_set(x)]
    model = vaefast.VAE(data_shape=(2, 5), latent_dim=2)
    for form in forms:
        arrays = as_array_set(form, (2, 5))
        assert torch.equal(arrays.values, x) and arrays.values.is_contiguous() and len(arrays) == 12
        torch.testing.assert_close(model.encode(form).mean, model.encode(x).mean)
    assert [as_array_set(form).labels is not None for form in forms] == [False] * 9 + [True, False, False, True, True, False]
    assert as_array_set(forms[9])[4][1] == 1 and torch.equal(as_array_set(x)[4], x[4])
    whole = np.arange(24).reshape(8, 3)
    assert torch.equal(as_array_set(whole).values, torch.arange(24.0).view(8, 3))
    pandas = pytest.importorskip("pandas")
    assert torch.equal(as_array_set(pandas.DataFrame(whole)).values, torch.arange(24.0).view(8, 3))


def test_the_axis_of_one_channel_may_be_missing():
    model, x = vaefast.VAE(data_shape=(1, 9), latent_dim=2), torch.randn(32, 9)
    fit(model, x)
    assert torch.equal(model.encode(x).mean, model.encode(x[:, None]).mean)
    fit(vaefast.VAE(data_shape=(1,), latent_dim=1), torch.randn(32))


def test_sets_are_told_apart_and_say_what_they_are():
    x = torch.randn(4, 3)
    first, other = ArraySet(x), ArraySet(x.clone())
    assert first.digest == other.digest != ArraySet(x + 1).digest and ArraySet(x, torch.arange(4)).digest != first.digest
    assert first.data_shape == (3,) and repr(first) == "ArraySet(array/train, 4 of 3, float32)"
    assert as_array_set(first) is first
    part = ArraySet(x, torch.arange(4)).subset(torch.tensor([2, 0]))
    assert torch.equal(part.values, x[[2, 0]]) and part.labels.tolist() == [2, 0]
    for nothing in (torch.tensor([9]), torch.zeros(4, dtype=torch.bool)):
        with pytest.raises(ArgumentError, match="this set of 4 examples"):
            first.subset(nothing)


def test_a_held_out_loss():
    model, x = vaefast.TwoStageVAE(data_shape=(5,), latent_dim=2, second_width=8), data((5,))
    history = fit(model, x, steps=(6, 2), validation=0.25, evaluate_every=1)
    first, second = history.last("stage1"), history.last("stage2")
    assert math.isfinite(first["validation/loss"]) and math.isfinite(second["validation/loss"])
    assert math.isfinite(first["validation/elbo"]) and "validation/bits_per_dimension" not in first
    fit(vaefast.VAE(data_shape=(5,), latent_dim=2), x[:50], validation=x[50:])


def test_a_dataset_that_draws_its_items_is_told_of():
    class Drawn(Pairs):
        def __getitem__(self, i):
            return torch.randn(3)

    with pytest.warns(UserWarning, match="gives other examples each time"):
        as_array_set(Drawn(torch.zeros(10)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_array_set(Pairs(torch.randn(10, 3)))


def _nan(shape=(8, 5), row=3, value=math.nan):
    x = torch.randn(*shape)
    x[row, ..., 0] = value
    return x


@pytest.mark.parametrize(("x", "message"), [
    (torch.randn(8, 4), r"the examples have shape \(4,\); this model was built with data_shape=\(5,\)\."),
    (torch.randn(8, 5, 1), r"shape \(5, 1\); this model was built with data_shape=\(5,\)"), (torch.randn(5), "shape"),
    (_nan(), "row 3 holds NaN"), (_nan(row=6, value=math.inf), "row 6 holds infinity"), (list(_nan()), "row 3 holds NaN"),
    (torch.zeros(0, 5), r"shape \[0, 5\]"), ([], "the data are empty"), (Pairs(torch.zeros(0, 5)), "empty"),
    ([torch.zeros(5), torch.zeros(4)], r"item 0 is of shape \[5\] in float32 and item 1 of shape \[4\]"),
    ([torch.zeros(5), torch.zeros(5, dtype=torch.uint8)], "uint8; all must be of one shape and dtype"),
    ([[1.0, 2.0], [1.0]], "item 1 of shape"), (["abc"], "item 0 is a str"), ("abc", "of type str"), (5, "of type int"),
    (np.array(["a", "b"]), "of dtype <U1; real numbers"), (torch.zeros(8, 5, dtype=torch.complex64), "complex64; real numbers"),
    (np.full((8, 5), 1e300), "beyond what float32 holds"), (torch.zeros(8, 5).to_sparse(), "dense"),
    (np.ma.masked_array(np.zeros((8, 5)), mask=True), "masked")])
def test_bad_data_get_one_sentence_before_anything_is_made(x, message, tmp_path):
    model = vaefast.VAE(data_shape=(5,), latent_dim=2)
    with pytest.raises(VaefastError, match=message) as found:
        fit(model, x, out=tmp_path / "run")
    assert isinstance(found.value, (ArgumentError, DataError)) and str(found.value).count(". ") == 0
    assert not (tmp_path / "run").exists()


def test_doors_refuse_what_fit_refuses():
    model = vaefast.VAE(data_shape=(5,), latent_dim=2)
    for call in (model, model.encode, model.reconstruct, model.first.loss):
        with pytest.raises(DataError, match="row 3 holds NaN"):
            call(_nan())
        with pytest.raises(ArgumentError, match=r"shape \[8, 4\]; this model takes \[B, 5\]"):
            call(torch.randn(8, 4))


def test_fields_of_real_numbers_are_volumes_of_depth_one():
    fields = 50 + 9 * torch.randn(24, 2, 9, 7)
    model = vaefast.TwoStageVAE(data_shape=(2, 1, 9, 7), latent_dim=3, second="mixture", net_options={"width": 4})
    model.fit(fields, steps=3, batch_size=8, device="cpu")
    assert model.sample(5).shape == (5, 2, 1, 9, 7) and 30 < float(model.sample(64).mean()) < 70
    assert torch.equal(model.encode(fields).mean, model.encode(fields[:, :, None]).mean)
    one = vaefast.VAE(data_shape=(1, 1, 9, 7), latent_dim=3, net_options={"width": 4})
    assert torch.equal(one.encode(fields[:, 0]).mean, one.encode(fields[:, :1]).mean)
    for wrong in (fields[:, :, :8], fields.mT, fields[0, 0, 0]):
        with pytest.raises(ArgumentError, match=r"this model takes \[B, 2, 1, 9, 7\]"):
            model.encode(wrong)


OWN = {"encoder": nn.Linear(5, 4), "decoder": nn.Linear(2, 5)}


def logits():
    decoder = nn.Linear(2, 5)
    decoder.output = "logits"
    return decoder


@pytest.mark.parametrize(("build", "message"), [
    (lambda m: m(), "image_shape and data_shape are not given; give one"),
    (lambda m: m((1, 8, 8), data_shape=(5,)), "image_shape and data_shape are both given; give one"),
    (lambda m: m((5,)), r"image_shape is \(5,\).*other shapes are given as data_shape"),
    (lambda m: m(data_shape=(1, 8, 8)), r"is that of images; give it as image_shape=\(1, 8, 8\), or,.*=\(1, 1, 8, 8\)"),
    (lambda m: m(data_shape=5), r"data_shape is 5; .*a vector's is \(5,\)"), (lambda m: m(data_shape=()), "sizes of one example"),
    (lambda m: m(data_shape=(5, 0)), "above 0"), (lambda m: m(data_shape="ab"), "data_shape is 'ab'"),
    (lambda m: m(data_shape=(2.5,)), "above 0"),
    (lambda m: m(data_shape=(5,), nets="infogan"), r"nets is 'infogan'; of data of shape \(5,\) expected 'residual', or"),
    (lambda m: m(data_shape=(1, 2, 2, 2, 2)), "there are none by name, so give an encoder and a decoder of your own"),
    (lambda m: m(data_shape=(5,), encoder=nn.Linear(5, 4), decoder=logits(), latent_dim=2), "returns logits"),
    (lambda m: m((1, 8, 8), standardise=True), "standardise is True with images"),
    (lambda m: m(data_shape=(5,), standardise="yes"), "standardise is 'yes'")])
@pytest.mark.parametrize("model", [vaefast.VAE, vaefast.TwoStageVAE, vaefast.WAE, vaefast.GeneralVAE])
def test_shapes_and_parts_that_cannot_work(model, build, message):
    with pytest.raises(ArgumentError, match=message):
        build(model)


@pytest.mark.parametrize(("model", "arguments", "message"), [
    (vaefast.VAE, {"likelihood": "bernoulli"}, "likelihood is 'bernoulli', which is for images.*'gaussian' or 'squared'"),
    (vaefast.TwoStageVAE, {"adversary": "patchgan"}, "adversary is 'patchgan', which is for images.*leave it out"),
    (vaefast.VAE, {"latent_dim": (1, 2, 2)}, "maps of codes, which images alone have"),
    (vaefast.VAE, {"net_options": {"hidden": 4}}, "does not take; it has width, depth"),
    (vaefast.WAE, {"image_range": (-1, 1)}, "image_range is"), (vaefast.GeneralVAE, {"nets": "pixelcnn"}, "expected 'residual'"),
    (vaefast.GeneralVAE, {"family": "categorical"}, "'gaussian' or 'laplace'")])
def test_what_only_images_have_is_refused(model, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        model(data_shape=(5,), **arguments)


def test_mirroring_and_channels_last_are_for_images(tmp_path):
    with pytest.raises(ArgumentError, match="flip is True, which mirrors images"):
        vaefast.VAE(data_shape=(5,)).fit(torch.randn(8, 5), settings=vaefast.StageSettings(steps=1, flip=True), device="cpu")
    model, x = vaefast.VAE(data_shape=(1, 3, 3, 3), latent_dim=2), torch.randn(16, 1, 3, 3, 3)
    with pytest.raises(ArgumentError, match="channels_last is 'on'"):
        fit(model, x, channels_last="on")
    fit(model, x, steps=1, out=tmp_path / "run")  # "auto" is on on a GPU, where weights of 3 dimensions have no such order
    assert json.loads((tmp_path / "run/config.json").read_text())["channels_last"] == "off"


@pytest.mark.parametrize("shape", SHAPES.values())
def test_a_step_compiles_without_a_break(shape):
    model = vaefast.VAE(data_shape=shape, latent_dim=2)
    x = torch.randn(4, *shape)
    assert torch.isfinite(torch.compile(model.first, fullgraph=True, backend="eager")(x)["loss"])


@pytest.mark.parametrize("shape", [(2, 17), (1, 5, 7, 9)])
def test_autocast_and_half_precision(shape):
    model, x = vaefast.VAE(data_shape=shape, latent_dim=2), data(shape, 32)
    fit(model, x, precision="bf16")
    half = vaefast.VAE(**model.config())
    half.load_state_dict(model.state_dict())
    half = half.to(torch.bfloat16).eval()
    torch.testing.assert_close(half.encode(x).mean, model.encode(x).mean, atol=0.05, rtol=0.05)
    assert (half.decode(torch.zeros(3, 2)).detach() - MEAN).abs().max() < 10 * SCALE


def test_images_stay_as_they_are():
    torch.manual_seed(0)
    model = vaefast.VAE((1, 8, 8), 4)
    assert model.config()["nets"] == "infogan" and model.draws_images and model.data_shape == model.image_shape == (1, 8, 8)
    assert not any("standardiser" in name for name in model.state_dict())
    old = {name: value for name, value in model.config().items() if name not in ("data_shape", "standardise")}
    torch.manual_seed(0)
    assert all(torch.equal(a, b) for a, b in zip(vaefast.VAE(**old).state_dict().values(), model.state_dict().values()))


def test_own_networks_of_any_rank(tmp_path):
    shape = (1, 2, 3, 2, 2)

    def own():
        return {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(24, 4)),
                "decoder": nn.Sequential(nn.Linear(2, 24), nn.Unflatten(1, shape))}

    model = vaefast.VAE(data_shape=shape, latent_dim=2, **own())
    fit(model, data(shape))
    assert model.config()["nets"] == "custom" and model.sample(3).shape == (3, *shape)
    model.save(tmp_path / "m")
    assert torch.equal(vaefast.load(tmp_path / "m", **own()).encode(data(shape)[:2]).mean, model.encode(data(shape)[:2]).mean)


def test_half_precision_keeps_the_units():
    model = vaefast.VAE(data_shape=(5,), latent_dim=2)
    x = data((5,))
    fit(model, x)
    expected = model.encode(x).mean
    half = model.to(torch.bfloat16)
    assert half.first.standardiser.mean.dtype == torch.float32
    torch.testing.assert_close(half.encode(x).mean, expected, atol=0.05, rtol=0.05)


def test_chains_begin_with_noise_of_the_datas_units():
    model = vaefast.GeneralVAE(data_shape=(5,), latent_dim=2)
    fit(model, data((5,)))
    starts = model.chain(200, 1, keep="all", pixel_noise=True)[0]
    assert abs(float(starts.mean()) - MEAN) < 0.2 * SCALE and 0.8 * SCALE < float(starts.std()) < 1.2 * SCALE
    assert model.chain(3, 2, "data", data=data((5,))).shape == (3, 5)


class Exact(nn.Module):
    """x = mean + scale * W z + noise is what this decodes; the encoder is its exact posterior (Tipping & Bishop 1999)."""

    def __init__(self, weight: torch.Tensor, gamma: float) -> None:
        super().__init__()
        self.weight, self.gamma = nn.Parameter(weight), gamma
        self.scale_param = "logstd"

    def forward(self, x):
        precision = self.weight.T @ self.weight / self.gamma**2 + torch.eye(self.weight.shape[1])
        mean = torch.linalg.solve(precision, self.weight.T @ x.T / self.gamma**2).T
        return mean, (-0.5 * precision.diagonal().log()).expand_as(mean)


@pytest.mark.parametrize("model", [vaefast.VAE, vaefast.GeneralVAE])
def test_likelihood_bounds_are_of_the_data_in_their_own_units(model):
    """With one code the posterior is exact, and so is the bound: the density of a Gaussian."""
    torch.manual_seed(0)
    weight, gamma = torch.tensor([[0.8], [-0.5], [0.3]]), 0.4
    x = torch.randn(500, 3) * torch.tensor([3.0, 0.1, 20.0]) + torch.tensor([5.0, -2.0, 100.0])
    decoder = nn.Linear(1, 3, bias=False)
    decoder.weight = nn.Parameter(weight)
    built = model(data_shape=(3,), latent_dim=1, encoder=Exact(weight, gamma), decoder=decoder, gamma=gamma)
    units = built.first.standardiser.fit(x)
    covariance = weight @ weight.T + gamma**2 * torch.eye(3)
    scale = units.std.diag().double()
    exact = torch.distributions.MultivariateNormal(units.mean.double(), scale @ covariance.double() @ scale)
    posterior = built.encode

    def encode(batch):
        q = posterior(batch)
        return q.mean, q.std

    bound = importance_weighted_bound(x, encode, built.log_likelihood, samples=4)
    assert bound.value == pytest.approx(float(exact.log_prob(x.double()).mean()), abs=1e-3)
    with pytest.raises(ArgumentError, match="no .*likelihood|no distribution"):
        vaefast.WAE(data_shape=(3,), latent_dim=1).log_likelihood(x, torch.zeros(500, 1))


def gaussians(n: int) -> torch.Tensor:
    """A mixture of 4 Gaussians in the plane, in 5 dimensions."""
    g = torch.Generator().manual_seed(1)
    centres = torch.tensor([[3.0, 3.0], [-3.0, 3.0], [3.0, -3.0], [-3.0, -3.0]])
    plane = centres[torch.randint(0, 4, (n,), generator=g)] + 0.3 * torch.randn(n, 2, generator=g)
    return plane @ torch.randn(2, 5, generator=g) * 10 + 50 + 0.1 * torch.randn(n, 5, generator=g)


def waves(n: int) -> torch.Tensor:
    """Two periods of a sine of random phase at 33 points."""
    g = torch.Generator().manual_seed(1)
    phase = 2 * math.pi * torch.rand(n, 1, generator=g)
    return 5 * torch.sin(4 * math.pi * torch.arange(33) / 33 + phase)[:, None]


def balls(n: int) -> torch.Tensor:
    """A ball of random radius in the middle of 7 x 8 x 9 voxels."""
    g = torch.Generator().manual_seed(1)
    axes = [torch.arange(size) - (size - 1) / 2 for size in (7, 8, 9)]
    distance = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
    radius = 1 + 3 * torch.rand(n, 1, 1, 1, generator=g)
    return torch.sigmoid(4 * (radius - distance))[:, None]


@pytest.mark.parametrize(("draw", "latents", "options", "steps"), [
    (gaussians, 2, {"width": 64}, 300), (waves, 2, {"width": 8, "depth": 1, "hidden": 64}, 300),
    (balls, 1, {"width": 4, "depth": 1, "hidden": 32}, 200)])
def test_a_tiny_model_learns_what_is_there(draw, latents, options, steps):
    """Reconstructions explain most of the variance, the loss is far below that of a model without codes, and samples have the
    data's mean and spread."""
    x = draw(512)
    torch.manual_seed(0)
    model = vaefast.VAE(data_shape=tuple(x.shape[1:]), latent_dim=latents, gamma="optimal", net_options=options)
    record = fit(model, x, steps=steps, batch_size=64, lr=3e-3, schedule="cosine", log_every=50).last("stage1")
    standard = model.first.standardiser(x)
    dims = x[0].numel()
    trivial = dims * (0.5 * float((standard - standard.mean(0)).square().mean().log()) + 0.5 + 0.5 * math.log(2 * math.pi))
    assert record["loss"] < trivial - 0.3 * dims
    with torch.no_grad():
        error = float((model.reconstruct(x) - x).square().sum() / (x - x.mean(0)).square().sum())
    assert error < 0.25
    samples = model.sample(512)
    assert float((samples.mean(0) - x.mean(0)).abs().mean() / x.std()) < 0.5
    assert 0.6 < float(samples.std() / x.std()) < 1.4


PAGE = (Path(__file__).parents[2] / "docs/shapes.md").read_text()


def _code(name: str) -> str:
    return re.search(rf"<!-- {name} -->\n```python\n(.*?)```\n<!-- end -->", PAGE, re.S)[1]


@pytest.mark.parametrize(("name", "given"), [("vectors", "new"), ("sequences", "smooth"), ("volumes", "balls")])
def test_the_pages_examples_run_as_they_stand(name, given, capsys):
    names: dict = {}
    exec(_code(name).replace("lr=1e-3", 'lr=1e-3, device="cpu", progress=False'), names)
    assert names[given].shape[1:] == names["x"].shape[1:] and names[given].isfinite().all()
    if name == "sequences":
        exec(_code("bound"), names)
        assert math.isfinite(names["bound"].value) and "nan" not in capsys.readouterr().out
