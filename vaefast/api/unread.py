"""Which arguments a second stage of a kind has."""

from __future__ import annotations

from typing import Any

from vaefast.nets.second_stage import DEPTH, WIDTH

READ: dict[str, tuple[str, ...]] = {"vae": ("gamma", "gamma_init", "width", "depth"), "flow": ("width", "depth"), "mixture": ()}
"""Of its own arguments, those that a kind reads."""
UNSAID: dict[str, tuple[Any, ...]] = {"gamma": ("learned",), "gamma_init": (1.0,), "width": (None, WIDTH),
                                       "depth": (None, DEPTH)}
"""What stands where nothing is given, in files of models, too."""


def without_unread(config: dict[str, Any]) -> dict[str, Any]:
    """A saved model's arguments without those that `vaefast.api.second_stage.second_sizes` refuses: earlier versions took, and
    saved, any."""
    kind, prefix = (config["second"], "second_") if "second" in config else (config.get("kind"), "")
    unread = [name for name in UNSAID if isinstance(kind, str) and kind in READ and name not in READ[kind]]
    return {name: value for name, value in config.items() if name not in [prefix + n for n in unread]}
