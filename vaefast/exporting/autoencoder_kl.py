"""A model whose codes are maps, as diffusers' pipelines take it: the interface of `diffusers.AutoencoderKL`."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from vaefast.api import ImageModel, Model
from vaefast.errors import ArgumentError, ExportError
from vaefast.models.condition import is_conditional


def as_autoencoder_kl(model: Model, scaling_factor: float = 1.0) -> LikeAutoencoderKL:
    """`model` in the place of an AutoencoderKL, such as the `vae` of a diffusers pipeline; its weights are shared, not copied.

    >>> vae = vaefast.exporting.as_autoencoder_kl(vaefast.load("runs/cifar10"))
    >>> z = vae.encode(x).latent_dist.sample() * vae.config.scaling_factor      # x [B, C, H, W] in [-1, 1], z [B, c, h, w]
    >>> x_hat = vae.decode(z / vae.config.scaling_factor).sample

    Args:
        model: a VAE of images whose codes are maps: built with `latent_dim=(c, h, w)`, H / h and W / w one power of 2.
        scaling_factor: by which pipelines multiply codes: 1 / their standard deviation. 1 leaves them as they are, which suits
            codes whose posteriors together are near the prior N(0, I).

    Raises:
        ArgumentError: the model has no such codes, is told a condition, or has a flow; or diffusers is not installed.
    """
    if isinstance(scaling_factor, bool) or not isinstance(scaling_factor, (int, float)) or not 0 < scaling_factor < math.inf:
        raise ArgumentError(f"scaling_factor is {scaling_factor!r}; expected a number above 0.")
    try:
        import diffusers  # noqa: F401  # whose own classes encode and decode return
    except ImportError:
        raise ArgumentError("diffusers is not installed, in whose classes codes are returned; pip install diffusers.") from None
    return LikeAutoencoderKL(model, _maps_of(model), float(scaling_factor))


def _maps_of(model: Any) -> tuple[int, int, int]:
    """(c, h, w) of the model's codes; `ArgumentError` if an AutoencoderKL has none such."""
    codes = model.config().get("latent_dim")
    if not isinstance(model, ImageModel) or not isinstance(codes, (list, tuple)):
        raise ArgumentError(f"a model of kind {model.kind!r} with latent_dim {codes!r} is no AutoencoderKL, whose codes are maps "
                            "of images; expected a VAE with latent_dim=(c, h, w).")
    first: Any = model.first
    if is_conditional(first) or getattr(first, "flow", None) is not None:
        raise ArgumentError("the model's networks are told a condition, or its posteriors have a flow; an AutoencoderKL is told "
                            "nothing, and its posteriors are Gaussians.")
    c, h, w = codes
    _, height, width = first.data_shape
    factor = height // h
    if (height, width) != (factor * h, factor * w) or factor & (factor - 1):
        raise ArgumentError(f"images of {height}x{width} have codes of {h}x{w}; pipelines expect sides that are smaller by one "
                            "power of 2.")
    return c, h, w


class LikeAutoencoderKL(nn.Module):
    """What `as_autoencoder_kl` makes. `config` has what pipelines read of an AutoencoderKL's."""

    def __init__(self, model: Any, maps: tuple[int, int, int], scaling_factor: float) -> None:
        from diffusers.configuration_utils import FrozenDict

        super().__init__()
        self.model, self.maps = model, maps
        channels, height, _ = model.data_shape
        halvings = (height // maps[1]).bit_length() - 1
        self.config = FrozenDict({
            "in_channels": channels, "out_channels": channels, "latent_channels": maps[0], "sample_size": height,
            "scaling_factor": scaling_factor, "shift_factor": None, "latents_mean": None, "latents_std": None,
            "force_upcast": False, "block_out_channels": (1,) * (halvings + 1)})  # of these pipelines take the number alone
        self.eval()

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return next(self.parameters()).device

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """Images [B, C, H, W] in [-1, 1] -> diffusers' `AutoencoderKLOutput`, whose `latent_dist` is of maps [B, c, h, w]; a
        tuple with it alone if not `return_dict`."""
        from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
        from diffusers.models.modeling_outputs import AutoencoderKLOutput

        posterior = self.model.encode((x + 1) / 2)
        moments = (posterior.mean, 2 * posterior.std.log())
        distribution = DiagonalGaussianDistribution(torch.cat([m.unflatten(1, self.maps) for m in moments], 1).to(x.dtype))
        return AutoencoderKLOutput(latent_dist=distribution) if return_dict else (distribution,)

    def decode(self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None) -> Any:
        """Maps [B, c, h, w] -> diffusers' `DecoderOutput`, whose `sample` is images [B, C, H, W] in [-1, 1]; a tuple with them
        alone if not `return_dict`. `generator` is not used: nothing is drawn."""
        from diffusers.models.autoencoders.vae import DecoderOutput

        images = (2 * self.model.decode(z.flatten(1)) - 1).to(z.dtype)
        return DecoderOutput(sample=images) if return_dict else (images,)

    def forward(self, sample: Tensor, sample_posterior: bool = False, return_dict: bool = True,
                generator: torch.Generator | None = None) -> Any:
        """Images encoded and decoded, through the mean of their posteriors or, if `sample_posterior`, a draw."""
        posterior = self.encode(sample).latent_dist
        return self.decode(posterior.sample(generator) if sample_posterior else posterior.mode(), return_dict)

    def save_pretrained(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refused: what diffusers reads from a folder is AutoencoderKL's own architecture, which the model's networks are not.

        Raises:
            ExportError: always.
        """
        raise ExportError("diffusers' folders are of AutoencoderKL's own networks, which these are not; save the model itself "
                          "(model.save), and wrap what vaefast.load returns.")
