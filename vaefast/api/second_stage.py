"""`vaefast.SecondStage`: the second stage alone, for anyone's autoencoder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vaefast import models
from vaefast.api.base import Model, Part, require_seed
from vaefast.api.reading import Images, Reading, conditions_of, source_of
from vaefast.api.transformer import Transformer
from vaefast.data.arrays import as_labels
from vaefast.data.stream import ImageStream
from vaefast.errors import ArgumentError, DataError
from vaefast.models.condition import as_vectors, checked_labels, is_conditional, told, told_each, unknown_condition
from vaefast.models.exploration import ROWS
from vaefast.models.latents import Latents, as_latents
from vaefast.models.mode import evaluating
from vaefast.models.noise_level import Gamma
from vaefast.models.posterior import DiagonalGaussian, Posterior
from vaefast.models.samplers import enough_of_each
from vaefast.models.second_stage import draw_codes, latents_of, recode
from vaefast.nets import SecondStageDecoder, SecondStageEncoder, VelocityMaps, VelocityNet
from vaefast.nets.conditional import condition_size
from vaefast.nets.second_stage import DEPTH, WIDTH
from vaefast.nets.shapes import CodeShape, checked_latents, whole_number
from vaefast.training.device import refuse_float64, resolve_device
from vaefast.training.progress import make_progress
from vaefast.training.settings import StageSettings
from vaefast.training.sources import ImagePass, ImageSource, PosteriorSource, RowSource
from vaefast.training.stage import History
from vaefast.training.stream import StreamSource

USUAL_SCALE = (0.1, 10.0)
"""Standard deviation of a latent dimension that the networks and learning rates are made for."""
USUAL_OFFSET = 5.0
"""Most that the mean of a dimension may lie from 0, in mean standard deviations of a dimension."""


SecondKind = Literal["vae", "flow", "mixture"]
KINDS: tuple[SecondKind, ...] = get_args(SecondKind)
"""What a second stage may be."""
SIZES = {"vae": (WIDTH, DEPTH), "flow": (512, 4), "flow on maps": (64, 2)}
"""Width and depth of its networks, where none are given."""
FLOW = StageSettings(steps=4_000, batch_size=512, lr=1e-3, betas=(0.9, 0.99), schedule="cosine", warmup_steps=200, ema=0.999)
"""How a flow is trained."""


def second_sizes(kind: str, width: int | None, depth: int | None, prefix: str = "second_", *,
                 maps: bool = False) -> tuple[int, int]:
    """Width and depth of a second stage's networks; `maps` of codes have networks of their own. The door calls its arguments by
    `prefix`, too.

    Raises:
        ArgumentError: no such kind, or numbers that cannot work.
    """
    if kind not in KINDS:
        raise ArgumentError(f"{prefix.rstrip('_') or 'kind'} is {kind!r}; expected one of {', '.join(KINDS)}.")
    usual = SIZES.get(f"{kind} on maps" if maps else kind, SIZES.get(kind, SIZES["vae"]))
    return (whole_number(f"{prefix}width", usual[0] if width is None else width),
             whole_number(f"{prefix}depth", usual[1] if depth is None else depth))


def second_defaults(kind: str, vae: StageSettings) -> tuple[StageSettings, ...]:
    """Settings of the second stage's training; none of a mixture, which is fitted and not trained."""
    return {"vae": (vae,), "flow": (FLOW,), "mixture": ()}[kind]


