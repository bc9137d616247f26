"""Networks by name: small ones with random weights, whose features are those that their packages give."""

from __future__ import annotations

import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vaefast import metrics
from vaefast.errors import ArgumentError, CheckpointError, DataNotFoundError
from vaefast.metrics.extractor_input import Preparation
from vaefast.metrics.named_extractor import is_named, named_extractor, parsed


def picture(n: int = 3, channels: int = 3, height: int = 40, width: int = 40) -> torch.Tensor:
    """Smooth images, uint8."""
    coarse = torch.rand(n, channels, 5, 5, generator=torch.Generator().manual_seed(3))
    return (nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1) * 255).round().to(torch.uint8)


@pytest.fixture
def timm():
    return pytest.importorskip("timm", reason="timm is not installed")


@pytest.fixture
def torchvision():
    return pytest.importorskip("torchvision", reason="torchvision is not installed")


@pytest.mark.parametrize("height, width, crop", [(40, 40, (32, 32)), (30, 51, (32, 32)), (300, 200, (64, 64))])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_images_come_to_the_network_as_torchvision_brings_them(height, width, crop, interpolation, torchvision):
    from torchvision.transforms._presets import ImageClassification
    from torchvision.transforms.functional import InterpolationMode

    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    theirs = ImageClassification(crop_size=crop[0], resize_size=72, mean=mean, std=std,
                                 interpolation=InterpolationMode(interpolation))
    images = picture(2, 3, height, width)
    ours = Preparation(72, crop, interpolation, mean, std)(images)
    assert ours.shape == (2, 3, *crop)
    # theirs rounds to 256 levels on the way
    torch.testing.assert_close(ours, theirs(images), rtol=0, atol=0.51 / 255 / min(std))


