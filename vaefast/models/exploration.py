"""Ways through a model's codes: between two examples, along one dimension, to the nearest examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.models.condition import told_each
from vaefast.nets.shapes import whole_number

ROWS = 1_000
"""Examples that are coded at a time."""


class Exploration:
    """`interpolate`, `traverse` and `nearest` of a model that has `encode` and `decode`; nothing here has a gradient.

    Of a model that is conditioned, `condition` is what the examples are: one for all, or one each.
    """

    @property
    def _explored(self) -> Any:
        """What this is mixed into."""
        return self

    def _told(self, condition: Any, n: int, times: int) -> dict[str, Tensor]:
        return {} if condition is None else told_each(self._explored.first, condition, n, times)

    def mean_codes(self, x: Any, condition: Any = None) -> Tensor:
        """Mean codes of examples [N, *data_shape], [N, k], in batches."""
        return mean_codes(self._explored, x, condition)

    def interpolate(self, a: Any, b: Any, steps: int = 8, *, spherical: bool = False, condition: Any = None) -> Tensor:
        """Examples on the way from those of `a` to those of `b`, [B, steps, *data_shape], their reconstructions at the ends.

        Args:
            a, b: examples [B, *data_shape] each, as `encode` takes them.
            steps: 2 or more.
            spherical: along the great circle through both mean codes, whose lengths change evenly; else along the line.
            condition: of a pair of examples and all between them.

        Raises:
            ArgumentError: fewer than 2 steps, or other numbers of examples.
        """
        if whole_number("steps", steps) < 2:
            raise ArgumentError("steps is 1; expected 2 or more, as both ends are among them.")
        start, stop = self.mean_codes(a, condition), self.mean_codes(b, condition)
        if len(start) != len(stop):
            raise ArgumentError(f"a has {len(start)} examples and b {len(stop)}; expected one of b for each of a.")
        shares = torch.linspace(0, 1, steps, device=start.device, dtype=start.dtype)
        path = _circle(start, stop, shares) if spherical else torch.lerp(start[:, None], stop[:, None], shares[:, None])
        with torch.no_grad():
            examples: Tensor = self._explored.decode(path.flatten(0, 1), **self._told(condition, len(start), steps))
        return examples.unflatten(0, (len(start), steps))

    def traverse(self, x: Any, dims: Sequence[int] | None = None, *, span: float = 2.0, steps: int = 7,
                 condition: Any = None) -> Tensor:
        """One example with one dimension of its mean code moved from -span to span, [dimensions, steps, *data_shape].

        Args:
            x: a batch of one example, [1, *data_shape].
            dims: the dimensions, from 0 on; None for all.
            span: in standard deviations of the prior N(0, I).
            steps: of each.

        Raises:
            ArgumentError: more examples than one, or a dimension that the code has not.
        """
        code, steps = self.mean_codes(x, condition), whole_number("steps", steps)
        if len(code) != 1:
            raise ArgumentError(f"x holds {len(code)} examples; expected one, as a batch: x[:1].")
        chosen = list(range(code.shape[1]) if dims is None else dims)
        if wrong := [d for d in chosen if isinstance(d, bool) or not isinstance(d, int) or not 0 <= d < code.shape[1]]:
            raise ArgumentError(f"dims holds {wrong[0]!r}; expected dimensions of the code, 0 to {code.shape[1] - 1}.")
        path = code.repeat(len(chosen) * steps, 1)
        values = torch.linspace(-span, span, steps, device=code.device, dtype=code.dtype)
        rows = torch.arange(len(path), device=code.device)
        path[rows, torch.tensor(chosen, device=code.device).repeat_interleave(steps)] = values.repeat(len(chosen))
        with torch.no_grad():
            examples: Tensor = self._explored.decode(path, **self._told(condition, 1, len(path)))
        return examples.unflatten(0, (len(chosen), steps))

    def nearest(self, x: Any, among: Any, count: int = 3, *, condition: Any = None, among_condition: Any = None) -> Tensor:
        """Indices of the examples of `among` whose mean codes are nearest to those of x, nearest first, [B, count].

        Args:
            x: examples [B, *data_shape].
            among: examples [N, *data_shape], such as the training images.
            count: at most N.
            condition, among_condition: of x, and of `among`.

        Raises:
            ArgumentError: a count that is below 1 or above N.
        """
        if whole_number("count", count) > len(among):
            raise ArgumentError(f"count is {count}, of {len(among)} examples; expected at most as many.")
        codes, known = self.mean_codes(x, condition), self.mean_codes(among, among_condition)
        return torch.cat([torch.cdist(part, known).topk(count, largest=False).indices for part in codes.split(ROWS)])


@torch.no_grad()
def mean_codes(model: Any, x: Any, condition: Any = None) -> Tensor:
    """Mean codes of rows x that `model.encode` takes, [N, k], in batches; of a condition, where there is one."""
    coded = [model.encode(part, **given) for part, given in in_batches(model, x, condition)]
    return torch.cat([part if isinstance(part, Tensor) else part.mean for part in coded])


def in_batches(model: Any, x: Any, condition: Any) -> Iterator[tuple[Any, dict[str, Tensor]]]:
    """Rows x, or one batch of none, each with what `model`, or its first stage, is told of them: nothing without a condition."""
    given = told_each(getattr(model, "first", model), condition, len(x))
    for i in range(0, max(len(x), 1), ROWS):
        yield x[i : i + ROWS], {name: each[i : i + ROWS] for name, each in given.items()}


def _circle(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """Points between codes a and b [B, k], [B, steps, k]: direction on the great circle, length on the line."""
    tiny = torch.finfo(a.dtype).tiny
    lengths = [x.norm(dim=1, keepdim=True).clamp_min(tiny) for x in (a, b)]
    u, v = a / lengths[0], b / lengths[1]
    angle = (u * v).sum(1, keepdim=True).clamp(-1, 1).acos()[:, None]  # [B, 1, 1]
    t = shares[None, :, None]
    sine = angle.sin()
    straight = sine.abs() < 1e-6  # parallel, or opposite, which no circle is the shortest of
    safe = torch.where(straight, torch.ones_like(sine), sine)
    weights = [torch.where(straight, plain, ((angle * plain).sin() / safe)) for plain in (1 - t, t)]
    direction = weights[0] * u[:, None] + weights[1] * v[:, None]
    return direction * torch.lerp(lengths[0][:, None], lengths[1][:, None], t)
