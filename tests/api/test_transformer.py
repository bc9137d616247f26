"""Models in scikit-learn's pipelines, clones and searches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import vaefast
from vaefast.errors import ArgumentError

sklearn = pytest.importorskip("sklearn")
QUIET = {"device": "cpu", "progress": False}
IMAGES = np.random.default_rng(0).random((50, 1, 6, 6), dtype=np.float32)
CODES = np.random.default_rng(1).normal(size=(200, 3)) * [1.0, 2.0, 0.5]
NET = {"nets": "residual", "net_options": {"width": 4, "depth": 1, "hidden": 8}}


def vae(**options) -> vaefast.VAE:
    torch.manual_seed(0)
    return vaefast.VAE((1, 6, 6), 2, **NET, **options)


def test_codes_and_images_go_to_and_fro():
    model = vae()
    model.fit(IMAGES, steps=3, batch_size=16, **QUIET)
    codes = model.transform(IMAGES)
    assert codes.shape == (50, 2) and codes.dtype == np.float32
    np.testing.assert_allclose(codes, model.encode(torch.from_numpy(IMAGES)).mean.detach().numpy(), atol=1e-6)
    images = model.inverse_transform(codes)
    assert images.shape == (50, 1, 6, 6) and 0 <= images.min() and images.max() <= 1
    np.testing.assert_array_equal(model.get_feature_names_out(), ["vae0", "vae1"])


def test_a_clone_has_the_arguments_and_not_the_weights():
    from sklearn.base import clone

    for model in (vae(beta=2.0), vaefast.SecondStage(3, kind="flow", width=8, depth=1), vaefast.TwoStageVAE((1, 6, 6), 2, **NET)):
        torch.manual_seed(1)
        again = clone(model)
        assert type(again) is type(model) and again.get_params() == model.get_params() and again.config() == model.config()
    encoder, decoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 4)), torch.nn.Sequential(
        torch.nn.Linear(2, 36), torch.nn.Unflatten(1, (1, 6, 6)))
    own = vaefast.VAE((1, 6, 6), 2, encoder=encoder, decoder=decoder)
    assert clone(own).first.encoder is not encoder


def test_set_params_builds_anew():
    model = vae().set_params(latent_dim=3, beta=0.5)
    assert model.latent_dim == 3 and model.config()["beta"] == 0.5
    with pytest.raises(ArgumentError, match="has no argument 'latents'"):
        model.set_params(latents=3)


def test_pipelines_with_settings_of_fit():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipe = make_pipeline(StandardScaler(), vaefast.SecondStage(3, kind="vae", width=8, depth=1))
    pipe.fit(CODES, np.arange(200) % 2, secondstage__steps=5, secondstage__batch_size=32, secondstage__device="cpu",
             secondstage__progress=False)
    assert pipe.transform(CODES).shape == (200, 3) and math.isfinite(pipe.score(CODES))
    mixture = make_pipeline(StandardScaler(), vaefast.SecondStage(3, kind="mixture"))
    mixture.fit(CODES, secondstage__progress=False)
    z = (CODES - CODES.mean(0)) / CODES.std(0)
    assert mixture.score(CODES) == pytest.approx(float(mixture[-1].log_prob(torch.from_numpy(z).float()).mean()), abs=1e-4)


def test_a_grid_search_over_a_models_arguments():
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(vaefast.SecondStage(3, kind="mixture"), {"kind": ["mixture"]}, cv=2).fit(CODES, progress=False)
    assert math.isfinite(search.best_score_) and search.best_params_ == {"kind": "mixture"}


def test_the_score_is_the_held_out_bound():
    model = vae(gamma=0.3)
    model.fit(IMAGES, steps=3, batch_size=16, **QUIET)
    state = torch.random.get_rng_state()
    score = model.score(IMAGES)
    assert torch.equal(state, torch.random.get_rng_state()) and model.score(IMAGES) == score
    with torch.no_grad():
        draws = [-float(model.first(torch.from_numpy(IMAGES))["loss"]) for _ in range(50)]
    assert abs(score - np.mean(draws)) < 5 * np.std(draws)


def test_data_frames_in_and_out():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(CODES, columns=["a", "b", "c"], index=np.arange(200) + 7)
    second = vaefast.SecondStage(3, kind="flow", width=8, depth=1)
    second.fit(frame, steps=3, batch_size=32, **QUIET)
    out = second.set_output(transform="pandas").transform(frame)
    assert list(out.columns) == ["secondstage0", "secondstage1", "secondstage2"] and (out.index == frame.index).all()
    assert isinstance(second.set_output(transform="default").transform(frame), np.ndarray)
    with pytest.raises(ArgumentError, match="transform is 'polars'"):
        second.set_output(transform="polars")


def test_what_has_no_rows_is_refused():
    with pytest.raises(ArgumentError, match="X is a NoneType"):
        vae().transform(None)
    with pytest.raises(ArgumentError, match="no latents u"):
        vaefast.SecondStage(3, kind="mixture").transform(CODES)


@pytest.mark.parametrize("classes", [None, 2])
def test_a_pipeline_ends_with_a_model_of_images_and_tells_it_y(classes):
    from sklearn.pipeline import make_pipeline

    x, y = torch.randint(0, 256, (32, 1, 8, 8), dtype=torch.uint8), torch.arange(32) % 2
    few = {f"vae__{name}": value for name, value in
           {"steps": 2, "batch_size": 16, "device": "cpu", "progress": False}.items()}
    pipe = make_pipeline(vaefast.VAE((1, 8, 8), 2, nets="residual", classes=classes))
    pipe.fit(x, y, **few)
    if classes is None:
        pipe.fit(x, **few)
        assert pipe.fit_transform(x, y, **few).shape == (32, 2)
    else:
        with pytest.raises(ArgumentError, match="y and condition are both given"):
            pipe.fit(x, y, vae__condition=y, **few)