def test_grey_images_and_floats_are_the_same_images():
    prepare = Preparation(16, (16, 16), "bilinear", (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    grey = picture(2, 1)
    torch.testing.assert_close(prepare(grey), prepare(grey.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(prepare(grey), prepare(grey / 255))
    with pytest.raises(ArgumentError, match="interpolation is 'nearest'"):
        Preparation(16, (16, 16), "nearest", (0.1,), (1.0,))


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_timm_pools_and_prepares_as_it_states(name, timm, tmp_path):
    network = timm.create_model(name, pretrained=False).eval()
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    extractor = named_extractor(f"timm:{name}@{tmp_path}/weights.safetensors")
    assert extractor.name == f"timm:{name}" and len(extractor.digest) == 16 and "160x160" in extractor.input
    images = picture()
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(extractor.preparation(images)), pre_logits=True)
    found = extractor(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(extractor(images / 255), found, rtol=1e-4, atol=1e-4)
    config = timm.data.resolve_data_config({}, model=network)
    assert (extractor.preparation.mean, extractor.preparation.std) == (config["mean"], config["std"])
    assert extractor.preparation.interpolation == config["interpolation"]


def test_the_digest_and_with_it_the_cache_tells_weights_apart(timm, tmp_path):
    made = []
    for seed in (0, 1, 1):
        torch.manual_seed(seed)
        save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
        made.append(named_extractor(f"timm:test_resnet@{tmp_path}/w.safetensors"))
    assert made[1].identity == made[2].identity != made[0].identity and str(tmp_path) not in made[0].identity


def test_torchvision_gives_what_its_last_layer_is_given(torchvision, tmp_path):
    network = torchvision.models.get_model("shufflenet_v2_x0_5", weights=None, num_classes=7).eval()  # a fine-tuned one, say
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    extractor = named_extractor(f"torchvision:shufflenet_v2_x0_5@{tmp_path}/weights.safetensors")
    images = picture(2)
    found = extractor(images)
    with torch.no_grad():
        torch.testing.assert_close(network.fc(found), network(extractor.preparation(images)), rtol=1e-4, atol=1e-4)
    asked = torchvision.models.get_model_weights("shufflenet_v2_x0_5").DEFAULT.transforms()
    assert extractor.preparation.crop == (asked.crop_size[0],) * 2 and extractor.preparation.resize == asked.resize_size[0]


def test_clip_of_transformers_embeds_as_it_does(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.CLIPVisionConfig(hidden_size=16, intermediate_size=32, projection_dim=8, num_hidden_layers=2,
                                           num_attention_heads=2, image_size=32, patch_size=8)
    network = transformers.CLIPVisionModelWithProjection(config).eval()
    network.save_pretrained(tmp_path / "clip")
    (tmp_path / "clip" / "preprocessor_config.json").write_text(
        '{"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "resample": 3, '
        '"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.3]}')
    extractor = named_extractor(f"clip:{tmp_path}/clip")
    with torch.no_grad():
        expected = network(pixel_values=extractor.preparation(picture())).image_embeds
    torch.testing.assert_close(extractor(picture()), expected, rtol=1e-4, atol=1e-4)
    assert extractor.preparation.mean == (0.5, 0.4, 0.3) and extractor.preparation.interpolation == "bicubic"


def test_clip_of_open_clip_takes_the_image_tower_of_a_file(tmp_path, monkeypatch):
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed")
    small = {"embed_dim": 8, "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
             "text_cfg": {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1}}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-tiny", small)
    whole = open_clip.create_model("ViT-tiny").eval()
    save_file({k: v.contiguous() for k, v in whole.state_dict().items()}, tmp_path / "clip.safetensors")
    extractor = named_extractor(f"clip:ViT-tiny@{tmp_path}/clip.safetensors")
    with torch.no_grad():
        expected = whole.encode_image(extractor.preparation(picture()))
    torch.testing.assert_close(extractor(picture()), expected, rtol=1e-4, atol=1e-4)
    assert extractor.preparation.mean == pytest.approx(open_clip.OPENAI_DATASET_MEAN)


def test_torch_fidelity_is_used_as_it_is(monkeypatch):
    registry = pytest.importorskip("torch_fidelity.registry", reason="torch-fidelity is not installed")
    base = registry.FeatureExtractorBase

    class Means(base):
        get_provided_features_list = staticmethod(lambda: ("means", "more"))
        get_default_feature_layer_for_metric = staticmethod(lambda metric: "means")

        def forward(self, x):
            assert x.dtype == torch.uint8 and x.shape[1] == 3
            return (x.float().mean((2, 3)),)

    monkeypatch.setitem(registry.FEATURE_EXTRACTORS_REGISTRY, "means", Means)
    grey = picture(5, 1)
    torch.testing.assert_close(named_extractor("torch-fidelity:means")(grey / 255), grey.float().mean((2, 3)).expand(-1, 3))
    with pytest.raises(ArgumentError, match="knows no extractor 'nothing'; it has .*inception-v3-compat, means"):
        named_extractor("torch-fidelity:nothing")


def test_dinov2_names_are_timms_at_224_pixels(timm, monkeypatch):
    asked = []

    def create(name, **options):
        asked.append((name, options))
        return timm.models.VisionTransformer(img_size=options["img_size"], patch_size=14, embed_dim=8, depth=1, num_heads=2,
                                             num_classes=0)

    monkeypatch.setattr(timm, "create_model", create)
    extractor = named_extractor("dinov2:vits14")
    assert asked == [("vit_small_patch14_dinov2.lvd142m", {"pretrained": True, "num_classes": 0, "img_size": 224})]
    assert extractor.preparation.crop == (224, 224) and extractor(picture(1)).shape == (1, 8)
    named_extractor("dinov2:vitb14_reg")
    assert asked[1][0] == "vit_base_patch14_reg4_dinov2.lvd142m"
    assert all(timm.is_model(name.partition(".")[0]) for name, _ in asked)


@pytest.mark.parametrize("spec", ["timm:", "other:net", "timm", "timm:resnet18@"])
def test_another_form_is_refused(spec):
    with pytest.raises(ArgumentError, match=r"expected timm:NAME, .* or torch-fidelity:NAME, each with @FILE"):
        named_extractor(spec)


def test_forms():
    assert parsed("clip:a/b@c@d") == ("clip", "a/b", "c@d") and parsed("timm:hf-hub:timm/x") == ("timm", "hf-hub:timm/x", None)
    assert is_named("dinov2:vits14") and not is_named("mine:build") and not is_named("timm")


def test_what_is_missing_gets_a_sentence(timm, torchvision, tmp_path, monkeypatch):
    with pytest.raises(ArgumentError, match="timm knows no network 'test_resne'; did you mean one of test_resnet"):
        named_extractor("timm:test_resne")
    with pytest.raises(ArgumentError, match="torchvision knows no classifier 'resnet1'; did you mean one of resnet1"):
        named_extractor("torchvision:resnet1")
    with pytest.raises(ArgumentError, match="torchvision:squeezenet1_0 has no linear layer"):
        named_extractor("torchvision:squeezenet1_0")
    with pytest.raises(ArgumentError, match="dinov2 knows no network 'vitx14'"):
        named_extractor("dinov2:vitx14")
    with pytest.raises(DataNotFoundError, match="nothing.pth is not there; pass a .safetensors or .pth file of timm:test"):
        named_extractor("timm:test_resnet@nothing.pth")
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    for spec in ("timm:test_resnet", "torchvision:shufflenet_v2_x0_5"):
        with pytest.raises(CheckpointError, match=f"holds no weights of {spec}: it has no "):
            named_extractor(f"{spec}@{tmp_path}/a.safetensors")
    weights = timm.create_model("test_resnet").state_dict()
    save_file(weights | {next(iter(weights)): torch.zeros(2, 3, 3, 3)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="holds no weights of timm:test_resnet: .*size mismatch"):
        named_extractor(f"timm:test_resnet@{tmp_path}/a.safetensors")

    def offline(*_, **__):
        raise OSError("no route\nto host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(DataNotFoundError, match=r"could not fetch them \(no route to host\); name a file .*: timm:test_vit@"):
        named_extractor("timm:test_vit")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ArgumentError, match=r"timm:test_vit needs timm, which cannot be imported .* 'vaefast\[features\]'"):
        named_extractor("timm:test_vit")


def test_the_distance_of_sets_in_it(timm, tmp_path):
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    extractor = named_extractor(f"timm:test_resnet@{tmp_path}/w.safetensors")
    images = torch.randint(0, 256, (12, 1, 16, 16), dtype=torch.uint8)
    score = metrics.fid(images, images[:8], extractor=extractor, notice=lambda text: None)
    assert score.features == extractor.identity and score.value > 0
