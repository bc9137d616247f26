"""Chains z ~ q(z|x), x ~ p(x|z): how models whose codes are not those of the prior are sampled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.models.condition import conditions_for, told
from vaefast.models.doors import as_examples, inside
from vaefast.models.images import as_float
from vaefast.models.mode import evaluating

BATCH = 500


@torch.no_grad()
def chain(model: Any, n: int, steps: int, start: str = "noise", *, data: Tensor | None = None, pixel_noise: bool = False,
          keep: str = "last", generator: torch.Generator | None = None, batch_size: int = BATCH, condition: Any = None) -> Tensor:
    """n chains of `steps` transitions each: z ~ q(z|x), then x from p(x|z).

    Where p(x|z) equals q(x|z), the distribution of the data is stationary, whatever the codes' own is.

    Args:
        model: any module with `encode`, `decode` and `data_shape` (or `image_shape`); it runs in eval mode.
        n: chains.
        steps: transitions, 0 or more.
        start: "noise": uniform in [0, 1], as in the authors' code, or normal with the mean and deviation of data that a model
            standardises; "data": n examples, drawn from `data` without replacement.
        data: examples [N, *data_shape], uint8 or in [0, 1]; for start "data".
        pixel_noise: draw x from p(x|z), with the noise of its pixels; otherwise x is its mean. Autoregressive decoders, which
            have no mean at hand, always draw. The last image is a draw, too.
        keep: "last": the images at the end; "all": those of every step, the start first.
        generator: of starts, codes and pixels, on the model's device.
        batch_size: chains at a time.
        condition: of a model that is conditioned, what all of its steps are, one for all chains or one each; None: of classes as
            for `sample`.

    Returns:
        [n, *data_shape], or [steps + 1, n, *data_shape]; pixels with noise are not clipped to [0, 1].

    Raises:
        ArgumentError: a setting that cannot work, a model without p(x|z) if `pixel_noise`, or fewer than n examples.

    Source: Zhao, Song & Ermon 2017, section 5: samples of VAEs without a regulariser.
    """
    for name, value, least in (("n", n, 1), ("steps", steps, 0), ("batch_size", batch_size, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ArgumentError(f"{name} is {value!r}; expected a whole number, {least} or more.")
    if start not in ("noise", "data"):
        raise ArgumentError(f"start is {start!r}; expected 'noise' or 'data'.")
    if keep not in ("last", "all"):
        raise ArgumentError(f"keep is {keep!r}; expected 'last' or 'all'.")
    like = next(model.parameters())
    parts = []
    with evaluating(model), inside():  # states go past [0, 1] where they are draws
        starts = _starts(model, n, start, data, generator, like).split(batch_size)
        chosen = conditions_for(model, n, condition, generator)
        for number, x in enumerate(starts):
            given = told(model, None if chosen is None else chosen[number * batch_size :][: len(x)])
            states = [x]
            for _ in range(steps):
                z = model.encode(x, **given).sample(generator)
                x = _next(model, z, pixel_noise, generator, given)
                states = [*states, x] if keep == "all" else [x]
            parts.append(torch.stack(states))
    chains = torch.cat(parts, dim=1)
    return chains if keep == "all" else chains[-1]


def _starts(model: Any, n: int, start: str, data: Tensor | None, generator: torch.Generator | None, like: Tensor) -> Tensor:
    shape = tuple(getattr(model, "data_shape", None) or model.image_shape)
    if start == "noise":
        if (standardiser := getattr(model, "standardiser", None)) is not None:
            noise: Tensor = standardiser.undo(torch.randn(n, *shape, generator=generator, device=like.device, dtype=like.dtype))
            return noise
        return torch.rand(n, *shape, generator=generator, device=like.device, dtype=like.dtype)
    if data is None:
        raise ArgumentError("start is 'data', and no data were given; pass data=images, or start='noise'.")
    data = as_examples(model, data)
    if len(data) < n:
        raise ArgumentError(f"data has shape {list(data.shape)}; expected {n} or more examples of shape {list(shape)}.")
    device = generator.device if generator is not None else like.device
    chosen = torch.randperm(len(data), generator=generator, device=device)[:n].to(data.device)
    return as_float(data[chosen].to(like.device), like.dtype).to(like.dtype)


def _next(model: Any, z: Tensor, pixel_noise: bool, generator: torch.Generator | None, given: dict[str, Any]) -> Tensor:
    if getattr(model, "autoregressive", False):
        return model.decode(z, generator)
    if not pixel_noise:
        return model.decode(z, **given)
    if not hasattr(model, "draw"):
        raise ArgumentError(f"pixel_noise is True; a {type(model).__name__} has no distribution p(x|z) to draw pixels from.")
    return model.draw(z, generator, **given)
