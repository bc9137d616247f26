"""Exported graphs do what the model does, and say what they take."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from torch import nn

import vaefast
from vaefast.cli import main
from vaefast.errors import ArgumentError, CheckpointError, ExportError, RunFolderError
from vaefast.exporting import job
from vaefast.exporting.graph import Named, drawn, graph_of, largest_difference, operators
from vaefast.exporting.modules import MixtureCodes
from vaefast.exporting.parts import parts_of
from vaefast.models import Mixture

SHAPE = (1, 8, 8)


class Encoder(nn.Module):
    def __init__(self, told: int = 0) -> None:
        super().__init__()
        self.net = nn.Linear(64 + told, 8)

    def forward(self, x, *told):
        return self.net(torch.cat([x.flatten(1), *(c[:, None].float() if c.ndim == 1 else c for c in told)], 1))


class Decoder(nn.Module):
    output = "logits"

    def __init__(self, told: int = 0) -> None:
        super().__init__()
        self.net = nn.Linear(4 + told, 64)

    def forward(self, z, *told):
        z = torch.cat([z, *(c[:, None].float() if c.ndim == 1 else c for c in told)], 1)
        return self.net(z).unflatten(1, SHAPE)


class Told(Encoder):
    def forward(self, x, condition):
        return super().forward(x, condition)


class DecoderTold(Decoder):
    def forward(self, z, condition):
        return super().forward(z, condition)


def plain(**options):
    """A two-stage VAE of two linear networks, whose graphs are made in a moment."""
    given = options if options.get("second") == "mixture" else {"second_width": 8, "second_depth": 1} | options
    return vaefast.TwoStageVAE(SHAPE, 4, encoder=Encoder(), decoder=Decoder(), **given).eval()


def sampler_of(model, **options):
    part = parts_of(model, **options)[0]["sampler"]
    return part, Named(part)


def test_the_noise_of_the_sampler_is_what_the_model_draws():
    """Drawn in the model's own order, it gives the model's own samples."""
    cases = [(plain(), ["u", "eps"], lambda g: {"u": torch.randn(5, 4, generator=g), "eps": torch.randn(5, 4, generator=g)}),
             (plain(second="flow"), ["u"], lambda g: {"u": torch.randn(5, 4, generator=g)}),
             (vaefast.WAE(SHAPE, 4, encoder=Encoder(), decoder=Decoder(), prior_std=2.0).eval(), ["u"],
              lambda g: {"u": torch.randn(5, 4, generator=g)}),
             (vaefast.GAN(SHAPE, latent_dim=4).eval(), ["u"], lambda g: {"u": torch.rand(5, 4, generator=g) * 2 - 1})]
    for model, names, noise in cases:
        if model.kind == "two-stage" and names == ["u"]:
            nn.init.normal_(model.second.velocity.out.weight)  # 0 at first
            model.second.standardise(torch.full((4,), 0.3), torch.full((4,), 2.0))
        part, sampler = sampler_of(model)
        assert [value.name for value in part.inputs] == names
        with torch.no_grad():
            own = sampler(**noise(torch.Generator().manual_seed(3)))[0]
        torch.testing.assert_close(own, model.sample(5, torch.Generator().manual_seed(3)))


def test_drawn_noise_is_distributed_as_it_is_said():
    part, _ = sampler_of(plain(second="mixture"))
    found = drawn(part, 20_000, seed=0)
    assert 0 <= found["choice"].min() and found["choice"].max() < 1 and abs(found["choice"].mean() - 0.5) < 0.01
    assert abs(found["eps"].mean()) < 0.01 and abs(found["eps"].std() - 1) < 0.01
    (u,) = parts_of(vaefast.GAN(SHAPE, latent_dim=4))[0]["sampler"].inputs
    assert u.as_input()["distribution"] == {"kind": "uniform", "low": -1.0, "high": 1.0}


def mixture(classes: int = 0) -> Mixture:
    torch.manual_seed(1)
    fitted = Mixture(3, components=2, classes=classes)
    where = torch.tensor([0, 0, 0, 1, 1]).repeat(100)
    return fitted.fit(torch.randn(500, 3) + 8 * where[:, None], where * 2 if classes else None)


def test_codes_of_a_mixture_are_its_components_by_their_shares():
    fitted = mixture()
    codes, eps = MixtureCodes(fitted), torch.randn(6, 3)
    share = float(fitted.weights[0])
    choice = torch.tensor([0.0, share - 1e-3, share + 1e-3, 0.999999, 0.0, 0.999999])
    expected = [fitted.means[j] + fitted.cholesky[j] @ e for j, e in zip((0, 0, 1, 1, 0, 1), eps.double())]
    torch.testing.assert_close(codes(choice, eps), torch.stack(expected).float())
    drawn_codes = codes(torch.rand(20_000), torch.randn(20_000, 3))
    torch.testing.assert_close(drawn_codes.mean(0), fitted.sample(20_000).mean(0), atol=0.15, rtol=0)


def test_a_mixture_of_classes_draws_of_the_class_alone():
    codes, n = MixtureCodes(mixture(classes=3)), 500
    for label, mean in ((0, 0.0), (2, 8.0)):
        z = codes(torch.rand(n), torch.randn(n, 3), torch.full((n,), label))
        assert abs(z.mean() - mean) < 0.3
    assert codes(torch.rand(2), torch.randn(2, 3), torch.ones(2, dtype=torch.long)).isnan().all()  # of which there was none


@pytest.mark.parametrize("to", ["onnx", "torch-export"])
def test_every_part_is_written_checked_and_told(to, tmp_path):
    if to == "onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'vaefast[export]')")
    model = plain()
    model.train()
    names = ["encoder", "decoder", "second-stage", "sampler"] if to == "torch-export" else ["encoder", "sampler"]  # for time
    done = vaefast.export(model, tmp_path / "out", to=to, what=None if to == "torch-export" else names)
    suffix = {"onnx": "onnx", "torch-export": "pt2"}[to]
    assert model.training and model.first.encoder.training  # as it was
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert told["parts"] == done.parts and [p["part"] for p in done.parts] == names
    assert done.largest_difference <= 1e-5 and told["kind"] == "two-stage" and told["versions"]["torch"] == torch.__version__
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"export.json", *(f"{p['part']}.{suffix}" for p in done.parts)}
    sampler = done.parts[-1]
    normal = {"kind": "normal", "mean": 0.0, "std": 1.0}
    assert [(v["name"], v["shape"], v["distribution"]) for v in sampler["inputs"]] == [
        ("u", ["batch", 4], normal), ("eps", ["batch", 4], normal)]
    assert sampler["outputs"][0]["shape"] == ["batch", *SHAPE] and sampler["outputs"][0]["range"] == [0.0, 1.0]
    from hashlib import sha256
    file = tmp_path / "out" / sampler["file"]
    assert sampler["sha256"] == {file.name: sha256(file.read_bytes()).hexdigest()}


def test_an_encoder_carries_no_decoder(tmp_path):
    program = graph_of(parts_of(plain())[0]["encoder"])
    assert not [name for name in program.state_dict if "decoder" in name] and not operators(program)


def test_conditions_are_inputs(tmp_path):
    model = vaefast.TwoStageVAE(SHAPE, 4, encoder=Told(1), decoder=DecoderTold(1), second="flow", second_width=8, second_depth=1,
                                classes=3, conditioned="both").eval()
    done = vaefast.export(model, tmp_path / "out", to="torch-export", steps=1)
    assert [[v["name"] for v in part["inputs"]] for part in done.parts] == [
        ["images", "labels"], ["z", "labels"], ["u", "labels"], ["u", "labels"]]
    labels = done.parts[-1]["inputs"][1]
    assert labels["dtype"] == "int64" and labels["shape"] == ["batch"] and labels["distribution"]["count"] == 3
    sampler = torch.export.load(tmp_path / "out" / "sampler.pt2").module()
    u = torch.randn(1, 4).repeat(2, 1)
    x = sampler(u=u, labels=torch.tensor([0, 2]))[0]
    assert not torch.equal(x[0], x[1])
    vectors = vaefast.VAE(SHAPE, 4, encoder=Told(2), decoder=DecoderTold(2), condition_dim=2)
    assert [v.name for v in parts_of(vectors)[0]["sampler"].inputs] == ["u", "condition"]


def test_labels_in_onnxruntime(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'vaefast[export]')")
    model = plain(second="mixture", classes=3)
    model.second.fit(torch.randn(60, 4), torch.arange(60) % 2)
    vaefast.export(model, tmp_path / "out", what="second-stage")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "second-stage.onnx")
    assert {i.name: i.shape for i in session.get_inputs()} == {"choice": ["batch"], "eps": ["batch", 4], "labels": ["batch"]}


def test_data_that_are_no_images_are_in_their_own_units(tmp_path):
    model = vaefast.VAE(data_shape=(5,), latent_dim=2)
    model.first.standardiser.fit(1000 * torch.randn(50, 5) + 3e4)
    done = vaefast.export(model, tmp_path / "out", to="torch-export", what="decoder")
    (x,) = done.parts[0]["outputs"]
    assert x["name"] == "x" and x["range"] is None
    decoder = torch.export.load(tmp_path / "out" / "decoder.pt2").module()
    assert decoder(z=torch.zeros(1, 2))[0].mean() > 2e4


def test_a_half_precision_model_is_exported_in_float32(tmp_path):
    model = plain().to(torch.bfloat16)
    done = vaefast.export(model, tmp_path / "out", to="torch-export", what="decoder")
    assert done.parts[0]["inputs"][0]["dtype"] == "float32" and next(model.parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize("to", ["onnx", "torch-export"])
def test_a_double_precision_model_is_exported_in_float32(tmp_path, to):
    if to == "onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'vaefast[export]')")
    told = vaefast.export(plain().double(), tmp_path / "out", to=to, what="decoder")
    assert told.parts[0]["outputs"][0]["dtype"] == "float32"
    if to == "torch-export":
        out = torch.export.load(tmp_path / "out" / "decoder.pt2").module()(z=torch.zeros(2, plain().latent_dim))
        assert (out[0] if isinstance(out, (tuple, list)) else out).dtype == torch.float32


def test_safetensors_are_the_whole_model(tmp_path):
    model = vaefast.VAE(SHAPE, 4)
    done = vaefast.export(model, tmp_path / "out", to="safetensors")
    again = vaefast.load(tmp_path / "out")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert set(done.parts[0]["sha256"]) == {"model.json", "model.safetensors"}


class Counts(Decoder):
    def forward(self, z, *told):
        return super().forward(z).expand(len(z), *SHAPE)


class Noisy(Decoder):
    def forward(self, z, *told):
        return super().forward(z) + torch.randn_like(z[:, :1, None, None])


class Fused(Decoder):
    def forward(self, z, *told):
        return super().forward(z) + vaefast.ops.reparam_kl(z, z, seed=1)[1][:, None, None, None]


def test_networks_of_ones_own_may_ask_for_the_length_of_a_batch(tmp_path):
    model = vaefast.VAE(SHAPE, 4, encoder=Encoder(), decoder=Counts())
    assert vaefast.export(model, tmp_path / "out", to="torch-export", what="decoder").largest_difference <= 1e-5


@pytest.mark.parametrize(("decoder", "operator"), [(Noisy, "aten.randn_like"), (Fused, "vaefast.reparam_kl")])
def test_no_random_and_no_foreign_operator_gets_out(decoder, operator, tmp_path):
    model = vaefast.VAE(SHAPE, 4, encoder=Encoder(), decoder=decoder())
    with pytest.raises(ExportError, match=operator):
        vaefast.export(model, tmp_path / "out", to="torch-export", what="sampler")
    assert not list(tmp_path.iterdir())


def test_a_file_that_does_something_else_is_not_kept(tmp_path, monkeypatch):
    original = job.runner
    monkeypatch.setattr(job, "runner", lambda *args: lambda inputs: tuple(x + 2e-4 for x in original(*args)(inputs)))
    with pytest.raises(ExportError, match="gives something else than the model, by 0.0002"):
        vaefast.export(plain(), tmp_path / "out", to="torch-export", what="decoder")
    assert not list(tmp_path.iterdir())
    assert largest_difference([torch.zeros(2)], [torch.tensor([0.0, torch.nan])]) == float("inf")
    assert largest_difference([torch.tensor([101.0])], [torch.tensor([100.0])]) == pytest.approx(0.01)


def test_a_model_of_nan_is_told_of(tmp_path):
    model = plain()
    nn.init.constant_(model.first.decoder.net.bias, torch.nan)
    with pytest.raises(ExportError, match="gives NaN"):
        vaefast.export(model, tmp_path / "out", to="torch-export", what="decoder")


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path, monkeypatch):
    model, out = plain(), tmp_path / "out"
    refused = [(model, {"to": "tflite"}, "to is 'tflite'; expected one or more of onnx, torch-export, safetensors"),
               (model, {"to": []}, "to is"), (model, {"what": "critic", "to": "torch-export"}, "what is 'critic'"),
               (model, {"to": "safetensors", "what": "decoder"}, "hold the whole model"),
               (model, {"to": "torch-export", "steps": 3}, "for a second stage that is a flow"),
               (model, {"to": "safetensors", "steps": 3}, "steps is 3, which is of graphs"),
               (plain(second="flow"), {"to": "torch-export", "steps": 0}, "steps is 0"),
               (vaefast.GAN(SHAPE, latent_dim=4), {"to": "torch-export", "what": "encoder"}, "has decoder, sampler"),
               (vaefast.TableVAE(), {"to": "torch-export"}, "tables"),
               (vaefast.SequentialVAE((1, 16, 16)), {"to": "torch-export"}, "statistics of each batch")]
    for one, options, sentence in refused:
        with pytest.raises(ArgumentError, match=sentence):
            vaefast.export(one, out, **options)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ArgumentError, match=r"onnx is not installed.*pip install 'vaefast\[export\]'"):
        vaefast.export(model, out)
    assert not list(tmp_path.iterdir())
    out.mkdir()
    (out / "kept").write_text("x")
    with pytest.raises(RunFolderError, match="is not empty"):
        vaefast.export(model, out, to="torch-export")
    with pytest.raises(CheckpointError, match="does not exist"):
        vaefast.export(tmp_path / "nowhere", tmp_path / "other", to="torch-export")


def test_a_pixelcnn_has_an_encoder_alone():
    model = vaefast.GeneralVAE((1, 28, 28), 4, nets="pixelcnn", decoder_options={"layers": 1, "width": 4})
    found, refused = parts_of(model)
    assert list(found) == ["encoder"] and "pixel after pixel" in refused["decoder"]


def test_a_second_stage_alone(tmp_path):
    done = vaefast.export(vaefast.SecondStage(4, kind="flow", width=8, depth=1), tmp_path / "out", to="torch-export", steps=1)
    assert [part["part"] for part in done.parts] == ["second-stage"]


def test_the_command(tmp_path, capsys):
    vaefast.VAE(SHAPE, 4).save(tmp_path / "m")
    words = ["export", str(tmp_path / "m"), "--to", "torch-export,safetensors", "--what", "decoder", "--out",
             str(tmp_path / "out")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "decoder.pt2: z [batch, 4] -> images [batch, 1, 8, 8]; differs from the model by at most" in said
    assert "model.safetensors: the whole model" in said and (tmp_path / "out" / "export.json").is_file()
    assert main(words) == 2 and "is not empty" in capsys.readouterr().err
    assert main([*words[:-1], str(tmp_path / "b"), "--what", "critic"]) == 2
    assert "--what is 'critic'; expected one or more of encoder" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual flow on maps", "big", "gamix", "planar", "infogan with classes", "volumes"])
def test_models_of_all_kinds(name, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'vaefast[export]')")
    small = {"second_width": 8, "second_depth": 1}
    model, options = {
        "residual flow on maps": lambda: (vaefast.TwoStageVAE((1, 16, 16), (2, 4, 4), nets="residual", second="flow",
                                                              condition_dim=2, **small), {"steps": 1}),
        "big": lambda: (vaefast.BigGANVAE((3, 16, 16), ch=4, latent_dim=8), {}),
        "gamix": lambda: (vaefast.GAMIXVAE((3, 16, 16), 8, width=4, second_stage=True, **small), {}),
        "planar": lambda: (vaefast.VAE((1, 12, 12), 4, flow="planar", flow_depth=2, classes=4), {}),
        "infogan with classes": lambda: (vaefast.GAN((1, 12, 12), classes=3, latent_dim=5), {}),
        "volumes": lambda: (vaefast.TwoStageVAE(data_shape=(1, 8, 8, 8), latent_dim=2, **small), {})}[name]()
    for parameter in model.parameters():  # of which some are 0 at first
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    done = vaefast.export(model, tmp_path / "out", to=["onnx", "torch-export"], **options)
    assert done.largest_difference <= 1e-4 and not done.left_out
