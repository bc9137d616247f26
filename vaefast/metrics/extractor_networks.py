"""Networks that other packages know by name, without their classifiers, and what these packages state of their input."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.roots import expanded
from ..errors import ArgumentError, CheckpointError, DataNotFoundError, VaefastError, first_line
from ..weights_file import read_tensors
from .extractor_input import Preparation

Built = tuple[nn.Module, Preparation | None]
"""A network, images -> rows [B, F], and how images come to it; None: it takes uint8 of three channels, and sees to it itself."""

_EXTRA = "pip install 'vaefast[features]'"
DINOV2 = {"vits14": "small", "vitb14": "base", "vitl14": "large", "vitg14": "giant"}
"""DINOv2's names of its networks, and timm's words for them."""
DINOV2_SIDE = 224
"""Pixels at which DINOv2's features are taken here: a multiple of its patches of 14. They were trained at up to 518."""


def of_timm(name: str, file: str | None, *, side: int | None = None) -> Built:
    """Pooled features of a network of timm, `timm.create_model(name, num_classes=0)`, in the pooling that it states.

    `side`: pixels of the input, instead of what timm states; for networks that take several.
    """
    timm, called = _package("timm", f"timm:{name}"), f"timm:{name}"
    if not name.startswith(("hf-hub:", "hf_hub:", "local-dir:")) and not timm.is_model(name.partition(".")[0]):
        near = timm.list_models(f"*{name.partition('.')[0]}*")[:3]
        raise ArgumentError(f"timm knows no network {name!r}" + (f"; did you mean one of {', '.join(near)}?" if near else "."))
    more = {} if side is None else {"img_size": side}
    with _weights_of(called, file):
        network = timm.create_model(name, pretrained=file is None, num_classes=0, **more)
    config = timm.data.resolve_data_config({}, model=network)
    if file is not None:
        tensors = _read(file, called)
        convert = getattr(import_module(type(network).__module__), "checkpoint_filter_fn", None)
        with _of_another_network(file, called):
            tensors = convert(tensors, network) if convert else tensors
            heads = network.pretrained_cfg.get("classifier") or ()
            _take(network, tensors, called, file, [heads] if isinstance(heads, str) else heads)
    height, width = config["input_size"][1:] if side is None else (side, side)
    mode, share = config["crop_mode"], config["crop_pct"]
    if mode == "border":
        raise ArgumentError(f"{called} pads images to its input, which is not done here; pass a function of your own.")
    scaled = int(height / share), int(width / share)
    resize = scaled[0] if mode == "center" and height == width else scaled
    return network, Preparation(resize, (height, width), config["interpolation"], tuple(config["mean"]), tuple(config["std"]))


def of_dinov2(name: str, file: str | None) -> Built:
    """DINOv2's class token, by timm's port: "vits14", "vitb14", "vitl14" or "vitg14", with "_reg" for those with registers."""
    size, _, registers = name.partition("_")
    if size not in DINOV2 or registers not in ("", "reg"):
        raise ArgumentError(f"dinov2 knows no network {name!r}; expected one of {', '.join(DINOV2)}, or one of them with _reg.")
    words = "patch14_reg4_dinov2" if registers else "patch14_dinov2"
    return of_timm(f"vit_{DINOV2[size]}_{words}.lvd142m", file, side=DINOV2_SIDE)


