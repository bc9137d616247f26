"""What a benchmark of one op at one size is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

VARIANTS = ("eager", "compiled", "vaefast")


@dataclass(frozen=True)
class Case:
    """One size of one op.

    `steps` does the same work three ways, forward and backward: plain PyTorch, torch.compile of it, and the op.
    `target` is the wished speed-up over the better of the first two.
    """

    op: str
    shape: tuple[int, ...]
    dtype: str
    target: float
    steps: dict[str, Callable[[], object]]

    @property
    def elements(self) -> int:
        n = 1
        for size in self.shape:
            n *= size
        return n
