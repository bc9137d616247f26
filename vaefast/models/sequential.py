"""The Sequential VAE: a chain of steps, each of which draws the image of the one before it anew, with a code of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaefast import ops
from vaefast.errors import ArgumentError
from vaefast.models.doors import takes_codes, takes_images
from vaefast.models.draws import Draws
from vaefast.models.images import as_float, full_precision, in_dtype
from vaefast.models.posterior import DiagonalGaussian
from vaefast.nets.global_batch import own_rows, processes

KEPT, RAISED, NOISE = 0.9, 0.1, 0.1
"""Of the denoising input, on images in [-1, 1]: share of pixels that are not set to 0, share raised by 1, deviation."""
USUAL_BATCH = 100


class StepPosteriors(DiagonalGaussian):
    """q(z|x) of a whole chain, z = (z_1, ..., z_T): `steps` holds the Gaussian of each step."""

    def __init__(self, steps: Sequence[DiagonalGaussian]) -> None:
        super().__init__(torch.cat([q.mean for q in steps], 1), torch.cat([q.raw for q in steps], 1), steps[0].param)
        self.steps = tuple(steps)


def kl_between(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """KL(q || p) of Gaussians of the same shape in nats, [B]: that of q, seen in p's units, to N(0, I)."""
    return DiagonalGaussian((q.mean - p.mean) / p.std, q.log_std - p.log_std, "logstd").kl().sum(1)


