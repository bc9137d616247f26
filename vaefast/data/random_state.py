"""The random states that a Dataset's transforms draw from - torch's on the CPU, Python's and NumPy's - set by a key."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_of(*key: Any) -> int:
    """63 bits that follow from the key."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:8], "big") >> 1


def set_random_states(*key: Any) -> None:
    """Set the three states to what follows from the key; the GPU's stays."""
    seed = seed_of(*key)
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)


@contextmanager
def random_states(*key: Any) -> Iterator[None]:
    """The states that follow from the key, inside; afterwards they are as they were."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([]):
        set_random_states(*key)
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)
