"""Batch norm whose gain and bias depend on a condition, such as an embedded class label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.layers import BatchNorm, SpectralNorm
from vaefast.nets.older import ReadsOlder

MOMENTUM = 0.1


class ConditionalBatchNorm(nn.Module):
    """Batch norm of x [B, C, ...] with gain 1 + A c and bias D c of a condition c [B, condition].

    The 1 keeps a network alive whose A c starts near 0. With `condition` 0 it is an ordinary batch norm.
    Source: Brock et al. 2019, "Large Scale GAN Training for High Fidelity Natural Image Synthesis", appendix B.

    Args:
        features: C.
        condition: dimensions of c; 0 for none.
        linear: builds A and D from (inputs, outputs, bias=); with `class_table` c is the labels [B] of so many classes.
        decay, eps: as of `BatchNorm`.
    """

    def __init__(self, features: int, condition: int = 0, linear: Callable[..., Any] = nn.Linear, *,
                 decay: float = 1 - MOMENTUM, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm = BatchNorm(features, decay=decay, eps=eps, affine=condition == 0)
        self.gain = linear(condition, features, bias=False) if condition else None
        self.bias = linear(condition, features, bias=False) if condition else None

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        y = self.norm(x)
        if self.gain is None or self.bias is None:
            return y
        shape = (*y.shape[:2], *[1] * (y.ndim - 2))
        gain, bias = (1 + self.gain(condition)).view(shape), self.bias(condition).view(shape)
        return torch.addcmul(bias, y, gain).to(y.dtype)


def class_table(classes: int, outputs: int, bias: bool = False) -> nn.Embedding:
    """A row of `outputs` numbers for each class, 0 at first: what a linear map makes of one-hot labels, looked up."""
    table = nn.Embedding(classes, outputs)
    nn.init.zeros_(table.weight)
    return table


class ClassTable(ReadsOlder, nn.Linear):
    """A linear map of one-hot classes without spectral norm: a row of `outputs` numbers for each class.

    Source: `self.which_embedding` of Brock et al.'s code, where norms share no embedding. Weights saved when spectral norm was
    laid on them are loaded divided by their largest singular value, as they acted.
    """

    def read_older(self, state: dict[str, Tensor], prefix: str) -> None:
        """Of weights that were saved with spectral norm: as they acted."""
        u = state.pop(f"{prefix}u", None)
        if u is not None:
            weight = state[f"{prefix}weight"]
            state[f"{prefix}weight"] = weight / (weight.t() @ F.normalize(weight @ u, dim=0, eps=1e-12)).norm()


class LabelEmbedding(nn.Module):
    """Labels [B], int64 from 0 to `classes` - 1 -> [B, dims]: a learned vector a class, or one-hot where `dims` is None."""

    def __init__(self, classes: int, dims: int | None) -> None:
        super().__init__()
        self.classes, self.dims = classes, dims or classes
        self.table = nn.Embedding(classes, dims) if dims else None

    def forward(self, labels: Tensor) -> Tensor:
        return self.table(labels) if self.table is not None else F.one_hot(labels, self.classes).float()


class SpectralEmbedding(SpectralNorm, nn.Embedding):
    """`nn.Embedding` with its table divided by the table's largest singular value."""

    def __init__(self, classes: int, dims: int) -> None:
        super().__init__(classes, dims)
        self._init_u()

    def forward(self, labels: Tensor) -> Tensor:
        return F.embedding(labels, self.weight / self.sigma())


def projection(embedding: nn.Module, labels: Tensor, features: Tensor) -> Tensor:
    """<embedding(y), h> of labels y [B] and features h [B, F], [B, 1]: what a class adds to a discriminator's logit.

    Source: Miyato & Koyama 2018, "cGANs with Projection Discriminator", equation 3.
    """
    return (embedding(labels) * features).sum(1, keepdim=True)


def check_labels(labels: Tensor | None, classes: int | None) -> None:
    """Labels are given to a network with classes, and to no other."""
    if (labels is None) != (classes is None):
        raise ArgumentError("this network is not conditioned on classes, but labels were given; call it without them."
                            if classes is None else
                            f"this network is conditioned on {classes} classes; give it the labels [B] of its batch, too.")
