"""Into how many parts a GPU cuts what a block of threads streams through."""

from __future__ import annotations


def parts(blocks: int, most: int, at_a_time: int) -> int:
    """Parts of each of `blocks` blocks' work, 1 to `most`, by the sizes alone, so that results depend on nothing else.

    A GPU runs `at_a_time` blocks together, in rounds: the least time of all rounds, where a part costs a hundredth more.
    """
    return min(range(1, max(1, most) + 1), key=lambda n: -(-blocks * n // at_a_time) / n * (1 + 0.01 * n))
