"""RMSprop as TensorFlow has it, whose mean of squared gradients begins at 1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


class TensorFlowRMSprop(torch.optim.Optimizer):
    """m <- decay m + (1 - decay) g^2 from m = 1 on; w <- w - lr g / sqrt(m + eps).

    Of gradients far below 1 the first hundred steps are far smaller than those of `torch.optim.RMSprop`, whose m begins at 0.

    Source: `tf.train.RMSPropOptimizer` of TensorFlow 1, without momentum.
    """

    def __init__(self, params: Iterable[Any], *, lr: Any, decay: float, eps: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "eps": eps, "weight_decay": weight_decay})
        for group in self.param_groups:
            for p in group["params"]:  # now, not in the first step: what a step undoes has to be there before it
                self.state[p]["square_avg"] = torch.ones_like(p)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step; `closure` is not used."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                grad = p.grad + group["weight_decay"] * p if group["weight_decay"] else p.grad
                mean = self.state[p]["square_avg"]
                mean.lerp_(grad.square(), 1 - group["decay"])
                p.sub_(group["lr"] * grad / (mean + group["eps"]).sqrt())
