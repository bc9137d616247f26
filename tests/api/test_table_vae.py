"""`vaefast.TableVAE`: from frames with holes to frames without, in a folder and back."""

from __future__ import annotations

import builtins
import json
import math

import numpy as np
import pytest
import torch

import vaefast
from vaefast.api.reading import Reading
from vaefast.data import Schema
from vaefast.errors import ArgumentError, CheckpointError, DataError, RunFolderError
from vaefast.models import Mixture

QUIET = {"device": "cpu", "progress": False}
SMALL = {"latent_dim": 2, "width": 16, "depth": 1}
G = torch.Generator


def frame(rows: int = 120, missing: float = 0.2, seed: int = 0) -> dict[str, np.ndarray]:
    """Three groups of people; a share of the entries is missing."""
    rng = np.random.default_rng(seed)
    group = rng.integers(3, size=rows)
    columns = {"age": np.round(rng.normal(30 + 15 * group, 3)), "visits": rng.poisson(0.3 + 3 * group).astype(float),
               "city": np.array(["Bergen", "Lom", "Oslo"], dtype=object)[group],
               "member": np.where(rng.random(rows) < 0.1 + 0.4 * group, True, False).astype(object),
               "height": rng.normal(1.6 + 0.1 * group, 0.02).astype(np.float32)}
    for values in columns.values():
        holes = rng.random(rows) < missing
        holes[:6] = False
        values[holes] = None if values.dtype == object else math.nan
    return columns


def fitted(data=None, steps: int = 30, **options) -> vaefast.TableVAE:
    torch.manual_seed(0)
    model = vaefast.TableVAE(**{**SMALL, **options})
    model.fit(frame() if data is None else data, steps=steps, **QUIET)
    return model


@pytest.mark.parametrize("second", ["mixture", "flow", "vae", None])
def test_a_model_comes_back_as_it_was(second, tmp_path):
    sizes = {"second_width": 8, "second_depth": 1} if second in ("flow", "vae") else {}
    model = fitted(second=second, **sizes)
    model.save(tmp_path / "m")
    again = vaefast.load(tmp_path / "m")
    assert type(again) is vaefast.TableVAE and again.config() == model.config() and again.schema == model.schema
    drawn = [m.sample(40, G().manual_seed(1)) for m in (model, again)]
    assert torch.equal(*drawn) and drawn[0].isfinite().all() and drawn[0].shape == (40, 5)
    assert torch.equal(*(m.log_prob(frame(), 3, G().manual_seed(1)) for m in (model, again)))
    assert torch.equal(*(m.encode(frame()).mean for m in (model, again)))
    assert {"gaussian", "negative-binomial", "categorical", "bernoulli"} == set(model.config()["likelihood"].values())
    assert model.device == torch.device("cpu") and model.latent_dim == 2


