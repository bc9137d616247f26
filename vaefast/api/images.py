"""What models of images (and of other data) share: their networks, their data, and eval mode for everything but training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from vaefast.api.base import Model, Part, describe_data
from vaefast.api.perceptual import equip
from vaefast.api.reading import Images, Reading, conditions_of, described_stream, read, source_of
from vaefast.api.shapes import are_images, describe_arrays, nets_or_default, refuse_logits
from vaefast.api.transformer import Transformer
from vaefast.data import as_array_set, as_image_set
from vaefast.data.arrays import as_labels
from vaefast.data.stream import ImageStream
from vaefast.errors import ArgumentError
from vaefast.models.autoencoder import Autoencoder
from vaefast.models.condition import as_vectors, conditions_for, is_conditional, told, unknown_condition
from vaefast.models.mode import evaluating
from vaefast.models.posterior import Posterior
from vaefast.nets import SPATIAL, ConditionalDecoder, ConditionalEncoder, nets_for, told_codes, told_shape
from vaefast.nets.conditional import condition_size
from vaefast.nets.own import own_network
from vaefast.nets.shapes import CodeShape
from vaefast.training.device import Mode
from vaefast.training.settings import StageSettings


def networks(nets: str | None, encoder: nn.Module | None, decoder: nn.Module | None, shape: tuple[int, ...],
             latent_dim: CodeShape, *, deterministic: bool = False, channels_out: int | None = None,
             known: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None,
             decoder_options: Mapping[str, Any] | None = None, classes: int | None = None,
             condition_dim: int | None = None) -> tuple[nn.Module, nn.Module]:
    """The user's own encoder and decoder, or those named by `nets` (None: the shape's default), of examples of such a shape.

    Codes of shape (c, h, w) are maps, which some of the named networks have. A `deterministic` encoder gives a mean alone;
    `channels_out` are the decoder's channels, where they are not the image's. `known` are the pairs by name, those of
    `vaefast.nets.nets_for(shape)` if None; `options` go to the encoder and the decoder, as far as they take them,
    `decoder_options` to the decoder. With `classes` or `condition_dim` the named networks are told a condition, which the user's
    own have to take after their input.

    Raises:
        ArgumentError: options that the named networks do not take, and any beside the user's own.
    """
    if (encoder is None) != (decoder is None):
        raise ArgumentError("encoder and decoder go together: give both, or neither for the networks named by nets.")
    if encoder is not None and decoder is not None:
        if options or decoder_options:
            argument = "net_options" if options else "decoder_options"
            raise ArgumentError(f"{argument} go to the networks that nets names; leave them out beside an encoder and decoder of "
                                "your own.")
        if not isinstance(latent_dim, int):
            raise ArgumentError(f"latent_dim is {latent_dim!r}; networks of your own give flat codes: return maps as "
                                "mu.flatten(1), and say how many numbers that are.")
        own = own_network("encoder", encoder), own_network("decoder", decoder)
        refuse_logits(shape, own[1])
        return own
    nets = nets_or_default(nets, shape)
    known = nets_for(shape) if known is None else known
    if nets not in known:
        if are_images(shape):
            raise ArgumentError(f"nets is {nets!r}; expected one of {', '.join(known)}.")
        what = f"expected {' or '.join(map(repr, known))}, or" if known else "there are none by name, so give"
        raise ArgumentError(f"nets is {nets!r}; of data of shape {shape} {what} an encoder and a decoder of your own.")
    if not isinstance(latent_dim, int) and not are_images(shape):
        raise ArgumentError(f"latent_dim is {latent_dim!r}, maps of codes, which images alone have; give a whole number.")
    build_encoder, build_decoder = known[nets]
    if not isinstance(latent_dim, int) and nets not in SPATIAL:
        raise ArgumentError(f"latent_dim is {latent_dim!r}, maps of codes; nets {nets!r} has codes without places. Choose "
                            f"nets={' or '.join(map(repr, SPATIAL))}, or a whole number.")
    size = condition_size(classes, condition_dim)
    if size and nets == "gamix" and "input_norm" not in (options or {}):
        options = {**(options or {}), "input_norm": False}  # which would take constant planes away
    shape_out = (channels_out or shape[0], *shape[1:])
    of_encoder, of_decoder = ([p for p in list(inspect.signature(builder).parameters)[2:] if p != "deterministic"]
                              for builder in (build_encoder, build_decoder))
    both = list(dict.fromkeys([*of_encoder, *of_decoder]))
    for extra, taken, what in ((options, both, "net_options"), (decoder_options, of_decoder, "decoder_options")):
        for name in extra or ():
            if name not in taken:
                raise ArgumentError(f"{what} has {name!r}, which {nets!r} does not take; it has {', '.join(taken) or 'none'}.")
    for_encoder, for_decoder = ({k: v for k, v in (options or {}).items() if k in taken} for taken in (of_encoder, of_decoder))
    for_decoder |= decoder_options or {}
    if not size:
        return (build_encoder(shape, latent_dim, deterministic=deterministic, **for_encoder),
                build_decoder(shape_out, latent_dim, **for_decoder))
    given = {"classes": classes, "condition_dim": condition_dim}
    encoder = build_encoder(told_shape(shape, size), latent_dim, deterministic=deterministic, **for_encoder)
    decoder = build_decoder(shape_out, told_codes(latent_dim, size), **for_decoder)
    return ConditionalEncoder(encoder, **given), ConditionalDecoder(decoder, latent_dim=latent_dim, **given)


class ImageModel(Model):
    """A model that draws images: it has `image_shape` (C, H, W), and `sample(n, generator)`, [n, C, H, W] in [0, 1]."""

    draws_images = True

    @property
    def infers(self) -> bool:
        """Whether its codes have a density q(z|x): not those of a GAN, and not the pixels that infusion reveals."""
        return self.encodes and getattr(self.first, "infers", True)

    if TYPE_CHECKING:  # classes beside this one have them
        @property
        def image_shape(self) -> tuple[int, ...]: ...
        def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor: ...

    def _labelled(self, data: Any, condition: Any) -> Any:
        if isinstance(data, ImageStream):
            raise ArgumentError(f"condition is given beside a {data.name}, which is read as training goes; give labels with its "
                                "items, or pass materialize=True.")
        return as_image_set(data, labels=condition)

    def _read(self, data: Any, reading: Reading) -> tuple[Any, list[str]]:
        return read(data, reading)

    def _accept(self, data: Any) -> tuple[Any, dict[str, Any]]:
        images = data if isinstance(data, ImageStream) else as_image_set(data)
        if tuple(images.image_shape) != self.image_shape:
            raise ArgumentError(f"the images have shape {tuple(images.image_shape)}; this model was built with image_shape="
                                f"{self.image_shape}.")
        return images, described_stream(images) if isinstance(images, ImageStream) else describe_data(images)


class ImageAutoencoder(Transformer, ImageModel, Autoencoder):
    """A model that draws images and codes them, too: it has encode, decode and reconstruct. So has one of other data, which it
    takes and gives in their own units."""

    encodes = holds_out = True
    networks: ClassVar[tuple[str, ...]] = ("encoder", "decoder")

    @property
    def draws_images(self) -> bool:  # type: ignore[override]
        """Whether its examples are images, so that samples can be shown and scored as such."""
        return are_images(self.data_shape)

    def _read(self, data: Any, reading: Reading) -> tuple[Any, list[str]]:
        if self.draws_images:
            return super()._read(data, reading)
        reading.none_asked_for()
        return data, []

    def _labelled(self, data: Any, condition: Any) -> Any:
        dims = getattr(self, "condition_dim", 0)
        if not (dims or getattr(self, "classes", 0)):
            raise unknown_condition(condition)
        if self.draws_images and (not dims or isinstance(data, ImageStream)):
            return super()._labelled(data, condition)
        held = as_image_set(data) if self.draws_images else as_array_set(data, self.data_shape)
        if dims:
            return replace(held, condition=as_vectors(condition, len(held), dims, torch.empty(0), each=True).contiguous())
        return replace(held, labels=as_labels(condition, len(held)))

    def _accept(self, data: Any) -> tuple[Any, dict[str, Any]]:
        if self.draws_images:
            data, described = super()._accept(data)
        else:
            data = as_array_set(data, self.data_shape)
            described = describe_arrays(data)
        conditions_of(self.first, data)
        return data, described

    def _equip(self, data: Any, device: torch.device) -> None:
        equip(getattr(self.first, "perceptual", None), self._arguments.get("perceptual"), data, device)

    def _with_condition(self, validation: Any, reading: Reading) -> Any:
        if is_conditional(self) and isinstance(validation, tuple) and len(validation) == 2:
            return self._labelled(self._read(validation[0], reading)[0], validation[1])
        return super()._with_condition(validation, reading)

    def _settings(self, settings: StageSettings | Sequence[StageSettings] | None,
                  overrides: dict[str, Any]) -> list[StageSettings]:
        stages = super()._settings(settings, overrides)
        if not self.draws_images and any(stage.flip for stage in stages):
            raise ArgumentError(f"flip is True, which mirrors images; leave it out for data of shape {self.data_shape}.")
        return stages

    def _layout(self, channels_last: Mode, device: torch.device) -> Mode:
        if self.draws_images:
            return super()._layout(channels_last, device)
        if channels_last == "on":
            raise ArgumentError(f"channels_last is 'on', which orders images of two dimensions; leave it out for data of shape "
                                f"{self.data_shape}.")
        return "off"

    def _prepare(self, data: Any, seed: int, device: torch.device) -> None:
        standardiser = getattr(self.first, "standardiser", None)
        if standardiser is not None:
            standardiser.fit(data.values)

    def _batch(self, x: Any) -> Any:
        """Examples as the doors of the models take them: lists, Datasets and sets as one tensor, all else as it is."""
        return self._given(x, None)[0]

    def _given(self, x: Any, condition: Any) -> tuple[Any, Any]:
        """Examples as `_batch`, and what they are conditioned on: where nothing is given, the labels or vectors of their set."""
        if isinstance(x, (Tensor, np.ndarray)):
            return x, condition
        held = as_image_set(x) if self.draws_images else as_array_set(x)
        if condition is None and is_conditional(self.first):
            condition = held.labels if self.first.classes else held.condition
        return held.images, condition

    def encode(self, x: Any, condition: Any = None) -> Posterior:
        """q(z|x) of images [B, C, H, W] (uint8, or float in [0, 1]; or a list, Dataset or set of such), or other examples [B,
        *data_shape]: `mean`, `std` and `sample()`, [B, k] each."""
        return super().encode(*self._given(x, condition))

    def reconstruct(self, x: Any, generator: torch.Generator | None = None, *, condition: Any = None) -> Tensor:
        x, condition = self._given(x, condition)
        return super().reconstruct(x, generator, condition=condition)

    reconstruct.__doc__ = Autoencoder.reconstruct.__doc__

    def log_likelihood(self, x: Any, z: Tensor, condition: Any = None) -> Tensor:
        """log p(x|z) in nats of examples [B, ...] at codes [B, k], [B]; of data that are standardised inside in their own units.
        With it `vaefast.metrics.importance_weighted_bound` bounds log p(x).

        Raises:
            ArgumentError: a model that has no p(x|z), such as a WAE.
        """
        if not hasattr(self.first, "log_likelihood"):
            raise ArgumentError(f"a {self.kind} model has no likelihood p(x|z) of its own.")
        with evaluating(self.first):
            x, condition = self._given(x, condition)
            density: Tensor = self.first.log_likelihood(x, z, **told(self.first, condition))
            return density

    def chain(self, n: int, steps: int, start: str = "noise", *, data: Any = None, **options: Any) -> Tensor:
        return super().chain(n, steps, start, data=None if data is None else self._batch(data), **options)

    chain.__doc__ = Autoencoder.chain.__doc__


class OneStage(ImageAutoencoder):
    """A model of images or other data whose one stage is the module `first`, which has encode, decode, prior and a loss.

    Everything but training (encode, decode, reconstruct, sample) runs in eval mode, whatever mode the module is in.
    Called with a batch, the model returns its loss terms, for your own training loop; so does `first`.
    """

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first = first

    @property
    def classes(self) -> int:
        """Of the labels that it is conditioned on; 0: none."""
        return getattr(self.first, "classes", 0)

    @property
    def condition_dim(self) -> int:
        """Numbers of the vectors that it is conditioned on; 0: none."""
        return getattr(self.first, "condition_dim", 0)

    def _parts(self, data: Images, device: torch.device) -> list[Part]:
        source = source_of(data, device, condition=conditions_of(self.first, data))
        return [("stage1", self.first, lambda: source)]

    def forward(self, x: Tensor, condition: Any = None) -> dict[str, Tensor]:
        """Loss terms of a batch [B, C, H, W] (uint8, or float in [0, 1]) or [B, *data_shape], in nats or the loss's own units per
        example."""
        x, condition = self._given(x, condition)
        terms: dict[str, Tensor] = self.first(x, **told(self.first, condition))
        return terms

    def sample_codes(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n codes z of the prior, [n, k]."""
        codes: Tensor = self.first.prior(n, generator)
        return codes

    def sample(self, n: int, generator: torch.Generator | None = None, *, condition: Any = None) -> Tensor:
        """n images, [n, C, H, W] in [0, 1], or other examples [n, *data_shape] in their own units: codes of the prior, decoded;
        drawn by an autoregressive decoder, and without noise of the values by any other.

        `condition`, of a model that is conditioned: one class or vector for all, or n of them. None: classes are drawn by their
        shares in the training data (evenly, where these were a stream), and vectors have to be given."""
        codes = self.sample_codes(n, generator)
        return self.decode(codes, generator, condition=conditions_for(self.first, n, condition, generator))