class SequentialVAE(Draws, nn.Module):
    """x_1 = G_1(z_1), x_t = m_t G_t(x_{t-1}, z_t) + (1 - m_t) x_{t-1}, with z_t ~ q_t(z_t|x) in training and N(0, I) in sampling.

    Minimises, per image and in nats, sum_t [16 |x_t - x|^2 + c KL(q_t(z_t|x) || N(0, I))], the squared error of images in
    [-1, 1]: a Gaussian likelihood of deviation 0.177 at every step, without its constant. Every inference network sees x alone.
    A code of the model is that of all steps, z = (z_1, ..., z_T), so that it encodes and decodes like any other VAE.

    The networks normalise by the statistics of their batch, always. Codes and images are therefore taken in batches as large as
    those of the training (`batch`, kept with the weights), the last one filled up with codes of the prior, or images before it;
    fewer images than that are encoded with the statistics of these few.

    Args:
        encoders: modules x [B, C, H, W] in [0, 1] -> (mu, raw), [B, k_t] each, one a step. Where there are fewer than steps, the
            last one serves all steps from its own on.
        decoders: modules (z_t, x_{t-1}) -> (logits of the image, logits of its gate m_t or None), likewise; the first one is
            called with z_1 alone.
        data_shape: (C, H, W).
        steps: T.
        predictors: modules z_t -> (mu, raw) of a Gaussian for z_{t+1}, likewise, or none. Its divergence from q_{t+1} is added
            to the loss, without a weight; sampling scales and shifts the draw of N(0, I) for z_{t+1} by it.
        last_only: the reconstruction term is that of x_T alone, and gradients flow through the whole chain. Otherwise every
            step has one, and x_{t-1} is a constant to step t.
        denoise: in training, the inference networks see a damaged x.
        reconstruction_weight: of |x_t - x|^2 on [-1, 1].

    The buffer `kl_weight`, c above, is 1; a stage's `ramps` schedule it.

    Raises:
        ArgumentError: a setting has a value that cannot work.

    Source: Zhao, Song and Ermon 2017, "Towards Deeper Understanding of Variational Autoencoding Models", section 5, and their
    code.
    """

    infers: ClassVar[bool] = True
    """Whether the codes are inferred by networks, and have a density."""
    kl_weight: Tensor
    batch: Tensor

    def __init__(self, encoders: Sequence[nn.Module], decoders: Sequence[nn.Module], *, data_shape: tuple[int, int, int],
                 steps: int, predictors: Sequence[nn.Module] = (), last_only: bool = False, denoise: bool = False,
                 reconstruction_weight: float = 16.0) -> None:
        super().__init__()
        for name, modules, most in (("encoders", encoders, steps), ("decoders", decoders, steps),
                                    ("predictors", predictors, steps - 1)):
            least = 1 if name == "decoders" or (name == "encoders" and self.infers) else 0
            if not least <= len(modules) <= most:
                raise ArgumentError(f"there are {len(modules)} {name}; a chain of {steps} steps takes {least} to {most}.")
        if not 0 < reconstruction_weight < math.inf:
            raise ArgumentError(f"reconstruction_weight is {reconstruction_weight!r}; expected a number above 0.")
        self.encoders, self.decoders = nn.ModuleList(encoders), nn.ModuleList(decoders)
        self.predictors = nn.ModuleList(predictors)
        self.data_shape, self.num_steps, self.last_only, self.denoise = tuple(data_shape), steps, last_only, denoise
        self.reconstruction_weight, self.sync = float(reconstruction_weight), False
        self.register_buffer("kl_weight", torch.tensor(1.0), persistent=False)
        self.register_buffer("batch", torch.tensor(USUAL_BATCH))

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """Dimensions k_t of each step's code."""
        return tuple(_of(self.decoders, t).latent_dim for t in range(self.num_steps))

    @property
    def latent_dim(self) -> int:
        """Dimensions of a whole code (z_1, ..., z_T)."""
        return sum(self.latent_dims)

    # One step of the chain.

    def _posterior(self, t: int, x: Tensor) -> DiagonalGaussian:
        """q_t(z_t|x), t counted from 0, of images [B, C, H, W] in [0, 1]."""
        encoder = _of(self.encoders, t)
        mean, raw = encoder(in_dtype(x, self.kl_weight))
        return DiagonalGaussian(full_precision(mean), full_precision(raw), getattr(encoder, "scale_param", "logvar"))

    def _predicted(self, t: int, z: Tensor) -> DiagonalGaussian:
        """The predictor's Gaussian for the code of step t of that of the step before."""
        predictor = _of(self.predictors, t - 1)
        mean, raw = predictor(in_dtype(z, self.kl_weight))
        return DiagonalGaussian(full_precision(mean), full_precision(raw), getattr(predictor, "scale_param", "logvar"))

    def _step(self, t: int, z: Tensor | None, previous: Tensor | None) -> Tensor:
        """x_t [B, C, H, W] in [0, 1], t counted from 0."""
        decoder = _of(self.decoders, t)
        inputs = [t if t is None else in_dtype(t, self.kl_weight) for t in ((z,) if previous is None else (z, previous))]
        raw, gate = decoder(*inputs)
        image = torch.sigmoid(full_precision(raw))
        if gate is None:
            return image
        assert previous is not None
        return torch.lerp(previous, image, torch.sigmoid(full_precision(gate)))

    # Loss.

    @takes_images
    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the loss of a batch [B, C, H, W] (uint8, or float in [0, 1]) of 2 images or more, in nats per image.

        Returns scalars: `loss`; `reconstruction`, of the last step, and `kl`, of all steps; `kl_predicted`, of all predictors,
        if there are any, which has no weight, as in the authors' code; and `rec_1`, ..., `rec_T` and `kl_1`, ..., `kl_T`, of
        each step.
        """
        self._check_batch(x)
        if self.training:
            self.batch.fill_(len(x) * (processes() if self.sync else 1))
        seen = as_float(x, self.kl_weight.dtype)
        if self.denoise and self.training:
            seen = damaged(seen, generator)
        weight = 4 * self.reconstruction_weight  # errors are those of images in [0, 1]
        recs, kls, extra = [], [], []
        previous: Tensor | None = None
        z: Tensor | None = None
        for t in range(self.num_steps):
            posterior = self._posterior(t, seen)
            if self.predictors and z is not None:
                extra.append(kl_between(posterior, self._predicted(t, z)).mean())
            z, kl = posterior.sample_and_kl(generator)
            if previous is not None and not self.last_only:
                previous = previous.detach()
            previous = self._step(t, z, previous)
            recs.append(weight * ops.squared_error(x, previous).mean())
            kls.append(kl.mean())
        kl = torch.stack(kls).sum()
        reconstruction = recs[-1] if self.last_only else torch.stack(recs).sum()
        terms = {"loss": torch.addcmul(reconstruction, self.kl_weight, kl), "reconstruction": recs[-1], "kl": kl}
        if extra:
            terms["kl_predicted"] = torch.stack(extra).sum()
            terms["loss"] = terms["loss"] + terms["kl_predicted"]
        return terms | {f"rec_{t}": rec for t, rec in enumerate(recs, 1)} | {f"kl_{t}": kl for t, kl in enumerate(kls, 1)}

    forward = loss

    # Codes and images.

    @takes_images
    def encode(self, x: Tensor) -> StepPosteriors:
        """q(z|x) of images [B, C, H, W] (uint8, or float in [0, 1]), B of 2 or more: `mean`, `std` and `sample()`, [B, k] each;
        `steps` holds the Gaussian of each step."""
        self._check_batch(x)
        parts = self._batches(in_dtype(x, self.kl_weight), self._encode_batch)
        ks, params = self.latent_dims, [getattr(_of(self.encoders, t), "scale_param", "logvar") for t in range(self.num_steps)]
        return StepPosteriors([DiagonalGaussian(mean, raw, param) for mean, raw, param in
                               zip(parts[0].split(ks, 1), parts[1].split(ks, 1), params)])

    def _encode_batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if len(self.encoders) == self.num_steps:
            posteriors = [self._posterior(t, x) for t in range(self.num_steps)]
        else:  # the last one serves several steps, with one result
            posteriors = [self._posterior(t, x) for t in range(len(self.encoders))]
            posteriors += posteriors[-1:] * (self.num_steps - len(posteriors))
        return torch.cat([q.mean for q in posteriors], 1), torch.cat([q.raw for q in posteriors], 1)

    def prior(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n codes of all steps, [n, k], on the model's device: N(0, I), which predictors scale and shift for later steps."""
        if not self.predictors:
            return self._noise(n, generator)
        size = int(self.batch)
        noise = self._noise(-(-n // size) * size, generator)  # whole batches, as the predictors go by their statistics
        return self._batches(noise, lambda u: (self._predict_batch(u),))[0][:n]

    def _predict_batch(self, noise: Tensor) -> Tensor:
        first, *later = noise.split(self.latent_dims, 1)
        codes = [first]
        for t, eps in enumerate(later, 1):
            p = self._predicted(t, codes[-1])
            codes.append(p.mean + p.std * eps)
        return torch.cat(codes, 1)

    @takes_codes
    def decode(self, z: Tensor) -> Tensor:
        """The last step's images [B, C, H, W] in [0, 1] of codes [B, k]. The same code gives slightly different images in
        different batches."""
        return self._decode(z, lambda codes: self._chain(codes)[-1])

    @takes_codes
    def decode_steps(self, z: Tensor) -> Tensor:
        """Images of all steps, [T, B, C, H, W] in [0, 1], of codes [B, k]."""
        return self._decode(z, lambda codes: torch.stack(self._chain(codes), 1)).transpose(0, 1)

    @takes_images
    def reconstruct(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The last step's images of a code drawn for each image [B, C, H, W]; B of 2 or more."""
        return self.decode(self.encode(x).sample(generator))

    @takes_images
    def reconstruct_steps(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The images of all steps, [T, B, C, H, W] in [0, 1], of a code drawn for each image; B of 2 or more."""
        return self.decode_steps(self.encode(x).sample(generator))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """The last step's images of n codes of the prior, [n, C, H, W] in [0, 1]."""
        return self.decode(self.prior(n, generator))

    def steps(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """The images of all steps of n codes of the prior, [T, n, C, H, W] in [0, 1]."""
        return self.decode_steps(self.prior(n, generator))

    def _chain(self, z: Tensor) -> list[Tensor]:
        """x_1, ..., x_T of codes that are a batch."""
        images: list[Tensor] = []
        for t, code in enumerate(z.split(self.latent_dims, 1)):
            images.append(self._step(t, code, images[-1] if images else None))
        return images

    def _noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        like = self.kl_weight
        return torch.randn(n, self.latent_dim, generator=generator, device=like.device, dtype=like.dtype)

    # Batches as large as those of the training.

    def _decode(self, z: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise ArgumentError(f"z has shape {list(z.shape)}; expected [B, {self.latent_dim}], the codes of all "
                                f"{self.num_steps} steps.")
        z = in_dtype(z, self.kl_weight)
        count, lacking = len(z), int(self.batch) - len(z)
        if lacking > 0:  # the same codes every time
            z = torch.cat([z, self.prior(lacking, torch.Generator(z.device).manual_seed(0)).to(z.dtype)])
        return self._batches(z, lambda codes: (run(codes),))[0][:count]

    def _batches(self, rows: Tensor, run: Callable[[Tensor], tuple[Tensor, ...]]) -> list[Tensor]:
        """What `run` makes of the rows, batch by batch; the last one takes in rows before it, to be as large as the others."""
        size = int(self.batch)
        if len(rows) <= size:
            return list(run(rows))
        batches = []
        for start in range(0, len(rows), size):
            first = min(start, len(rows) - size)
            batches.append([part[start - first:] for part in run(rows[first:first + size])])
        return [torch.cat(parts) for parts in zip(*batches)]

    def _check_batch(self, x: Tensor) -> None:
        if len(x) < 2:
            raise ArgumentError(f"x has shape {list(x.shape)}; expected [B, {', '.join(map(str, self.data_shape))}] with B of 2 "
                                "or more: the networks normalise by their batch.")


def damaged(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Images in [0, 1] as the denoising variant sees them: on [-1, 1], a tenth of all values set to 0, another tenth raised by 1,
    and normal noise of deviation 0.1 added; clipped.

    Source: the authors' code, option `denoise_train`.
    """
    def draw(kind: Callable[..., Tensor]) -> Tensor:
        return own_rows(x, lambda shape: kind(shape, generator=generator, device=x.device, dtype=x.dtype))

    signed = (2 * x - 1) * (draw(torch.rand) < KEPT) + (draw(torch.rand) < RAISED) + NOISE * draw(torch.randn)
    return (0.5 * (signed + 1)).clamp(0, 1)


def _of(modules: nn.ModuleList, t: int) -> Any:
    """The module of step t, counted from 0: the last one for all steps from its own on."""
    return modules[min(t, len(modules) - 1)]
