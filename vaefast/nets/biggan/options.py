"""Options that BigGAN's two networks read alike."""

from __future__ import annotations

from typing import Any

from vaefast.errors import ArgumentError


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """`ArgumentError` unless value is one of the choices."""
    if value not in choices:
        raise ArgumentError(f"{name} is {value!r}; expected one of {', '.join(choices)}.")


def resolved(rule: str, spectral_norm: bool | None, init: str | None) -> tuple[bool, str]:
    """Spectral norm and initial weights, as the rule has them where they are None."""
    original = rule == "original"
    return (original if spectral_norm is None else spectral_norm), init or ("orthogonal" if original else "torch")