def of_torchvision(name: str, file: str | None) -> Built:
    """What the last linear layer of a classifier of torchvision is given."""
    called = f"torchvision:{name}"
    zoo = _package("torchvision.models", called)
    if name not in zoo.list_models(module=zoo):
        every = zoo.list_models(module=zoo)
        near = [known for known in every if name in known][:3] or difflib.get_close_matches(name, every)
        raise ArgumentError(f"torchvision knows no classifier {name!r}" + (f"; did you mean one of {', '.join(near)}?" if near
                                                                          else "."))
    weights = zoo.get_model_weights(name).DEFAULT
    more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}  # which would take a minute
    network = zoo.get_model(name, weights=None, **more)
    head = next((layer for layer, module in reversed(list(network.named_modules())) if isinstance(module, nn.Linear)), None)
    if head is None:
        raise ArgumentError(f"{called} has no linear layer, whose input would be the features; choose another network.")
    with _weights_of(called, file):
        tensors = weights.get_state_dict(progress=False, check_hash=True) if file is None else _read(file, called)
    with _of_another_network(file or called, called):
        _take(network, tensors, called, file or called, [head])
    asked = weights.transforms()
    preparation = Preparation(asked.resize_size[0], (asked.crop_size[0],) * 2, asked.interpolation.value, tuple(asked.mean),
                              tuple(asked.std))
    return _Before(network, head), preparation


def of_clip(name: str, file: str | None) -> Built:
    """CLIP's embedding of images: by open_clip ("ViT-B-32"; "ViT-B-32/laion2b_s34b_b79k" for weights other than OpenAI's), or by
    transformers, of a folder or "openai/clip-vit-base-patch32"."""
    if Path(name).is_dir() or (name.partition("/")[2] and not name.startswith(("ViT", "RN", "conv", "coca"))):
        return _of_transformers(name, file)
    open_clip, called, (model, _, tag) = _package("open_clip", f"clip:{name}"), f"clip:{name}", name.partition("/")
    if model not in open_clip.list_models():
        raise ArgumentError(f"open_clip knows no network {model!r}; expected one such as ViT-B-32, or the name or folder of a "
                            "CLIP model of transformers.")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if file is None and not tags or tag and tag not in tags:
        raise ArgumentError(f"open_clip has no weights {tag or ''} of {model}; it has {', '.join(tags) or 'none'}.")
    tag = tag or ("openai" if "openai" in tags or file is not None else tags[0])
    with _weights_of(called, file):
        whole = open_clip.create_model(model, pretrained=tag if file is None else None)
    asked = open_clip.model.get_model_preprocess_cfg(whole)
    if file is not None:
        tensors = {key.removeprefix("visual."): value for key, value in _read(file, called).items() if key.startswith("visual.")}
        with _of_another_network(file, called):
            _take(whole.visual, tensors, called, file, [])
    size = asked["size"]
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    resizes = {"shortest": height if height == width else (height, width), "squash": (height, width)}
    mode = asked.get("resize_mode", "shortest")
    if mode not in resizes:
        raise ArgumentError(f"{called} resizes images by {mode!r}, which is not done here; pass a function of your own.")
    return whole.visual, Preparation(resizes[mode], (height, width), asked.get("interpolation", "bicubic"), tuple(asked["mean"]),
                                     tuple(asked["std"]))


def _of_transformers(name: str, file: str | None) -> Built:
    called = f"clip:{name}"
    if file is not None:
        raise ArgumentError(f"{called} is a model of transformers, whose weights lie in its folder; name that instead of {file}.")
    transformers = _package("transformers", called, "pip install transformers")
    with _weights_of(called, None):
        network = transformers.CLIPVisionModelWithProjection.from_pretrained(name, use_safetensors=True)
        asked = transformers.CLIPImageProcessor.get_image_processor_dict(name)[0]
    side, crop = asked["size"], asked.get("crop_size", asked["size"])
    side = side if isinstance(side, int) else side.get("shortest_edge") or (side["height"], side["width"])
    crop = (crop, crop) if isinstance(crop, int) else (crop["height"], crop["width"])
    interpolation = {2: "bilinear", 3: "bicubic"}.get(asked.get("resample", 3), str(asked.get("resample")))
    return _Embedded(network), Preparation(side, crop, interpolation, tuple(asked["image_mean"]), tuple(asked["image_std"]))


