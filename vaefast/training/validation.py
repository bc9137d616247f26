"""The loss of a stage on data that it is not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.models.doors import inside
from vaefast.models.player import players_of
from vaefast.training.sources import Source

PREFIX = "validation/"
"""What the names of held-out terms begin with."""
LOSS = f"{PREFIX}loss"


class HeldOut:
    """The terms of a stage's loss on held-out data, by name, as means over the examples; called in eval mode, as scores are.

    `elbo` stands beside them where the terms are `reconstruction` and `kl` of a likelihood, in nats an example, and, for images,
    `bits_per_dimension`, -elbo in bits a pixel value (`vaefast.metrics.bits_per_dimension`).

    Args:
        module: of the stage; of several players the first one's loss is taken.
        source: makes the held-out data, when they are first wanted: a second stage's come from the trained first one.
        batch_size: the most at a time.
        device: where training happens.
        seed: of the noise in the loss, so that two calls differ by the weights alone.
    """

    def __init__(self, module: nn.Module, source: Callable[[], Source], batch_size: int, device: torch.device, seed: int) -> None:
        self.module, self.make, self.batch_size, self.device, self.seed = module, source, batch_size, device, seed

    @cached_property
    def source(self) -> Any:
        """The held-out data."""
        return self.make()

    def __call__(self) -> dict[str, float]:
        torch.manual_seed(self.seed)
        loss, sums, count = players_of(self.module)[0].loss, dict[str, float](), 0
        for raw in self._batches():
            batch = self.source.ready(tuple(t.to(self.device) for t in raw))
            with inside():
                terms = loss(*batch)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(raw[0])
            count += len(raw[0])
        means = {name: value / count for name, value in sums.items()}
        return {PREFIX + name: value for name, value in (means | self._bound(means)).items()}

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        source = self.source
        if not hasattr(source, "raw"):  # a stream
            yield from source.one_pass(self.batch_size)
            return
        # parts as even as can be: a last one of a single example is no batch to every loss
        count = len(source)
        for index in torch.arange(count, device=source.device).tensor_split(math.ceil(count / self.batch_size)):
            yield source.raw(index)

    def _bound(self, terms: dict[str, float]) -> dict[str, float]:
        if not {"reconstruction", "kl"} <= terms.keys() or getattr(self.module, "likelihood", "squared") == "squared":
            return {}
        elbo, shape = -terms["reconstruction"] - terms["kl"], getattr(self.module, "data_shape", ())
        if len(shape) != 3:
            return {"elbo": elbo}
        from vaefast.metrics.likelihood_bound import bits_per_dimension  # where it is needed: scores take long to import

        return {"elbo": elbo, "bits_per_dimension": bits_per_dimension(elbo, math.prod(shape), str(self.module.likelihood))}