@pytest.mark.parametrize("second", ["flow", None])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(second, tmp_path, stop_at):
    def run(**options) -> vaefast.TableVAE:
        torch.manual_seed(0)
        sizes = {"second_width": 8, "second_depth": 1} if second else {}
        model = vaefast.TableVAE(**SMALL, second=second, **sizes, likelihood={"visits": "poisson"})
        model.fit(frame(), steps=20, **QUIET, **options)
        return model

    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(out=str(tmp_path / "run"), callbacks=[stop_at(13)])
    again = run(out=str(tmp_path / "run"), resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["kind"] == "table" and config["model"]["likelihood"]["visits"] == "poisson"
    assert [c["name"] for c in config["model"]["columns"]] == list(frame()) and config["data"]["count"] == 120
    with pytest.raises(RunFolderError, match="started with other settings"):
        vaefast.TableVAE(**SMALL).fit(frame(seed=1), steps=20, out=str(tmp_path / "run"), resume=True, **QUIET)


def test_frames_come_out_as_they_went_in():
    pandas = pytest.importorskip("pandas")
    data = pandas.DataFrame(frame(missing=0))
    data["member"] = data["member"].astype(bool)
    data["visits"], data["age"] = data["visits"].astype("int32"), data["age"].astype("int64")
    data["size"] = pandas.Categorical(np.array(["S", "L"])[np.arange(len(data)) % 2], categories=["S", "M", "L"], ordered=True)
    data["other"] = pandas.array([1, None] * (len(data) // 2), dtype="Int64")
    data["spelled"] = pandas.array(["a", None, "b", "b"] * (len(data) // 4), dtype="string")
    data.index = data.index + 100
    model = fitted(data)
    for made in (model.sample_frame(9), model.reconstruct(data), model.impute(data), model.impute(data, mean=True)):
        assert isinstance(made, pandas.DataFrame) and list(made) == list(data) and dict(made.dtypes) == dict(data.dtypes)
        assert not made.isna().any().any() and (made["visits"] >= 0).all()
    filled = model.impute(data)
    assert list(filled.index) == list(data.index)
    there = data.notna()
    assert filled.where(there).equals(data.where(there))  # what was there stays
    assert len(model.sample_frame(0)) == 0


def test_without_pandas_a_dict_of_arrays_is_given(monkeypatch):
    model, real = fitted(), builtins.__import__

    def importing(name, *arguments, **options):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", importing)
    made = model.sample_frame(7)
    assert isinstance(made, dict) and list(made) == list(frame()) and made["height"].dtype == np.float32
    assert set(made["city"]) <= {"Bergen", "Lom", "Oslo"} and len(made["age"]) == 7


def test_matrices_are_tables_of_numbers():
    x = torch.randn(64, 3, generator=G().manual_seed(0)) * torch.tensor([1, 1e6, 1e-6]) + torch.tensor([0, 1e8, 0])
    model = fitted(x)
    assert torch.equal(model.impute(x), x) and model.reconstruct(x.numpy()).dtype == np.float32
    drawn = model.sample(500, G().manual_seed(0))
    assert ((drawn.mean(0) - x.mean(0)).abs() < 0.6 * x.std(0)).all() and model.config()["likelihood"] == dict.fromkeys("012",
                                                                                                                      "gaussian")


def test_it_learns_groups_fills_holes_and_finds_what_is_rare():
    whole, holes = frame(200, 0), frame(200, 0)
    torch.manual_seed(0)
    model = vaefast.TableVAE(latent_dim=2, width=32, depth=1)
    model.fit(frame(200, 0.1), steps=500, lr=5e-3, **QUIET)
    for name in ("age", "city"):
        holes[name] = np.where(np.arange(200) % 2, holes[name], None if holes[name].dtype == object else np.nan)
    filled = model.impute(holes, mean=True, passes=20, generator=G().manual_seed(0))
    hidden = np.stack([np.array([v is None or v != v for v in holes[name]]) for name in holes], 1)
    error = vaefast.metrics.imputation_error(whole, filled, hidden)
    assert error.numbers < 0.45 and error.words < 0.15  # 1 and about 2/3 for guesses of mean and mode
    drawn = model.impute(holes, draws=3, passes=5, generator=G().manual_seed(0))
    assert len(drawn) == 3 and (drawn[0]["age"] != drawn[1]["age"]).any()
    assert torch.equal(model.schema.read(drawn[0]).values[1::2], model.schema.read(whole).values[1::2])
    odd = {**{name: values[:50].copy() for name, values in whole.items()}}
    odd["height"] = odd["height"][::-1] + np.float32(0.4)
    assert (model.anomaly_score(odd) > model.anomaly_score({k: v[:50] for k, v in whole.items()})).float().mean() > 0.95
    one, many = (model.log_prob(whole, samples, G().manual_seed(0)).mean() for samples in (1, 64))
    assert one < many  # the bound rises
    new = model.sample_frame(200, G().manual_seed(0))
    assert max(vaefast.metrics.column_distances(whole, new).values()) < 0.35


def test_the_bound_is_a_log_density_in_the_tables_units():
    """Of one Gaussian column and codes without a use: the bound is the density itself, at any scale."""
    x = 1000 + 50 * torch.randn(400, 1, generator=G().manual_seed(0), dtype=torch.float64)
    model = fitted(x, steps=300, second=None)
    exact = torch.distributions.Normal(x.mean(), x.std()).log_prob(x[:, 0]).mean()
    assert float(model.log_prob(x, 200, G().manual_seed(0)).mean()) == pytest.approx(float(exact), abs=0.05)
    missing = torch.full((2, 1), math.nan, dtype=torch.float64)
    assert float(model.log_prob(missing, 200, G().manual_seed(0)).abs().max()) < 0.3  # of nothing: log 1


def test_columns_of_one_value_none_and_few_rows():
    data = {"same": [4.5] * 30, "word": ["a"] * 30, "never": [False] * 30, "zero": [0] * 30, "x": list(np.linspace(0, 1, 30))}
    model = fitted(data)
    made = model.sample_frame(20)
    assert (made["same"] == 4.5).all() and set(made["word"]) == {"a"} and (made["zero"] == 0).all()
    assert model.log_prob(data).isfinite().all()
    row = {name: values[:1] for name, values in data.items()}
    assert model.encode(row).mean.shape == (1, 2) and len(model.impute(row)["x"]) == 1
    holes = {name: [None] for name in data}  # a row of nothing
    assert model.encode(holes).mean.isfinite().all() and model.impute(holes)["word"].tolist() == ["a"]
    two = {name: values[:2] for name, values in data.items()}
    fitted({**two, "x": [0.1, 0.9]}, steps=3)
    with pytest.raises(DataError, match="the table has 1 row; a model takes 2 or more"):
        vaefast.TableVAE(**SMALL).fit(row, **QUIET)


def test_columns_and_likelihoods_can_be_named():
    data = frame(60)
    model = fitted(data, columns=["visits", "height", "city"], likelihood={"visits": "zero-inflated-negative-binomial",
                                                                           "height": "student-t"}, scale="learned")
    assert model.config()["likelihood"] == {"visits": "zero-inflated-negative-binomial", "height": "student-t",
                                            "city": "categorical"}
    assert set(model.sample_frame(3)) == {"visits", "height", "city"}
    whole = vaefast.TableVAE.of(data, likelihood={"age": "categorical"}, **SMALL)
    assert whole.schema.columns[0].kind == "category" and whole.sample(4).shape == (4, 5)
    again = vaefast.TableVAE(Schema.of(data), **SMALL)
    again.fit(data, steps=3, **QUIET)
    assert isinstance(again.second, Mixture)
    terms = again(data)
    assert terms["loss"].requires_grad and set(terms) >= {"loss", "reconstruction", "kl", "active_dimensions"}


def test_what_was_inferred_is_told_in_a_line(capsys):
    torch.manual_seed(0)
    vaefast.TableVAE(**SMALL, likelihood={"city": "categorical"}).fit(frame(), steps=2, device="cpu")
    said = " ".join(capsys.readouterr().out.split())
    assert "likelihoods by the columns' values: age gaussian, visits negative-binomial, member bernoulli, height gaussian" in said


def test_the_length_follows_the_rows():
    for rows, wish in ((20, (20, 1_000, None)), (1_000, (128, None, 300)), (200_000, (128, 20_000, None))):
        model = vaefast.TableVAE.of(np.zeros((2, 1)) + [[0.5], [1.5]], **SMALL)
        for other in (10, rows, 3_000, rows):  # each training by itself
            data, _ = model._accept(np.linspace(0, 1, other)[:, None])
            model._hold_out(data, None, Reading())
        (stage,) = model.defaults
        assert (stage.batch_size, stage.steps, stage.epochs) == wish


def test_the_length_follows_the_rows_that_are_trained_on():
    x = np.random.default_rng(0).normal(size=(60, 2))
    for held_out in (x[:20], 1 / 3):
        model = vaefast.TableVAE(**SMALL)
        model.fit(x if isinstance(held_out, float) else x[20:], validation=held_out, epochs=1, progress=False)
        assert model.defaults[0].batch_size == 40


UNSEEN = {**frame(8, 0), "city": ["Oslo"] * 7 + ["Tokyo"]}


@pytest.mark.parametrize(("call", "error", "says"), [
    (lambda m: m.encode(UNSEEN), DataError, "column 'city' has 'Tokyo' in row 7, which is none of the 3"),
    (lambda m: m.impute({k: v for k, v in UNSEEN.items() if k != "age"}), DataError, "the table has no column 'age'"),
    (lambda m: m.log_prob({**frame(8, 0), "age": [math.inf] * 8}), DataError, "column 'age' has infinity in row 0"),
    (lambda m: m.fit({**frame(8, 0), "age": ["old"] * 8}, **QUIET), DataError, "column 'age' is to be of numbers"),
    (lambda m: m.encode(torch.zeros(3, 4)), DataError, "the array has 4 columns; expected 5: age, visits"),
    (lambda m: m.impute(frame(8), draws=0), ArgumentError, "draws is 0"),
    (lambda m: m.impute(frame(8), passes=0), ArgumentError, "passes is 0"),
    (lambda m: m.impute(frame(8), burn_in=-1), ArgumentError, "burn_in is -1"),
    (lambda m: m.log_prob(frame(8), samples=0), ArgumentError, "samples is 0"),
    (lambda m: m.sample(-1), ArgumentError, "n is -1"),
    (lambda m: m.sample(3, stage=3), ArgumentError, "stage is 3"),
    (lambda m: m.first(torch.zeros(2, 3)), ArgumentError, r"the rows are float32 \[2, 3\]; expected a tensor of floats \[B, 5\]"),
    (lambda m: m.first(torch.zeros(0, 5)), DataError, "the batch has no rows"),
    (lambda m: m.decode(torch.zeros(2, 7)), ArgumentError, r"codes have shape \[2, 7\]")])
def test_a_model_refuses_in_a_sentence(call, error, says):
    with pytest.raises(error, match=says):
        call(vaefast.TableVAE.of(frame(8, 0), **SMALL))


@pytest.mark.parametrize(("options", "says"), [
    ({"likelihood": {"age": "normal"}}, "likelihood of 'age' is 'normal'; expected one of gaussian"),
    ({"likelihood": {"hair": "gaussian"}}, "kinds names 'hair'|likelihood names 'hair'"),
    ({"columns": "age"}, "columns is 'age'; expected a list of names"), ({"columns": ["hair"]}, "columns names 'hair'"),
    ({"scale": -1}, "scale is -1"), ({"latent_dim": 0}, "latent_dim is 0"), ({"dropout": 1.0}, "dropout is 1.0"),
    ({"beta": -1.0}, "beta is -1.0"), ({"second": "gmm"}, "second is 'gmm'; expected one of vae, flow, mixture"),
    ({"second": "vae", "second_width": 0}, "second_width is 0"), ({"width": 0}, "width is 0")])
def test_settings_that_cannot_be_are_refused(options, says):
    with pytest.raises(ArgumentError, match=says):
        vaefast.TableVAE(**{**SMALL, **options}).fit(frame(8, 0), steps=1, **QUIET)


def test_before_it_knows_its_columns_it_says_so(tmp_path):
    model = vaefast.TableVAE(**SMALL)
    for call in (lambda: model.sample(3), lambda: model.sample_frame(3), lambda: model.encode(frame()),
                 lambda: model.impute(frame()), lambda: model.save(tmp_path / "m"), lambda: model(frame())):
        with pytest.raises(ArgumentError, match="the model has no columns yet; fit it, or build it by vaefast.TableVAE.of"):
            call()
    assert model.config()["columns"] is None and model.device == torch.device("cpu")
    with pytest.raises(ArgumentError, match="likelihood of 'age' is 'poisson', and the column is of kind 'number'"):
        vaefast.TableVAE(Schema.of(frame()), likelihood={"age": "poisson"})
    with pytest.raises(DataError, match="column 'age' is to be of counts"):
        vaefast.TableVAE.of({"age": [0.5, 1.5]}, likelihood={"age": "poisson"})
    with pytest.raises(CheckpointError):
        vaefast.load(tmp_path / "m")