def of_torch_fidelity(name: str, file: str | None) -> Built:
    """An extractor that torch-fidelity has registered, in the layer that it takes the FID in; with its own resizing."""
    registry, called = _package("torch_fidelity.registry", f"torch-fidelity:{name}"), f"torch-fidelity:{name}"
    known = registry.FEATURE_EXTRACTORS_REGISTRY
    if name not in known:
        raise ArgumentError(f"torch-fidelity knows no extractor {name!r}; it has {', '.join(sorted(known))}.")
    if file is not None:
        _read(file, called)  # refuses what is not tensors alone, as the package itself does not
    with _weights_of(called, file):
        network = known[name](name, [known[name].get_default_feature_layer_for_metric("fid")],
                              **({} if file is None else {"feature_extractor_weights_path": str(expanded(file))}))
    return _First(network), None


FAMILIES = {"timm": of_timm, "torchvision": of_torchvision, "clip": of_clip, "dinov2": of_dinov2,
            "torch-fidelity": of_torch_fidelity}
"""What stands before the colon of a name -> what builds the network that is named behind it, from a file of weights or none."""


class _Before(nn.Module):
    """What one layer of a network is given."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network, self.seen = network, torch.empty(0)
        network.get_submodule(layer).register_forward_pre_hook(self._see)

    def _see(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.seen = inputs[0]

    def forward(self, x: Tensor) -> Tensor:
        self.network(x)
        seen, self.seen = self.seen, torch.empty(0)
        return seen.flatten(1)


class _Embedded(nn.Module):
    """The embedding among the outputs of a model of transformers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = self.network(pixel_values=x).image_embeds
        return rows


class _First(nn.Module):
    """The first of a network's outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = self.network(x)[0]
        return rows.flatten(1)


def _package(module: str, called: str, install: str = _EXTRA) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        name, reason = module.partition(".")[0], first_line(error)
        raise ArgumentError(f"{called} needs {name}, which cannot be imported ({reason}); {install}.") from None


def _read(file: str, called: str) -> dict[str, Tensor]:
    path = expanded(file)
    if not path.is_file():
        raise DataNotFoundError(f"{path} is not there; pass a .safetensors or .pth file of {called}'s weights, or leave @{file} "
                                "out to take its package's own.")
    return read_tensors(path, f"weights of {called}")


def _take(network: nn.Module, tensors: Mapping[str, Tensor], called: str, file: str, heads: Sequence[str]) -> None:
    """Load the weights; those of `heads`, the classifiers, may be there, may be of any number of classes, or may be missing."""
    def of_head(name: str) -> bool:
        return any(name.startswith(f"{head}.") for head in heads)

    wrong = network.load_state_dict({k: v for k, v in tensors.items() if not of_head(k)}, strict=False)
    missing = [name for name in wrong.missing_keys if not of_head(name)]
    if missing or wrong.unexpected_keys:
        what = f"has no {missing[0]}" if missing else f"has {wrong.unexpected_keys[0]}, which that network has not"
        raise CheckpointError(f"{file} holds no weights of {called}: it {what}.")


@contextmanager
def _of_another_network(file: str, called: str) -> Iterator[None]:
    try:
        yield
    except VaefastError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{file} holds no weights of {called}: {reason or type(error).__name__}.") from None


@contextmanager
def _weights_of(called: str, file: str | None) -> Iterator[None]:
    """What a package raises in building a network, such as for want of a connection, in a sentence; tensors alone are read."""
    forced = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        yield
    except VaefastError:
        raise
    except Exception as error:
        reason = (" ".join(str(error).split()) or type(error).__name__)[:200].rstrip(".")
        if file is not None:
            raise CheckpointError(f"{called} cannot be built with {file} ({reason}).") from None
        raise DataNotFoundError(f"{called} has no weights here, and its package could not fetch them ({reason}); name a file of "
                                f"them: {called}@FILE.safetensors.") from None
    finally:
        if forced is None:
            del os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"]
        else:
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = forced
