"""`vaefast.SequentialVAE`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from vaefast import models
from vaefast.api.images import OneStage
from vaefast.errors import ArgumentError
from vaefast.models.mode import evaluating
from vaefast.nets.sequential import (
    PREDICTOR_WIDTH,
    RUNGS,
    WIDTHS,
    LatentPredictor,
    SequentialDecoder,
    SequentialEncoder,
    scaled_widths,
)
from vaefast.nets.shapes import checked_image_shape, whole_number
from vaefast.training.schedule import Ramp
from vaefast.training.settings import StageSettings

KL_RAMP = Ramp(0.0, 1.0, 10_000, shape="exponential")
"""c(n) = 1 - exp(-n / 10000), the weight of the KL at iteration n."""
PAPER = StageSettings(steps=150_000, batch_size=100, lr=2e-4, schedule="constant", ramps={"kl_weight": KL_RAMP})
"""The authors' settings. They name no end; two days on their GPU, by which they made their figures, are about so many steps."""
Inference = Literal["learned", "infusion"]
INFERENCES: tuple[Inference, ...] = get_args(Inference)


@dataclass(frozen=True)
class Variant:
    """What the authors' code calls a network: sizes, steps, and whether the last reconstruction alone counts."""

    widths: tuple[int, ...] = WIDTHS
    rungs: tuple[int, ...] = RUNGS
    steps: int = 8
    last_only: bool = False
    predictor: bool = False


VariantName = Literal["celeba", "celeba-pred", "lsun", "lsun-final", "lsun-pred", "single"]
VARIANTS = {
    "celeba": Variant(),
    "celeba-pred": Variant(predictor=True),
    "lsun": Variant(rungs=(20, 30, 30, 30)),
    "lsun-final": Variant((32, 64, 128, 384, 512), (20, 30, 30, 30), last_only=True),
    "lsun-pred": Variant((64, 128, 256, 512, 1024), (20, 20, 20, 20), predictor=True),
    "single": Variant(rungs=(160, 240, 240, 240), steps=1),
}


class SequentialVAE(OneStage):
    """The Sequential VAE of Zhao, Song and Ermon (2017): a chain of steps, each of which draws the image anew with a code of
    its own: `fit`, `sample`, `steps`, `encode`, `decode`, `reconstruct`, `reconstruct_steps`, `save`.

    >>> model = vaefast.SequentialVAE(image_shape=(3, 64, 64), width=0.25)
    >>> history = model.fit(images, epochs=20, out="runs/faces")
    >>> x = model.steps(16)                      # float [8, 16, 3, 64, 64] in [0, 1]: the images of each step

    The networks normalise by the statistics of their batch, always, so that samples and codes are made in batches as large as
    those of the training, whatever number is asked for (`vaefast.models.SequentialVAE` says how); `encode` and the
    reconstructions take two images or more.

    Args:
        image_shape: (channels, height, width); 64x64 in the paper, of any size here.
        steps: T, steps of the chain; by default the variant's: 8, or 1.
        variant: "celeba"; "lsun", with more latent dimensions; "lsun-final", narrower, with the reconstruction of the last step
            alone and gradients through the whole chain; "single", one step with as many latent dimensions as eight;
            "celeba-pred" and "lsun-pred", where a network predicts the next step's code.
        width: factor of the variant's widths.
        rungs: latent dimensions of the four rungs of a step's code, instead of the variant's.
        shared: one set of weights for all steps after the first.
        gated: let the earlier image show through where the network says so; otherwise each step's image replaces it.
        denoise_train: show the inference networks damaged images in training.
        inference: "learned", or "infusion": q_t reveals true pixels, and nothing is inferred (`vaefast.models.InfusionChain`).
        reveal: with "infusion", the share of pixels revealed to the first step; step t gets t times as many.

    Raises:
        ArgumentError: a value that cannot work.

    `model.first` is the plain module. Source: Zhao, Song and Ermon 2017, "Towards Deeper Understanding of Variational
    Autoencoding Models", section 5; networks and settings as in their code.
    """

    kind = "sequential"
    stepwise = True
    first: models.SequentialVAE
    defaults = (PAPER,)

    def __init__(self, image_shape: tuple[int, int, int], steps: int | None = None, *, variant: VariantName = "celeba",
                 width: float = 1.0, rungs: Sequence[int] | None = None, shared: bool = False, gated: bool = True,
                 denoise_train: bool = False, inference: Inference = "learned", reveal: float = 0.05) -> None:
        image_shape = checked_image_shape(image_shape)
        if variant not in VARIANTS:
            raise ArgumentError(f"variant is {variant!r}; expected one of {', '.join(VARIANTS)}.")
        if inference not in INFERENCES:
            raise ArgumentError(f"inference is {inference!r}; expected one of {', '.join(INFERENCES)}.")
        chosen = VARIANTS[variant]
        steps = chosen.steps if steps is None else whole_number("steps", steps)
        if variant == "single" and steps != 1:
            raise ArgumentError(f"steps is {steps}; the variant 'single' has one step. Choose another variant.")
        if inference == "infusion" and (chosen.predictor or denoise_train or rungs is not None):
            raise ArgumentError("infusion has no codes to predict, no rungs, and inference networks to show damaged images to; "
                                "leave out rungs, denoise_train and the variants with a predictor.")
        sizes: dict[str, Any] = {"widths": scaled_widths(chosen.widths, width),
                                 "rungs": chosen.rungs if rungs is None else tuple(rungs)}
        weight_sets = min(steps, 2) if shared else steps
        common: dict[str, Any] = {"data_shape": image_shape, "steps": steps, "last_only": chosen.last_only}
        if inference == "infusion":
            sizes["rungs"] = ()
            first: models.SequentialVAE = models.InfusionChain(
                [SequentialDecoder(image_shape, **sizes, gated=gated) for _ in range(weight_sets)], reveal=reveal, **common)
        else:
            k, hidden = sum(sizes["rungs"]), scaled_widths([PREDICTOR_WIDTH], width)[0]
            first = models.SequentialVAE(
                [SequentialEncoder(image_shape, **sizes) for _ in range(weight_sets)],
                [SequentialDecoder(image_shape, **sizes, with_image=t > 0, gated=gated) for t in range(weight_sets)],
                predictors=[LatentPredictor(k, width=hidden) for _ in range(weight_sets - 1)] if chosen.predictor else (),
                denoise=denoise_train, **common)
        super().__init__(first)
        self._settled = {"steps": steps}

    @property
    def num_steps(self) -> int:
        """T, steps of the chain."""
        return self.first.num_steps

    def decode_steps(self, z: Tensor) -> Tensor:
        """The images of all steps, [T, B, C, H, W] in [0, 1], of codes [B, k]."""
        with evaluating(self.first):
            return self.first.decode_steps(z)

    def steps(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """The images of all steps of n samples, [T, n, C, H, W] in [0, 1]."""
        return self.decode_steps(self.sample_codes(n, generator))

    def reconstruct_steps(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The images of all steps, [T, B, C, H, W] in [0, 1], of a code drawn for each image [B, C, H, W]; B of 2 or more."""
        return self.decode_steps(self.encode(x).sample(generator))
