"""What a benchmark of one op at one size is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

VARIANTS = ("eager", "compiled", "vaefast")


@dataclass(frozen=True)
class Case:
    """One size of one op.

    `steps` does the same work three ways, forward and backward: plain PyTorch, torch.compile of it, and the op; a
    library that is compared with may take the place of "compiled", and a variant that cannot run here is left out.
    `target` is the wished speed-up over the better of the others, `eager_target` that over eager alone, `peak_target`
    the bytes that resident memory may rise by in a call, `traffic` the least bytes that the work reads and writes, where
    that bounds it. `small` cases are what --quick measures, and `kept` ones are measured with memory kept, too: not those
    with a variant of seconds and gigabytes, which would end in fragments.
    """

    op: str
    size: str
    dtype: str
    target: float
    steps: dict[str, Callable[[], object]]
    eager_target: float | None = None
    peak_target: int | None = None
    traffic: int | None = None
    small: bool = True
    kept: bool = True
