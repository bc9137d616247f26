"""A model in the place of diffusers' AutoencoderKL: its interface, a pipeline that draws through it, and what is refused."""

from __future__ import annotations

import builtins

import pytest
import torch

import vaefast
from vaefast.errors import ArgumentError, ExportError
from vaefast.exporting import as_autoencoder_kl

SHAPE, MAPS = (3, 16, 16), (4, 4, 4)


def model(**options) -> vaefast.VAE:
    torch.manual_seed(0)
    return vaefast.VAE(SHAPE, **{"latent_dim": MAPS, "nets": "residual", "net_options": {"width": 8}, **options})


def images(n: int = 3) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def diffusers():
    return pytest.importorskip("diffusers", reason="diffusers is not installed (pip install diffusers)")


def test_it_encodes_and_decodes_as_the_model(diffusers):
    of = model()
    vae, x = as_autoencoder_kl(of, scaling_factor=0.5), images()
    found, posterior = vae.encode(2 * x - 1).latent_dist, of.encode(x)
    assert isinstance(found, diffusers.models.autoencoders.vae.DiagonalGaussianDistribution)
    torch.testing.assert_close(found.mean.flatten(1), posterior.mean)
    torch.testing.assert_close(found.std.flatten(1), posterior.std)
    z = found.sample(torch.Generator().manual_seed(2))
    assert z.shape == (3, *MAPS)
    torch.testing.assert_close(vae.decode(z).sample, 2 * of.decode(z.flatten(1)) - 1)
    assert torch.equal(vae.decode(z, return_dict=False)[0], vae.decode(z).sample)
    assert torch.equal(vae.encode(2 * x - 1, return_dict=False)[0].mean, found.mean)
    assert torch.equal(vae(2 * x - 1).sample, vae.decode(found.mode()).sample)
    assert vae.config.scaling_factor == vae.config["scaling_factor"] == 0.5 and vae.config.latent_channels == 4


def test_config_and_forward_are_as_an_autoencoder_kl_has_them(diffusers):
    theirs = diffusers.AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
                                     block_out_channels=(8,) * 3, norm_num_groups=4, sample_size=16)
    ours = as_autoencoder_kl(model())
    assert set(ours.config) <= set(theirs.config)
    assert len(ours.config.block_out_channels) == len(theirs.config.block_out_channels)  # sides a quarter of the images'
    x = 2 * images() - 1
    a, b = theirs.encode(x).latent_dist, ours.encode(x).latent_dist
    assert a.mean.shape == b.mean.shape and a.kl().shape == b.kl().shape
    assert theirs.decode(a.mode()).sample.shape == ours.decode(b.mode()).sample.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_pipeline_draws_through_it(diffusers, dtype):
    transformer = diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1, sample_size=4,
        num_embeds_ada_norm=1000, patch_size=2, norm_elementwise_affine=False)
    vae = as_autoencoder_kl(model(), scaling_factor=0.8)
    pipeline = diffusers.DiTPipeline(transformer=transformer, vae=vae, scheduler=diffusers.DDIMScheduler()).to(dtype)
    pipeline.set_progress_bar_config(disable=True)
    assert vae.dtype == dtype and vae.device.type == "cpu"
    drawn = pipeline(class_labels=[1, 2], num_inference_steps=2, output_type="np", generator=torch.manual_seed(0)).images
    assert drawn.shape == (2, 16, 16, 3) and drawn.min() >= 0 and drawn.max() <= 1


def test_folders_are_refused(diffusers, tmp_path):
    with pytest.raises(ExportError, match=r"save the model itself \(model.save\)"):
        as_autoencoder_kl(model()).save_pretrained(tmp_path)
    with pytest.raises(ArgumentError, match="to is 'diffusers'; expected one or more of onnx"):
        vaefast.export(model(), tmp_path / "out", to="diffusers")


def test_models_without_such_codes_are_refused(diffusers):
    for of, why in ((model(latent_dim=6), "with latent_dim 6 is no AutoencoderKL"),
                    (vaefast.GAN((1, 28, 28)), "of kind 'gan'"),
                    (vaefast.SecondStage(MAPS, kind="flow"), "of kind 'second-stage'"),
                    (model(classes=3), "told a condition"),
                    (model(flow="planar"), "posteriors have a flow")):
        with pytest.raises(ArgumentError, match=why):
            as_autoencoder_kl(of)
    with pytest.raises(ArgumentError, match="scaling_factor is 0; expected a number above 0"):
        as_autoencoder_kl(model(), scaling_factor=0)
    with pytest.raises(ArgumentError, match="images of 30x30 have codes of 8x8; pipelines expect sides"):
        as_autoencoder_kl(vaefast.VAE((3, 30, 30), (4, 8, 8), nets="residual"))


def test_without_diffusers_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest, **options):
        if name.startswith("diffusers"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ArgumentError, match="diffusers is not installed"):
        as_autoencoder_kl(model())