def build_second(latent_dim: CodeShape, width: int, depth: int, *, kind: SecondKind = "vae", gamma: Gamma = "learned",
                 gamma_init: float = 1.0, classes: int | None = None,
                 condition_dim: int | None = None) -> models.VAE | models.FlowMatching | models.Mixture:
    """The second stage on codes z [k]: the VAE with latents u [k], a flow, or a mixture of Gaussians. A flow takes maps of codes,
    where `latent_dim` is (c, h, w), as maps; the others take them flat. Flow and mixture can be of `classes`, a flow of
    vectors."""
    k, maps = checked_latents(latent_dim)
    size = condition_size(classes, condition_dim)
    labels, dims = (size, 0) if condition_dim is None else (0, size)
    if kind == "flow":
        given = {"classes": labels, "condition_dim": dims}
        velocity = VelocityMaps(maps, width, depth, **given) if maps else VelocityNet(k, width, depth, **given)
        return models.FlowMatching(velocity, k)
    if dims:
        raise ArgumentError(f"condition_dim is {dims}, but a second stage of kind {kind!r} knows no vectors; choose the kind "
                            "'flow'.")
    if kind == "mixture":
        return models.Mixture(k, components="auto", classes=labels)
    if labels:
        raise ArgumentError(f"classes is {labels}, but the second VAE, which is the paper's, knows none; choose the kind 'flow' "
                            "or 'mixture'.")
    return models.VAE(SecondStageEncoder(k, k, width, depth), SecondStageDecoder(k, k, width, depth), data_shape=(k,),
                      latent_dim=k, gamma=gamma, gamma_init=gamma_init)


def source_of_codes(latents: Latents, device: torch.device, labels: Tensor | None = None) -> RowSource | PosteriorSource:
    """What a second stage is trained on: points, or fresh draws of posteriors, with their labels where it knows classes."""
    # the losses are in float32; the smallest float stands for a deviation of 0, whose logarithm is not finite
    latents = latents.to(device, torch.float32)
    if latents.std is None:
        return RowSource(latents.mean, device, labels)
    raw = latents.std.clamp_min(torch.finfo(torch.float32).tiny).log()
    return PosteriorSource(DiagonalGaussian(latents.mean, raw, "logstd"), labels)


def _codes(model: Any, source: ImagePass, device: torch.device) -> Latents:
    """The posteriors that the first stage has of a source's images (and their labels)."""
    posterior = PosteriorSource.of(model.first, source, device).posterior
    return Latents(posterior.mean, posterior.std)


def fit_mixture(second: nn.Module | None, codes: Callable[[], Latents], seed: int,
                labels: Tensor | None = None) -> dict[str, float]:
    """Fit a second stage that is a mixture: its size, and how likely it finds a code. Nothing of any other."""
    if not isinstance(second, models.Mixture):
        return {}
    second.seed = seed
    second.fit(codes(), labels)
    return {"components": len(second.weights), "log_likelihood": second.log_likelihood}


class TwoStageTraining:
    """How a model is trained on images or other data whose codes a second stage learns: `first`, then `second`, if it has one."""

    first: Any
    second: Any

    def _accept(self, data: Any) -> tuple[Any, dict[str, Any]]:
        images, described = super()._accept(data)  # type: ignore[misc]  # of the model that this is mixed into
        self._second_told(images)
        return images, described

    def _second_told(self, data: Images) -> Tensor | None:
        """What the second stage is told of each example: labels or vectors, where it knows such."""
        classes: int = getattr(self.second, "classes", 0)
        if classes and isinstance(data, ImageStream):
            raise ArgumentError(f"the second stage knows classes, and the labels of a {data.name}, which is read as training "
                                "goes, are not kept for it; pass materialize=True, or a set that is held in memory.")
        labels = conditions_of(self.second, data)
        if isinstance(self.second, models.Mixture) and labels is not None:
            enough_of_each(labels)  # before the first stage is trained
        return labels

    def _source(self, data: Images, device: torch.device) -> ImageSource | StreamSource:
        return source_of(data, device, condition=conditions_of(self.first, data))

    def _parts(self, data: Images, device: torch.device) -> list[Part]:
        source = self._source(data, device)
        parts: list[Part] = [("stage1", self.first, lambda: source)]
        if self.second is not None and not isinstance(self.second, models.Mixture):
            labels = self._second_told(data)
            parts.append(("stage2", self.second, lambda: PosteriorSource.of(self.first, source, device, labels=labels)))
        return parts

    def _conclude(self, data: Images, seed: int, device: torch.device) -> dict[str, float]:
        return fit_mixture(self.second, lambda: _codes(self, self._source(data, device), device), seed, self._second_told(data))


