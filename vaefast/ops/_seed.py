"""The seed of a sampling op: an int64 tensor of one element, on the device of the op."""

from __future__ import annotations

import torch

from vaefast.ops import _check

MAX_SEED = 2**63 - 1


def seed_tensor(
    seed: int | torch.Tensor | None, generator: torch.Generator | None, device: torch.device
) -> torch.Tensor:
    """`seed` as the ops take it; drawn from `generator`, or torch's default generator, where it is None."""
    if seed is None:
        if generator is not None and generator.device.type != device.type:
            _check.fail("generator", f"on device {generator.device}", f"the device of mu, {device}")
        return torch.randint(MAX_SEED, (1,), device=device, generator=generator)
    if generator is not None:
        _check.fail("seed", "given together with generator", "one of the two")
    if isinstance(seed, torch.Tensor):
        if seed.dtype != torch.int64 or seed.numel() != 1:
            _check.fail("seed", f"a {seed.dtype} tensor of shape {list(seed.shape)}", "an int64 tensor of one element")
        if seed.device != device:
            _check.fail("seed", f"on device {seed.device}", f"the device of mu, {device}")
        return seed.reshape(1)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        _check.fail("seed", repr(seed), "an int from 0 to 2**63 - 1, or an int64 tensor of one element")
    return torch.full((1,), seed, dtype=torch.int64, device=device)
