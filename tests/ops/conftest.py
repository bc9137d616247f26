"""Fixtures of the op tests, and the metrics that they compare with."""

from __future__ import annotations

import pytest
import torch

from vaefast.ops import _registry


def _usable(backend: str) -> str | None:
    return _registry.why_not(backend, "cpu")


@pytest.fixture(params=["reference", "cpp"])
def cpu_backend(request):
    """Each backend that runs on CPU tensors, forced for the length of a test."""
    reason = _usable(request.param)
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    with _registry.backend(request.param):
        yield request.param


@pytest.fixture
def needs_gpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")


@pytest.fixture
def close():
    """close(actual, expected, rel): relative L2 error and signed bias within rel, no NaN, direction kept."""

    def check(actual: torch.Tensor, expected: torch.Tensor, rel: float) -> None:
        actual, expected = actual.detach().double().flatten(), expected.detach().double().flatten()
        assert actual.shape == expected.shape
        assert torch.isfinite(actual).all()
        if actual.numel() == 0 or not expected.any():
            assert not actual.any()
            return
        size = expected.norm().clamp(min=1e-30)
        assert (actual - expected).norm() / size <= rel
        assert (actual - expected).sum().abs() / expected.abs().sum().clamp(min=1e-30) <= rel
        assert actual @ expected / (actual.norm().clamp(min=1e-30) * size) >= 1 - rel

    return check
