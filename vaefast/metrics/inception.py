"""The 2015 Inception network as a feature extractor: what FID, KID and Inception score see of an image."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..errors import ArgumentError
from .inception_input import RESIZES, checked_images, network_input
from .inception_network import FEATURES, InceptionNetwork
from .inception_weights import load_weights
from .precision import true_float32

PRECISIONS = ("float32", "tf32")
_CPU_IMAGES, _GPU_IMAGES = 8, 128  # 8 keep a CPU's caches: 64 take a quarter longer an image


class Inception:
    """Features of images by the Inception network of 2015-12-05, with the weights of pytorch-fid.

    Calling it gives features: images [N, 1 or 3, H, W], uint8 or floats in [0, 1], of any size, to float32 [N, 2048].
    Grey images are repeated to three channels. The result does not depend on N beyond rounding.

    Args:
        weights: path of `pt_inception-2015-12-05-6726825d.pth` (or a .safetensors of it); None: torch hub's cache, else
            the download. Nothing pickled is run.
        device: where to compute.
        resize: "pytorch-fid" (torch's bilinear between pixel centres), or "tf": that of the TensorFlow graph, which the
            papers of before 2020 used, with its scaling of the values. Small images feel the difference most.
        precision: "float32", or "tf32" on GPUs that have it, which is what pytorch-fid runs in there. Without effect on CPUs.
        notice: called with one sentence if a named file is not the published one; a warning by default.

    Attributes:
        identity: names network, weights and resize, for caches and reports.

    Raises:
        DataNotFoundError: no weights; the message says which file, from where, and its digest.
        CheckpointError: the file is damaged or of another network. ArgumentError: an unknown resize or precision.
    """

    dim = FEATURES

    def __init__(
        self, weights: str | os.PathLike[str] | None = None, *, device: str | torch.device = "cpu",
        resize: str = "pytorch-fid", precision: str = "float32", notice: Callable[[str], None] = warnings.warn,
    ) -> None:  # fmt: skip
        for name, value, known in (("resize", resize, RESIZES), ("precision", precision, PRECISIONS)):
            if value not in known:
                raise ArgumentError(f"{name} is {value!r}; expected one of {', '.join(known)}.")
        state, digest = load_weights(weights, notice)
        self.network = InceptionNetwork.from_state(state).to(device)
        self.device, self.resize, self.precision = torch.device(device), resize, precision
        self.identity = f"inception-2015-12-05 {digest[:8]} {resize}" + ("" if precision == "float32" else f" {precision}")

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features float32 [N, 2048], >= 0, on `device`. Raises ArgumentError for images of another shape or range."""
        images = checked_images(images)
        weight = self.network.classes
        features = weight.new_empty((len(images), FEATURES))
        step = _CPU_IMAGES if self.device.type == "cpu" else _GPU_IMAGES
        with self._arithmetic():
            for start in range(0, len(images), step):
                batch = images[start : start + step].to(self.device, non_blocking=True)
                features[start : start + step] = self.network(network_input(batch, self.resize, weight.dtype))
        return features

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """Class scores [N, 1008], without bias as in the Inception score's first code, of features that this object made."""
        with self._arithmetic():
            return self.network.logits(features.to(self.device))

    @contextlib.contextmanager
    def _arithmetic(self) -> Iterator[None]:
        with true_float32(self.device):
            if self.precision == "tf32" and self.device.type == "cuda":
                with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=True):
                    yield
            else:
                yield
