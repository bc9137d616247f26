"""What goes into an exported part and comes out of it: names, shapes, and what the numbers are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

BATCH = "batch"
"""What the first axis of every input and output is called."""
Kind = Literal["given", "normal", "uniform", "classes"]


@dataclass(frozen=True)
class Value:
    """An input or output [batch, *shape].

    Args:
        name: in the graph.
        shape: of one row; () of labels.
        meaning: in words.
        kind: where its numbers come from: "given" (the user's own), "normal" (N(0, std^2), all independent), "uniform" (in [low,
            high)), or "classes" (whole numbers from 0 to count - 1).
        limits: smallest and largest value, of numbers that are given and of outputs; None for any real numbers.
        std: of "normal".
        shares: of "classes", by which a sample that is asked of no class is drawn in the package.
        typical: of numbers that are given and have no limits, mean and deviation of such as the model was fitted to.
    """

    name: str
    shape: tuple[int, ...]
    meaning: str
    kind: Kind = "given"
    limits: tuple[float, float] | None = None
    std: float = 1.0
    shares: tuple[float, ...] = ()
    typical: tuple[Tensor, Tensor] | None = field(default=None, compare=False)

    @property
    def dtype(self) -> torch.dtype:
        """int64 of classes, float32 of all else."""
        return torch.int64 if self.kind == "classes" else torch.float32

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n rows such as the graph is given, [n, *shape]."""
        shape = (n, *self.shape)
        if self.kind == "classes":
            return torch.multinomial(torch.tensor(self.shares), n, replacement=True, generator=generator)
        if self.kind == "uniform" or self.kind == "given" and self.limits is not None:
            assert self.limits is not None
            low, high = self.limits
            return low + (high - low) * torch.rand(shape, generator=generator)
        drawn = torch.randn(shape, generator=generator)
        if self.typical is not None:
            return self.typical[0].cpu() + self.typical[1].cpu() * drawn
        return self.std * drawn

    def as_input(self) -> dict[str, Any]:
        """As export.json has an input."""
        told: dict[str, Any] = {"kind": self.kind}
        if self.kind == "normal":
            told |= {"mean": 0.0, "std": self.std}
        elif self.kind == "uniform" and self.limits is not None:
            told |= {"low": self.limits[0], "high": self.limits[1]}
        elif self.kind == "classes":
            told |= {"count": len(self.shares), "shares": list(self.shares)}
        elif self.limits is not None:
            told["range"] = self._range()
        return {**self._common(), "distribution": told}

    def as_output(self) -> dict[str, Any]:
        """As export.json has an output."""
        return {**self._common(), "range": self._range()}

    def _range(self) -> list[float | None] | None:
        """Smallest and largest value; None where there is no such."""
        return None if self.limits is None else [limit if math.isfinite(limit) else None for limit in self.limits]

    def _common(self) -> dict[str, Any]:
        return {"name": self.name, "shape": [BATCH, *self.shape], "dtype": str(self.dtype).removeprefix("torch."),
                "meaning": self.meaning}

    def __str__(self) -> str:
        return f"{self.name} [{', '.join(map(str, (BATCH, *self.shape)))}]"

