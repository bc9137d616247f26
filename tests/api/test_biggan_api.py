"""BigGAN and the VAE of its parts as users meet them."""

from __future__ import annotations

import pytest
import torch

import vaefast
from vaefast import cli
from vaefast.data import ImageSet
from vaefast.errors import ArgumentError, DataError
from vaefast.experiments.presets import PRESETS
from vaefast.training.settings import override

SHAPE = (1, 12, 12)
X = torch.randint(0, 256, (72, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELLED = ImageSet(X, torch.arange(72) % 3)
KINDS = {
    "biggan": (vaefast.BigGAN, {"arch": "normal"}),
    "biggan-deep": (vaefast.BigGAN, {"activation": "leaky_relu", "orthogonal_weight": 1e-4}),
    "biggan-original": (vaefast.BigGAN, {"rule": "original", "classes": 3, "hierarchical": True, "embedding_dim": 8,
                                         "loss": "hinge", "order": "dg"}),
    "biggan-vae": (vaefast.BigGANVAE, {"arch": "normal"}),
    "biggan-vae-deep": (vaefast.BigGANVAE, {"rule": "paper", "beta": 0.2}),
}


def make(kind: str):
    model, options = KINDS[kind]
    torch.manual_seed(3)
    return model(SHAPE, ch=4, latent_dim=6, **options)


def fit(model, data=LABELLED, **options):
    usual = {"steps": 4, "batch_size": 8, "device": "cpu", "progress": False, "log_every": 2}
    return model.fit(data, **{**usual, **options})


@pytest.mark.parametrize("kind", KINDS)
def test_train_sample_save_load_and_resume(kind, tmp_path, stop_at):
    whole = make(kind)
    history = fit(whole, out=tmp_path / "whole")
    assert history.last("stage1")["step"] == 4
    samples = whole.sample(5, torch.Generator().manual_seed(0))
    assert samples.shape == (5, *SHAPE) and samples.min() >= 0 and samples.max() <= 1

    loaded = vaefast.load(tmp_path / "whole")
    assert type(loaded) is type(whole) and loaded.config() == whole.config() and not loaded.training
    assert torch.equal(loaded.sample(5, torch.Generator().manual_seed(0)), samples)

    cut = make(kind)
    with pytest.raises(KeyboardInterrupt):
        fit(cut, out=tmp_path / "cut", callbacks=[stop_at(3)])
    rest = make(kind)
    fit(rest, out=tmp_path / "cut", resume=True)
    for (name, a), b in zip(whole.state_dict().items(), rest.state_dict().values()):
        assert torch.equal(a, b), name


def test_defaults_are_the_sources():
    deep, normal = vaefast.BigGAN(SHAPE, ch=4), vaefast.BigGAN(SHAPE, "normal", ch=4)
    assert [m.defaults[0].batch_size for m in (deep, normal)] == [256, 512]
    assert [m.defaults[0].epochs for m in (deep, normal)] == [345, 314]
    stage = deep.defaults[0]
    found = {name: stage.of(name) for name in ("discriminator", "generator")}
    assert [found[n].lr for n in found] == [2e-4, 5e-5] and all(s.betas == (0.9, 0.999) for s in found.values())
    assert all(s.clip_value == 0.1 and s.schedule == "constant" for s in found.values())
    assert deep.latent_dim == 256 and deep.first.loss_name == "ns"
    with torch.device("meta"):
        assert [vaefast.BigGAN((3, 32, 32), arch).config()["ch"] for arch in ("normal", "deep")] == [96, 128]
    vae = vaefast.BigGANVAE(SHAPE, "normal", ch=4).defaults[0]
    assert (vae.lr, vae.schedule, vae.plateau_patience, vae.plateau_factor, vae.batch_size) == (1e-4, "plateau", 3, 0.1, 512)


def test_classes_need_labels_that_fit():
    model = vaefast.BigGAN(SHAPE, ch=4, latent_dim=6, classes=2)
    with pytest.raises(DataError, match="has no labels"):
        fit(model, X)
    with pytest.raises(DataError, match="go from 0 to 2"):
        fit(model)
    with pytest.raises(ArgumentError, match="arch is 'wide'"):
        vaefast.BigGAN(SHAPE, "wide")


def test_an_average_with_what_norms_count():
    """A copy until its start."""
    def trained(**average):
        torch.manual_seed(0)
        model = vaefast.BigGAN(SHAPE, ch=4, latent_dim=6, rule="original", order="dg")
        model.fit(X, settings=override(model.defaults[0], {"steps": 4, "batch_size": 4, **average}), progress=False)
        return model.first.generator.state_dict()

    states = [trained(ema=0.5, ema_start=9), trained(), trained(ema=0.5, ema_start=1)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    counted = [name for name in states[0] if name.endswith("running_var")]
    assert counted and all(not torch.equal(states[0][name], states[2][name]) for name in counted)


def test_truncation_labels_and_standing_statistics():
    model = vaefast.BigGAN(SHAPE, ch=4, latent_dim=6, classes=3, hierarchical=True)
    fit(model, ema=0.9)
    model.standing_statistics(4, batch_size=8, truncation=0.5)
    generator = torch.Generator().manual_seed(1)
    assert model.sample_codes(50, truncation=0.5).abs().max() <= 0.5
    z = model.sample_codes(4, generator)
    ones = model.decode(z, torch.ones(4, dtype=torch.long))
    assert torch.equal(ones[1], model.decode(z)[1]) and not torch.equal(ones[2], model.decode(z)[2])
    assert model.sample(3, truncation=0.5, labels=torch.tensor([0, 0, 2])).shape == (3, *SHAPE)


@pytest.mark.parametrize("model", [
    vaefast.TwoStageVAE(SHAPE, 4, encoder=vaefast.nets.BigGANEncoder(SHAPE, 4, ch=4), second_width=8,
                        decoder=vaefast.nets.BigGANGenerator(SHAPE, 4, ch=4, output="logits")),
    vaefast.VAE(SHAPE, 4, encoder=vaefast.nets.BigGANEncoder(SHAPE, 4, ch=4, arch="normal"), likelihood="squared", beta=0.1,
                decoder=vaefast.nets.BigGANGenerator(SHAPE, 4, ch=4, arch="normal", output="logits")),
    vaefast.WAE(SHAPE, 4, encoder=vaefast.nets.BigGANEncoder(SHAPE, 4, ch=4, deterministic=True), penalty="mmd",
                decoder=vaefast.nets.BigGANGenerator(SHAPE, 4, ch=4, output="logits"))], ids=["two-stage", "vae", "wae"])
def test_other_objectives_take_the_networks(model):
    fit(model, X)
    assert model.sample(2).shape == (2, *SHAPE) and model.reconstruct(X[:2]).shape == (2, *SHAPE)


@pytest.mark.parametrize("nets", ["biggan", "biggan-deep", "hinrichsen"])
def test_networks_by_name(nets):
    # built, not run: at ch 64 a step takes its time
    with torch.device("meta"):
        model = vaefast.TwoStageVAE((3, 45, 45), 32, nets=nets)
    assert model.config()["nets"] == nets


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_networks_are_traced_as_one_graph(network):
    # by dynamo alone: what there is to break is in Python
    options = {"rule": "original", "classes": 3} | ({"hierarchical": True} if network == "generator" else {})
    shape = (1, 8, 8)
    build = vaefast.nets.BigGANGenerator if network == "generator" else vaefast.nets.BigGANDiscriminator
    module = build(shape, **({"latent_dim": 6} if network == "generator" else {}), ch=8, **options)
    batch = torch.randn(2, 6) if network == "generator" else torch.randn(2, *shape)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    assert compiled(batch, torch.tensor([0, 2])).sum().isfinite()


@pytest.mark.parametrize("kind", ["biggan", "biggan-vae"])
def test_the_command_line(kind, tmp_path):
    assert {"paper", "quick"} <= set(PRESETS[kind])
    out = tmp_path / "run"
    line = [kind, "--data", "digits", "--arch", "deep", "--ch", "4", "--latent-dim", "6", "--steps", "2", "--batch-size", "16",
            "--out", str(out), "--device", "cpu"]
    assert cli.main(["train", *line]) == 0
    model = vaefast.load(out)
    assert model.kind == kind and model.config()["arch"] == "deep" and model.config()["ch"] == 4
    assert (out / "samples_stage1.png").is_file()
