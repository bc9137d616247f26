"""Images drawn from a trained model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor

from vaefast import api
from vaefast.errors import ArgumentError
from vaefast.experiments.scoring.codes import Aggregate, infers
from vaefast.models import Mixture
from vaefast.models.condition import conditions_for, told
from vaefast.models.draws import Sampler, best_sampler
from vaefast.models.flow_matching import FlowMatching, checked_guidance
from vaefast.pixel_values import as_levels

SAMPLERS = ("prior", "mixture", "second")
"""Where codes come from: N(0, I), a Gaussian mixture fitted to q(z) of the training images, or the second stage."""
COMPONENTS = 10
"""Of the mixture."""


def sampling_seed(seed: int) -> int:
    """Seed of the samples that a run of `seed` draws: its pictures, its score curve. The next one, so that they do not repeat the
    noise of the training; 1 for the default seed 0."""
    return seed + 1


def image_sampler(model: api.ImageModel, name: str | None = None, codes: Callable[[], Aggregate] | None = None,
                  seed: int = 0) -> Sampler:
    """The way of drawing images called `name`: one of the model's own (`samplers`; the best where none is named), or "mixture".

    Args:
        codes: gives the codes of the training images, to which a Gaussian mixture is fitted: one a class, of a model whose
            decoder is conditioned.
        seed: of that fit.

    Raises:
        ArgumentError: the model has no such sampler.
    """
    samplers = model.samplers()
    if name is None or name in samplers:
        return best_sampler(model) if name is None else samplers[name]
    if name == "mixture" and codes is not None and infers(model):
        encoded = codes()
        mixture = Mixture(model.latent_dim, COMPONENTS, seed=seed, classes=0 if encoded.labels is None else model.first.classes)
        draw = mixture.fit(encoded.codes, encoded.labels).sample

        def images(n: int, generator: torch.Generator) -> Tensor:
            classes = conditions_for(model.first, n, None, generator)
            return model.decode(draw(n, generator, condition=classes), generator, **told(model.first, classes))

        return images
    has = [known for known in SAMPLERS if known in samplers or known == "mixture" and model.infers]
    raise ArgumentError(f"sampler is {name!r}; a {model.kind} model{'' if model.encodes else ', which has no encoder,'} has "
                        f"{', '.join(has)}.")


def class_sampler(model: Any, condition: Sequence[int] | None = None, guidance: float | None = None) -> Sampler:
    """Draws images of the classes of `condition` in turn, from one call to the next (None: of classes by their shares of the
    training data), with `guidance` of a flow.

    Raises:
        ArgumentError: the model knows no classes, or has no guidance.
    """
    if not getattr(model, "classes", 0):
        asked = [*([] if condition is None else [f"condition is {', '.join(map(str, condition))}"]),
                 *([] if guidance is None else [f"guidance is {guidance}"])]
        raise ArgumentError(f"{' and '.join(asked)}, but this model knows no classes; train one with condition='labels'.")
    options = {} if guidance is None else {"guidance": guidance}
    if options:
        if not isinstance(getattr(model, "second", None), FlowMatching):
            raise ArgumentError(f"guidance is for a second stage that is a flow; this {model.kind} model has none.")
        checked_guidance(guidance)
    if condition is None:
        return lambda n, generator: model.sample(n, generator, **options)
    turns = cycle(condition)
    return lambda n, generator: model.sample(n, generator, condition=list(islice(turns, n)), **options)


def known_classes(model: Any) -> list[int]:
    """The classes, of those that the model knows, of which there were examples in its training data."""
    for part in (getattr(model, "second", None), getattr(model, "first", None)):
        if isinstance(part, Mixture) and part.classes:
            return part.component_class.unique().tolist()
        if (shares := getattr(part, "shares", None)) is not None:
            return shares.nonzero()[:, 0].tolist()
    return list(range(model.classes))


def scored_samplers(model: Any, guidance: float | None = None) -> dict[str, tuple[Sampler, int]]:
    """The kinds of a model's samples that are scored -> how each is drawn, and what its seed adds to the evaluation's: those of
    its stages, and with `guidance` the last one's guided, from the same noise.

    Raises:
        ArgumentError: guidance of a model that has none.
    """
    stages = {f"stage{stage}": (draw, stage) for stage, draw in enumerate(model.samplers().values(), start=1)}
    return stages if guidance is None else {**stages, "guided": (class_sampler(model, guidance=guidance), len(stages))}


@torch.no_grad()
def sample_images(model: api.ImageModel, draw: Sampler, n: int, *, seed: int = 0, batch_size: int = 1000) -> Tensor:
    """n images that `draw` gives, as uint8 [n, C, H, W] on the CPU, drawn in batches on the model's device."""
    generator = torch.Generator(model.device).manual_seed(seed)
    sizes = [min(batch_size, n - start) for start in range(0, n, batch_size)]
    return torch.cat([to_uint8(draw(size, generator)) for size in sizes])


def to_uint8(x: Tensor) -> Tensor:
    """Images in [0, 1] as uint8 on the CPU, rounded to the nearest level."""
    return as_levels(x).cpu()
