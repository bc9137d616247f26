"""Features of images in networks that people know by name: timm's, torchvision's, CLIP, DINOv2 and torch-fidelity's."""

from __future__ import annotations

import torch
from torch import Tensor

from ..digest import tensor_digest
from ..errors import ArgumentError
from .extractor_networks import FAMILIES
from .inception_input import checked_images, rounded
from .precision import true_float32

FORMS = "timm:NAME, torchvision:NAME, clip:NAME, dinov2:NAME or torch-fidelity:NAME"
DIGITS = 16
"""Of the SHA-256 of the weights, that say which they are."""
_IMAGES = 32  # a call of the network


class NamedExtractor:
    """Features of images [N, 1 or 3, H, W], uint8 or floats in [0, 1], as float32 rows [N, F]; see `named_extractor`.

    Attributes:
        name: as it was asked for, without the file.
        digest: the first 16 hexadecimal digits of the SHA-256 of the network's weights, without its classifier.
        input: how images come to the network, in words.
        identity: all of these, for caches and reports.
    """

    def __init__(self, spec: str, device: str | torch.device = "cpu") -> None:
        family, name, file = parsed(spec)
        self.network, self.preparation = FAMILIES[family](name, file)
        self.network.requires_grad_(False).eval().to(device)
        self.device, self.name = torch.device(device), f"{family}:{name}"
        self.digest = tensor_digest(sorted(self.network.state_dict().items()))[:DIGITS]
        self.input = "as 8-bit colour, resized by the package itself" if self.preparation is None else str(self.preparation)
        self.identity = f"{self.name}, weights {self.digest}, images {self.input}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features float32 [N, F], on `device`. Raises ArgumentError for images of another shape or range."""
        images = checked_images(images)
        parts = []
        with true_float32(self.device):
            for batch in images.split(_IMAGES):
                batch = batch.to(self.device)
                x = rounded(batch).expand(-1, 3, -1, -1) if self.preparation is None else self.preparation(batch)
                parts.append(self.network(x).float())
        return torch.cat(parts)


def named_extractor(spec: str, *, device: str | torch.device = "cpu") -> NamedExtractor:
    """A network by name, as an extractor for `fid`, `kernel_inception_distance`, `extract_features` and the others.

    Args:
        spec: what follows, or any of them with `@FILE`, a .safetensors or .pth of its weights; otherwise they are the package's
            own, from its cache or from where it fetches them. Nothing pickled is run.
            "timm:NAME": timm's, pooled as it states. "torchvision:NAME": what the classifier's last layer is given. "clip:NAME":
            the embedding of images by open_clip ("clip:ViT-B-32"), or by transformers ("clip:openai/clip-vit-base-patch32", or a
            folder). "dinov2:vits14" (or vitb14, vitl14, vitg14, each with _reg): the class token at 224x224, by timm.
            "torch-fidelity:NAME": an extractor that is registered there.
        device: where to compute.

    Returns:
        A callable from images [N, 1 or 3, H, W] (uint8, or floats in [0, 1]) to float32 rows [N, F]. Images are resized, cropped
        and normalised as the package states of its weights; grey ones become three channels.

    Raises:
        ArgumentError: another form, a network that the package does not know, or a package that is not installed.
        DataNotFoundError: no weights. CheckpointError: weights of another network, or damaged ones.
    """
    return NamedExtractor(spec, device)


def is_named(spec: str) -> bool:
    """Whether it names a network of a package that is known here."""
    return spec.partition(":")[0] in FAMILIES and ":" in spec


def parsed(spec: str) -> tuple[str, str, str | None]:
    """Family, name and file (None: none) of a specification; `ArgumentError` for another form."""
    family, _, rest = spec.partition(":")
    name, at, file = rest.partition("@")
    if family not in FAMILIES or not name or (at and not file):
        raise ArgumentError(f"features is {spec!r}; expected {FORMS}, each with @FILE for a file of its weights.")
    return family, name, file or None
