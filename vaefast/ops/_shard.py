"""Which rows of a distributed batch this process holds, so that no two processes draw the same noise."""

from __future__ import annotations

_rank = 0


def set_rank(rank: int) -> None:
    """Tell the sampling ops this process's rank; the engine does, when it joins a process group."""
    global _rank
    _rank = rank


def row_offset(rows: int) -> int:
    """Row of the global batch at which this process's `rows` begin, every process holding as many."""
    return _rank * rows