class SecondStage(Transformer, Model):
    """A second stage for any autoencoder: learns how its latents are distributed, and draws new ones.

    >>> second = vaefast.SecondStage(latent_dim=32)
    >>> second.fit((mu, std), epochs=200, batch_size=256, lr=1e-3)   # or .fit(latents)
    >>> images = your_decoder(second.sample(64))

    `fit` takes a tensor, array or data frame [N, k] of latents, or a tuple (mu, std) of the posteriors of a variational encoder,
    of which every batch then draws afresh, z = mu + std eps. Give posteriors where there are such: their means alone cover less
    than the decoder was trained on.

    Kinds: "vae" is that of Dai & Wipf (2019), section 4, with the paper's defaults (800 epochs, batches of 64), made for tens of
    thousands of latents. "flow" is a flow matched to the latents (`vaefast.models.FlowMatching`), 4,000 steps of 512: nearer to
    them in less time, with `log_prob`. "mixture" is a mixture of Gaussians (`vaefast.models.Mixture`), of as many components as
    held-out latents ask for; it has no u, and takes no settings of training.

    Scale: "flow" standardises the latents itself, and a mixture needs no scale. The networks and learning rates of "vae" are made
    for a VAE's latents, with standard deviations near 1, and nothing is standardised, as in the paper; where the mean standard
    deviation of a dimension lies outside 0.1 to 10, `fit` warns: divide the latents by it first, and multiply samples by it
    before they are decoded. So it does where the mean of a dimension lies more than 5 of these deviations from 0: subtract the
    means first, and add them to samples.

    Args:
        latent_dim: dimensions k of the latents, and of the second stage's u; or (c, h, w) of latents that are maps and given
            flat, of which "flow" makes use (its width and depth are then 64 and 2).
        kind: "vae", "flow" or "mixture".
        classes: of the labels that the latents are fitted with; samples are then of a class on request. A flow learns them all
            at once, and can be guided; a mixture has Gaussians of each class's own. "vae", which is the paper's, knows none.
        condition_dim: d, instead, of vectors [N, d] of real numbers that the latents are fitted with (`condition=`), of "flow"
            alone.
        gamma: of "vae", decoder noise: "learned", "optimal" or a number (see `vaefast.models.VAE`).
        gamma_init: first value of a learned gamma.
        width, depth: hidden layers of its networks; 1024 and 3 of "vae", 512 and 4 (residual blocks) of "flow" if None.

    Raises:
        ArgumentError: a value that cannot work. `fit` also: latents of another shape; DataError: NaN or infinity in them.

    Source: Dai & Wipf 2019, section 4; networks and sampling as in their code.
    """

    kind = "second-stage"
    holds_out = True
    defaults: tuple[StageSettings, ...] = (StageSettings(epochs=800),)

    def __init__(self, latent_dim: CodeShape, *, kind: SecondKind = "vae", classes: int | None = None,
                 condition_dim: int | None = None, gamma: Gamma = "learned", gamma_init: float = 1.0, width: int | None = None,
                 depth: int | None = None) -> None:
        super().__init__()
        _, maps = checked_latents(latent_dim)
        sizes = second_sizes(kind, width, depth, "", maps=maps is not None)
        self.second = build_second(latent_dim, *sizes, kind=kind, gamma=gamma, gamma_init=gamma_init,
                                   classes=classes, condition_dim=condition_dim)
        self.defaults = second_defaults(kind, StageSettings(epochs=800))
        self._settled = dict(zip(("width", "depth"), sizes))

    @property
    def classes(self) -> int:
        """Of the labels that it knows; 0: none."""
        return getattr(self.second, "classes", 0)

    @property
    def condition_dim(self) -> int:
        """Numbers of the vectors that it is told; 0: none."""
        return getattr(self.second, "condition_dim", 0)

    @property
    def latent_dim(self) -> int:
        """Dimensions k of a latent z."""
        return self.second.latent_dim

    def fit(self, data: Any, y: Any = None, *, condition: Any = None, **settings: Any) -> History:
        """Train on latents; see the class for what `data` may be, and `vaefast.VAE.fit` for `settings`. `condition`, or `y` as
        scikit-learn calls it, are the labels [N] of a second stage with classes, or vectors [N, d]; `y` is ignored by any other,
        as by scikit-learn's unsupervised estimators. A mixture is fitted: of the settings it takes out, device, seed and
        progress."""
        data = self._with_labels(data, y, condition)
        return self._fit_at_once(data, **settings) if isinstance(self.second, models.Mixture) else super().fit(data, **settings)

    def _labelled(self, data: Any, condition: Any) -> Latents:
        if not is_conditional(self):
            raise unknown_condition(condition)
        latents = as_latents(data, self.latent_dim)
        labels = (as_vectors(condition, len(latents), self.condition_dim, latents.mean, each=True) if self.condition_dim
                  else as_labels(condition, len(latents)))
        return Latents(latents.mean, latents.std, labels)

    def _with_condition(self, validation: Any, reading: Reading) -> Any:
        if is_conditional(self) and isinstance(validation, tuple) and len(validation) == 2:
            return self._labelled(*validation)
        return super()._with_condition(validation, reading)

    def _fit_at_once(self, data: Any, *, out: str | os.PathLike[str] | None = None, device: str | torch.device | None = "auto",
                     seed: int = 0, progress: bool = True, **settings: Any) -> History:
        if settings:
            raise ArgumentError(f"{', '.join(settings)} {'are settings' if len(settings) > 1 else 'is a setting'} of training; a "
                                "mixture is fitted, and takes out, device, seed and progress alone.")
        latents, _ = self._accept(data)
        require_seed(seed)
        chosen = resolve_device(device)
        refuse_float64(self, chosen)
        fitted = self._conclude(latents, seed, chosen)
        make_progress(progress).message(f"{fitted['components']} Gaussians, {fitted['log_likelihood']:.4g} nats a latent")
        if out is not None:
            self.save(out)
        return History()

    def _accept(self, data: Any) -> tuple[Latents, dict[str, Any]]:
        latents = as_latents(data, self.latent_dim)
        if self.condition_dim and latents.labels is None:
            raise DataError(f"this model is conditioned on vectors of {self.condition_dim} numbers; give them as condition=, "
                            f"[{len(latents)}, {self.condition_dim}].")
        if self.classes:
            checked_labels(latents.labels, self.classes, "the set of latents")
        if isinstance(self.second, models.VAE):
            self._warn_of_scale(latents)
        elif latents.mean.dtype == torch.float64:
            self._warn_of_digits(latents)
        return latents, {"name": "latents", "count": len(latents), "latent_dim": latents.dims,
                         "posteriors": latents.std is not None, "digest": latents.digest()}

    @staticmethod
    def _warn_of_scale(latents: Latents) -> None:
        scale = latents.scale()
        if not USUAL_SCALE[0] <= scale <= USUAL_SCALE[1]:
            warnings.warn(f"the latents have a mean standard deviation of {scale:.3g} in a dimension; the second stage expects "
                          f"about 1. Divide mu and std by {scale:.3g}, and multiply its samples by it.", stacklevel=5)
        means = latents.mean.double().mean(0)
        if float(offset := means.abs().amax()) > USUAL_OFFSET * scale:
            dimension = int(means.abs().argmax())
            warnings.warn(f"the latents have a mean of {float(means[dimension]):.3g} in dimension {dimension}, "
                          f"{f'{offset / scale:.3g} standard deviations' if scale else 'without any spread,'} from 0; the second "
                          "stage expects means near 0. Subtract the mean of each dimension from mu (std stays as it is), and add "
                          "it to its samples.", stacklevel=5)

    @staticmethod
    def _warn_of_digits(latents: Latents) -> None:
        mean, std = latents.moments()
        lost = (std > 0) & (mean.abs() * torch.finfo(torch.float32).eps > 1e-3 * std)
        if lost.any():
            dimension = int(lost.nonzero()[0])
            warnings.warn(f"the latents have a mean of {float(mean[dimension]):.3g} in dimension {dimension}, and vary by "
                          f"{float(std[dimension]):.3g} around it, which float32, in which samples are, hardly tells apart. "
                          "Subtract the mean of each dimension, and add it to samples in float64.", stacklevel=5)

    def _parts(self, data: Latents, device: torch.device) -> list[Part]:
        labels = data.labels if is_conditional(self) else None
        return [("stage2", self.second, lambda: source_of_codes(data, device, labels))]

    def _conclude(self, data: Latents, seed: int, device: torch.device) -> dict[str, float]:
        return fit_mixture(self.second, lambda: data.to(device), seed, data.labels if self.classes else None)

    def forward(self, z: Any, condition: Any = None) -> dict[str, Tensor]:
        """Loss terms of a batch of latents [B, k] for your own training loop: in nats per latent, or a flow's squared error, of a
        `condition` where it knows any."""
        if isinstance(self.second, models.Mixture):
            raise ArgumentError("the second stage is a mixture of Gaussians, which is fitted at once and has no loss; call fit, "
                                "or log_prob.")
        terms: dict[str, Tensor] = self.second(z, *told_each(self.second, condition, len(z)).values())
        return terms

    def encode(self, z: Tensor, condition: Any = None) -> Posterior | Tensor:
        """q(u|z) of latents [B, k]: `mean`, `std` and `sample()`, [B, k] each; of a flow u itself, [B, k], of a `condition` where
        it knows any: one for all, or one a latent; None: without."""
        if isinstance(self.second, models.Mixture):
            return latents_of(self.second, z)
        with evaluating(self.second):
            return self.second.encode(z, **told(self.second, condition))

    def decode(self, u: Tensor, condition: Any = None) -> Tensor:
        """z_hat(u), [B, k], without the noise gamma_z eps; of a flow what u is carried to, `condition` as of `encode`."""
        if isinstance(self.second, models.Mixture):
            raise ArgumentError("the second stage is a mixture of Gaussians, which has no latents u to decode; use sample(n).")
        with evaluating(self.second):
            return self.second.decode(u, **told(self.second, condition))

    def reconstruct(self, z: Tensor, condition: Any = None, generator: torch.Generator | None = None) -> Tensor:
        """Latents passed through the second stage, [B, k]: u ~ q(u|z), z_hat(u) + gamma_z eps; a flow's way back and forth, of a
        `condition` where it knows any."""
        return recode(self.second, z, condition, generator)

    def log_prob(self, z: Tensor, **options: Any) -> Tensor:
        """Log density of latents [B, k] in nats, [B]: of a mixture, or of a flow (`vaefast.models.FlowMatching.log_prob` has the
        `options`); of either, with classes, of those of a `condition`. A VAE has a bound alone."""
        if isinstance(self.second, models.VAE):
            raise ArgumentError("a second stage of kind 'vae' has no log density, only the bound that it is trained on; "
                                "kind='flow' and kind='mixture' have one.")
        return self.second.log_prob(z, **options)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log density of latents in nats, of a mixture or a flow, and of one that is conditioned given `y`; of a VAE the
        bound that it is trained on."""
        if isinstance(self.second, models.VAE):
            return super().score(X)
        held = self._labelled(X, y) if y is not None and is_conditional(self) else as_latents(X, self.latent_dim)
        generator = torch.Generator(self.device).manual_seed(0)
        latents = held.draw(torch.Generator(held.mean.device).manual_seed(0)).float().to(self.device)
        known = held.labels.to(self.device) if is_conditional(self) and held.labels is not None else None
        options = {"generator": generator} if isinstance(self.second, models.FlowMatching) else {}
        parts = [slice(i, i + ROWS) for i in range(0, len(latents), ROWS)]
        return float(torch.cat([self.log_prob(latents[part], condition=None if known is None else known[part], **options).float()
                                for part in parts]).mean())

    def sample(self, n: int, generator: torch.Generator | None = None, *, condition: Any = None, **options: Any) -> Tensor:
        """n latents, [n, k], on the model's device: z_hat(u) + gamma_z eps with u ~ N(0, I); a flow's (`steps`, `solver`,
        `guidance`) or a mixture's draws. With `condition` of a class, or of n of them."""
        return draw_codes(self.second, n, generator, condition=condition, **options)
