"""Weights that earlier versions saved."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class ReadsOlder(nn.Module):
    """A module whose `read_older` makes of weights that were saved before what it has now, in torch's own loading, too."""

    def read_older(self, state: dict[str, Tensor], prefix: str) -> None:
        """Change, in `state`, this module's tensors, whose names begin with `prefix`."""
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        self.read_older(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
