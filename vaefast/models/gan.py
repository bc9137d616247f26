"""Generative adversarial networks: a generator, a discriminator, and what each minimises."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models.condition import as_classes
from vaefast.models.doors import no_loss, readable, takes_codes, takes_images
from vaefast.models.draws import Draws
from vaefast.models.gan_losses import LOSSES
from vaefast.models.gradient_penalty import PENALTIES, gradient_penalty
from vaefast.models.images import as_float, full_precision, gives_logits, in_dtype
from vaefast.models.player import COMPILED, Player, trainable
from vaefast.nets.global_batch import global_mean, own_rows
from vaefast.nets.layers import in_parts
from vaefast.nets.own import own_network
from vaefast.nets.shapes import whole_number

Order = Literal["dg", "dgd"]
ORDERS: tuple[Order, ...] = get_args(Order)
Codes = Literal["uniform", "normal"]
CODES: tuple[Codes, ...] = get_args(Codes)
PENALTY_WEIGHT = 10.0

Net = Callable[[Tensor], Tensor]


class GAN(Draws, nn.Module):
    """A generator G and a discriminator D, trained against each other.

    A plain `nn.Module`: `discriminator_loss(x)` and `generator_loss(x)` return each one's loss and terms, and give gradients to
    its own network alone; `players()` says to the engine how they take turns.

    Args:
        generator: module code [B, latent_dim] -> logits or image [B, *image_shape]; its attribute `output` says which ("logits":
            of the image in [0, 1]; "image", which is taken if it has none), `image_range` in what range its images lie.
        discriminator: module image -> logit [B, 1]; for "began" image -> its reconstruction. With an attribute `rowwise` (see
            `vaefast.nets`) it is given real and fake images in one pass, which is faster and means the same.
        image_shape: shape of one example, such as (3, 64, 64); (2,) for points of the plane, scaled to [0, 1] as images are.
        latent_dim: k.
        classes: number of classes; None for none. Both networks are called with labels [B], int64 from 0 to classes - 1, too, and
            a fake, or what is penalised, has the label of the image beside it. Not for "began".
        loss: one of `models.gan_losses.LOSSES`: mm, ns, lsgan, wgan, wgan-gp, dragan, began, hinge, relativistic.
        penalty: of `models.gradient_penalty.PENALTIES`: none, gp, dragan, dragan-v3, r1; None for the one that belongs to the
            loss (gp to wgan-gp, dragan to dragan).
        lambda_: weight of the penalty; a buffer, which a stage's `ramps` can schedule.
        weight_penalty: times the mean over D's weight matrices and kernels W of |W|^2 / 2.
        disc_iters: discriminator steps a generator step: G has its turn in the first iteration and in every `disc_iters`-th.
        order: of the turns in an iteration: "dg", or "dgd", in which D comes once more, on the same images.
        same_z: whether G's step takes the codes of the D step before it (then both share one pass through G); None: as the
            loss's authors do ("dg": all but wgan-gp; "dgd": none).
        z: how codes are drawn: "uniform" in [-1, 1]^k or "normal", N(0, I).
        image_range: in what range D sees images, (0, 1) or (-1, 1); None for G's. Images that are given and returned are in
            [0, 1] (or uint8) either way.
        began_lambda, began_gamma: step of k_t, and the ratio of errors E(fake) / E(real) it keeps ("began").
        began_clip: keep k_t in [0, 1], as the paper says (Berthelot et al. 2017, section 3.3) and Lucic et al.'s code does not.

    Raises:
        ArgumentError: a setting has a value that cannot work.

    Source: Lucic et al. 2018, "Are GANs Created Equal?", table 1 and their code (compare_gan, v1). Real, fake and penalised
    images pass D separately, each with batch statistics of its own.
    """

    lambda_: Tensor
    k_t: Tensor

    def __init__(self, generator: nn.Module, discriminator: nn.Module, *, image_shape: tuple[int, ...], latent_dim: int,
                 classes: int | None = None, loss: str = "ns", penalty: str | None = None, lambda_: float = PENALTY_WEIGHT,
                 weight_penalty: float = 0.0, disc_iters: int = 1, order: str = "dg", same_z: bool | None = None,
                 z: str = "uniform", image_range: tuple[float, float] | None = None, began_lambda: float = 1e-3,
                 began_gamma: float = 0.75, began_clip: bool = False) -> None:
        super().__init__()
        for name, value, known in (("loss", loss, LOSSES), ("order", order, ORDERS), ("z", z, CODES)):
            if value not in known:
                raise ArgumentError(f"{name} is {value!r}; expected one of {', '.join(known)}.")
        self.loss_name, self.losses = loss, LOSSES[loss]
        self.classes = None if classes is None else whole_number("classes", classes)
        if self.classes is not None and self.losses.reconstructs:
            raise ArgumentError(f"classes is {classes}; {loss.upper()}'s discriminator, an autoencoder, says nothing of classes: "
                                "choose another loss, or leave them out.")
        self.penalty = self.losses.penalty if penalty is None else penalty
        if self.penalty not in PENALTIES:
            raise ArgumentError(f"penalty is {penalty!r}; expected one of {', '.join(PENALTIES)}, or None for the loss's own.")
        kind = PENALTIES[self.penalty]
        if self.losses.reconstructs and kind is not None and kind.of_probability:
            raise ArgumentError(f"penalty {self.penalty!r} is of probabilities, of which {loss.upper()} has none; take gp, "
                                "dragan-v3 or r1.")
        for name, number in (("lambda_", lambda_), ("weight_penalty", weight_penalty), ("began_lambda", began_lambda),
                             ("began_gamma", began_gamma)):
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < math.inf:
                raise ArgumentError(f"{name} is {number!r}; expected a number of 0 or more.")
        own_range = getattr(generator, "image_range", (0, 1))
        image_range = own_range if image_range is None else image_range
        for pixel_range in (own_range, image_range):
            if tuple(pixel_range) not in ((0, 1), (-1, 1)):
                raise ArgumentError(f"image_range is {pixel_range!r}; expected (0, 1) or (-1, 1).")
        told = self.classes is not None
        self.generator = own_network("generator", generator, told)
        self.discriminator = own_network("discriminator", discriminator, told)
        self.image_shape, self.latent_dim = tuple(image_shape), whole_number("latent_dim", latent_dim)
        self.disc_iters, self.order, self.z = whole_number("disc_iters", disc_iters), order, z
        self.same_z = (self.losses.same_z and order == "dg") if same_z is None else bool(same_z)
        self.image_range = (float(image_range[0]), float(image_range[1]))
        self.weight_penalty, self.began_lambda, self.began_gamma = float(weight_penalty), began_lambda, began_gamma
        self.began_clip = bool(began_clip)
        self.register_buffer("lambda_", torch.tensor(float(lambda_)), persistent=False)
        self.register_buffer("k_t", torch.zeros(()), persistent=self.losses.balanced)
        self._turns = _Turns(self)
        self._labels: Tensor | None = None

    def players(self) -> list[Player]:
        """"discriminator", then "generator" on the same images, in every `disc_iters`-th iteration; with classes their losses
        take labels after the images."""
        turns = self._turns
        turns.moved = list(trainable(self.generator).values())
        first = Player("discriminator", trainable(self.discriminator), turns.discriminator, compiled=turns.compiled_discriminator)
        second = Player("generator", trainable(self.generator), turns.generator, new_batch=False, every=self.disc_iters,
                        compiled=turns.compiled_generator)
        if self.classes is not None:
            first, second = self._with_labels(first), self._with_labels(second)
        return [first, second, *([replace(first, new_batch=False, every=self.disc_iters)] if self.order == "dgd" else [])]

    def finish_iteration(self, x: Tensor, labels: Tensor | None = None) -> None:
        """What the engine calls after the turns of an iteration, with its images (and labels): moves k_t."""
        codes = self._turns.end()
        if self.losses.balanced:
            self.balance(x, torch.cat(codes))

    # Labels: those at hand go to whichever network is called, and so into every loss and penalty.

    def labels_for(self, n: int) -> Tensor | None:
        """Labels 0, 1, ..., classes - 1, 0, ... of n samples, [n]; None where the model has no classes."""
        return None if self.classes is None else torch.arange(n, device=self.lambda_.device) % self.classes

    def _with_labels(self, player: Player) -> Player:
        compiled = player.compiled
        assert compiled is not None
        return replace(player, loss=self._labelled(player.loss), compiled=lambda: self._labelled(compiled()))

    def _labelled(self, loss: Callable[[Tensor], dict[str, Tensor]]) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
        def call(x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            with self._given(labels):
                return loss(x)
        return call

    @contextmanager
    def _given(self, labels: Tensor | None) -> Iterator[None]:
        """The labels of what G makes and D judges inside."""
        if (labels is None) != (self.classes is None):
            raise ArgumentError("this model has no classes, but labels were given; leave them out." if self.classes is None else
                                f"this model has {self.classes} classes; give it the labels [B], too.")
        self._labels = labels
        try:
            yield
        finally:
            self._labels = None

    def _at_the_door(self, labels: Any, n: int) -> Any:
        """Labels of n examples that a user gave, looked at where values can be."""
        if self.classes is None or isinstance(labels, Tensor) and not readable(labels, self):
            return labels
        return as_classes(labels, n, self.classes, self.lambda_.device, "labels")

    def _conditioned(self, net: Callable[..., Tensor]) -> Net:
        """`net` with the labels at hand; twice as many images are two batches of the same labels."""
        labels = self._labels
        if labels is None:
            return net
        count = labels.shape[0]  # of torch.export's symbols len() would make numbers
        return lambda x: net(x, labels if x.shape[0] == count else labels.repeat(x.shape[0] // count))

    # Codes and images.

    def prior(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n codes, [n, latent_dim], on the model's device."""
        like, shape = self.lambda_, (n, self.latent_dim)
        if self.z == "normal":
            return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
        return torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype).mul_(2).sub_(1)

    def codes_for(self, x: Tensor) -> Tensor:
        """A code for each of x, [B, latent_dim]; other ones in each process of a distributed run."""
        like = torch.empty(len(x), self.latent_dim, device="meta")
        return own_rows(like, lambda shape: self.prior(shape[0]))

    @takes_codes
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [B, *image_shape] of codes [B, latent_dim], in [0, 1] (as far as the generator keeps to its range); of labels
        [B], or of `labels_for(B)`, if the model has classes."""
        with self._given(self.labels_for(z.shape[0]) if labels is None else self._at_the_door(labels, z.shape[0])):
            return self._as_given(self.generate(z))

    def sample(self, n: int, generator: torch.Generator | None = None, *, labels: Tensor | None = None) -> Tensor:
        """n images, [n, *image_shape] in [0, 1]; see `decode`."""
        return self.decode(self.prior(n, generator), labels)

    def generate(self, z: Tensor, net: Net | None = None) -> Tensor:
        """Images [B, *image_shape] of codes in `image_range`, as D sees them; `net` is called in G's place."""
        net = self._conditioned(self.generator if net is None else net)
        raw = full_precision(net(in_dtype(z, self.lambda_)))
        if gives_logits(self.generator):
            return self._as_seen(torch.sigmoid(raw))
        own_range = getattr(self.generator, "image_range", (0, 1))
        return raw if tuple(own_range) == self.image_range else self._as_seen(_rescaled(raw, own_range, (0, 1)))

    def judge(self, x: Tensor, net: Net | None = None) -> Tensor:
        """The scores of images [B, *image_shape] in `image_range`, [B], by what D says of them (`Loss.scores`): logits, or errors
        of its reconstructions. `net` is called in D's place."""
        net = self._conditioned(self.discriminator if net is None else net)
        return self.losses.scores(full_precision(net(x)), x)

    def _judge_both(self, real: Tensor, fake: Tensor, net: Net | None) -> tuple[Tensor, Tensor]:
        if not getattr(self.discriminator, "rowwise", False) or len(real) != len(fake):
            return self.judge(real, net), self.judge(fake, net)
        with in_parts(self.discriminator, 2):
            a, b = self.judge(torch.cat([real, fake]), net).chunk(2)
        return a, b

    def _as_seen(self, x: Tensor) -> Tensor:
        return _rescaled(as_float(x, self.lambda_.dtype), (0, 1), self.image_range)

    def _as_given(self, x: Tensor) -> Tensor:
        return _rescaled(x, self.image_range, (0, 1))

    # Losses.

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Not one: there is a loss for each of the players."""
        raise no_loss(self, "discriminator_loss(images) and generator_loss(images) for those of its two players")

    @takes_images
    def discriminator_loss(self, x: Tensor, z: Tensor | None = None, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms of D's loss of images [B, *image_shape] (uint8, or in [0, 1]) and as many fakes, of codes z or drawn; with
        labels [B] where the model has classes.

        Returns scalars `loss` (with gradient to D alone) and, detached: `penalty` and `weight_penalty`, where there are some;
        `real` and `fake`, the means of what D says; `accuracy`, the share of both that it tells right, where the loss has a
        boundary; where it is balanced `k_t` and `convergence` E(real) + |gamma E(real) - E(fake)|.
        """
        with self._given(self._at_the_door(labels, len(x))):
            with torch.no_grad():
                fake = self.generate(self.codes_for(x) if z is None else z)
            return self.discriminator_terms(x, fake)

    @takes_images
    def generator_loss(self, x: Tensor, z: Tensor | None = None, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms of G's loss of as many fakes as there are images x [B, *image_shape] (uint8, or in [0, 1]); with labels [B] where
        the model has classes.

        Returns scalars `loss` (with gradient to G alone) and, detached, `diversity`: the standard deviation over the batch of
        the fakes, mean over pixels, divided by that of the images. Near 0 all fakes are the same.
        """
        with self._given(self._at_the_door(labels, len(x))):
            return self.generator_terms(x, self.generate(self.codes_for(x) if z is None else z))

    def discriminator_terms(self, x: Tensor, fake: Tensor, net: Net | None = None) -> dict[str, Tensor]:
        """`discriminator_loss` of given fakes (in `image_range`); `net` is called in D's place but for gradient penalties."""
        real, fake = self._as_seen(x), fake.detach()
        a, b = self._judge_both(real, fake, net)
        loss = self.losses.discriminator(a, self.k_t * b if self.losses.balanced else b)
        terms: dict[str, Tensor] = {}
        if self.penalty != "none":
            terms["penalty"] = gradient_penalty(self.penalty, self.judge, real, fake, self.image_range)
            loss = torch.addcmul(loss, self.lambda_, terms["penalty"])
        if self.weight_penalty:
            weights = [p for p in self.discriminator.parameters() if p.ndim > 1]
            terms["weight_penalty"] = 0.5 * torch.stack([w.square().sum() for w in weights]).mean()
            loss = loss + self.weight_penalty * terms["weight_penalty"]
        with torch.no_grad():
            terms |= {"real": a.mean(), "fake": b.mean()}
            if self.losses.boundary is not None:
                right = (a > self.losses.boundary).to(a.dtype).mean() + (b < self.losses.boundary).to(b.dtype).mean()
                terms["accuracy"] = 0.5 * right
            if self.losses.balanced:
                imbalance = self._imbalance(terms["real"], terms["fake"])
                terms |= {"k_t": self.k_t.clone(), "convergence": terms["real"] + imbalance.abs()}
        return {"loss": loss} | {name: term.detach() for name, term in terms.items()}

    def generator_terms(self, x: Tensor, fake: Tensor, net: Net | None = None) -> dict[str, Tensor]:
        """`generator_loss` of given fakes (in `image_range`); `net` is called in D's place."""
        real = self._as_seen(x)
        with _requiring_grad(self.discriminator.parameters(), False):
            if self.losses.paired:
                with torch.no_grad():
                    a = self.judge(real, net)
                loss = self.losses.generator(a, self.judge(fake, net))
            else:
                loss = self.losses.generator(self.judge(fake, net))
        with torch.no_grad():
            spread = [images.std(0, correction=0).mean() for images in (fake, real)]
            diversity = spread[0] / spread[1].clamp_min(torch.finfo(real.dtype).tiny)
        return {"loss": loss, "diversity": diversity}

    @torch.no_grad()
    def balance(self, x: Tensor, z: Tensor | None = None) -> None:
        """k_t += lambda (gamma E(real) - E(fake)), of the networks as they are."""
        real, fake = self.judge(self._as_seen(x)), self.judge(self.generate(self.codes_for(x) if z is None else z))
        self.k_t.add_(self.began_lambda * global_mean(self._imbalance(real.mean(), fake.mean())))
        if self.began_clip:
            self.k_t.clamp_(0, 1)

    def _imbalance(self, real: Tensor, fake: Tensor) -> Tensor:
        return self.began_gamma * real - fake


class _Turns:
    """The losses as the engine's turns call them: with `same_z`, the fakes of D's turn wait, with their graph, for G's."""

    def __init__(self, gan: GAN) -> None:
        self.gan = gan
        self.moved: list[nn.Parameter] = []  # G's, which the engine holds fast in D's turn
        # one for each part of a batch that is sent through in parts
        self.waiting: list[Tensor] = []
        self.codes: list[Tensor] = []

    def end(self) -> list[Tensor]:
        """Forget what waits; the iteration's codes."""
        codes, self.waiting, self.codes = self.codes, [], []
        return codes

    def discriminator(self, x: Tensor, g: Net | None = None, d: Net | None = None) -> dict[str, Tensor]:
        """D's turn."""
        z = self.gan.codes_for(x)
        self.codes.append(z)
        if self.gan.same_z:
            with _requiring_grad(self.moved, True):
                fake = self.gan.generate(z, g)
            self.waiting.append(fake)
        else:
            with torch.no_grad():
                fake = self.gan.generate(z, g)
        return self.gan.discriminator_terms(x, fake, d)

    def generator(self, x: Tensor, g: Net | None = None, d: Net | None = None) -> dict[str, Tensor]:
        """G's turn."""
        fake = self.waiting.pop(0) if self.waiting else self.gan.generate(self.gan.codes_for(x), g)
        return self.gan.generator_terms(x, fake, d)

    def compiled_discriminator(self) -> Callable[..., dict[str, Tensor]]:
        """D's turn with compiled networks; a penalty's second derivatives are of the network as it is."""
        g, d = self._compiled()
        return lambda x: self.discriminator(x, g, d)

    def compiled_generator(self) -> Callable[..., dict[str, Tensor]]:
        """G's turn with compiled networks."""
        g, d = self._compiled()
        return lambda x: self.generator(x, g, d)

    def _compiled(self) -> tuple[Net, Net]:
        return torch.compile(self.gan.generator, **COMPILED), torch.compile(self.gan.discriminator, **COMPILED)


@contextmanager
def _requiring_grad(parameters: Iterable[nn.Parameter], value: bool) -> Iterator[None]:
    """Parameters with or without gradients, inside."""
    changed = [p for p in parameters if p.requires_grad != value]
    for p in changed:
        p.requires_grad_(value)
    try:
        yield
    finally:
        for p in changed:
            p.requires_grad_(not value)


def _rescaled(x: Tensor, old: tuple[float, float], new: tuple[float, float]) -> Tensor:
    """x from one range to another, (0, 1) or (-1, 1)."""
    if tuple(old) == tuple(new):
        return x
    return 2 * x - 1 if tuple(new) == (-1, 1) else 0.5 * (x + 1)
