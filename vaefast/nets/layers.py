"""Layers of the TensorFlow reference networks that torch's own layers do not reproduce."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.global_batch import global_mean, processes

HALVES = (torch.bfloat16, torch.float16)
_RECENT, _FEWEST = 0.1, 10
"""Of a training, and steps, that batch norms average over."""


class BatchNorm(nn.Module):
    """Batch normalisation with TensorFlow's zero-debiased moving statistics.

    After t training steps the statistics used in eval mode are EMA_t / (1 - decay^t), so the initial
    values never leak in and short runs evaluate correctly (with torch's update they would not: at decay
    0.999 the initial value still weighs 37 % after 1,000 steps). The moving variance is that of the biased
    batch variance, as in TensorFlow. Source: Dai & Wipf's code, `assign_moving_average`.

    Args:
        features: channels of an input [B, C, ...].
        decay: decay of the moving statistics (torch's momentum is 1 - decay).
        eps: added to the variance.
        affine: scale and shift by a learned `weight` and `bias`; without, both are None.

    The buffers `running_mean` and `running_var` hold the raw averages, which start from 0; they stay in float32 where the module
    becomes half precision, in which 1 - decay^t is 0 or wrong by per cents. With `sync` set, statistics
    are those of the batch of all processes that train together. Inside `in_parts` a batch is several, one after the other,
    and inside `recent_statistics` the averages forget faster.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, features: int, *, decay: float = 0.999, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.features, self.decay, self.eps, self.sync, self.parts = features, decay, eps, False, 1
        self.decay_now = decay
        self.weight = nn.Parameter(torch.ones(features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(features)) if affine else None
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.zeros(features))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> BatchNorm:
        before = self.running_mean, self.running_var
        super()._apply(fn, recurse)
        if self.running_mean.dtype in HALVES and before[0].dtype not in HALVES:
            self.running_mean, self.running_var = (b.to(self.running_mean.device) for b in before)
        return self

    def _wide(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """x, weight and bias as the statistics' arithmetic takes them; they are changed in a module of half precision alone."""
        if self.weight is None or self.bias is None or self.weight.dtype == self.running_mean.dtype:
            return x, self.weight, self.bias
        to = self.running_mean.dtype
        return x.to(to), self.weight.to(to), self.bias.to(to)

    def moving_statistics(self) -> tuple[Tensor, Tensor]:
        """Debiased moving mean and variance, [C] each; 0 and 1 before the first training step."""
        seen = self.num_batches_tracked > 0
        weight = torch.where(seen, self._weight(self.decay, self.num_batches_tracked), 1.0)
        return self.running_mean / weight, torch.where(seen, self.running_var / weight, 1.0)

    def _weight(self, decay: float, steps: Tensor) -> Tensor:
        """Of what an average that began at 0 has seen in so many steps."""
        return 1.0 - decay ** steps.to(self.running_mean.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, var: Tensor) -> None:
        """Take a batch's mean and biased variance into the averages."""
        if self.decay_now == self.decay:
            self.running_mean.lerp_(mean, 1.0 - self.decay)
            self.running_var.lerp_(var, 1.0 - self.decay)
        else:  # the buffers stay averages that `decay` debiases, whichever it was that formed them
            before, after = (self._weight(self.decay, self.num_batches_tracked + more) for more in (0, 1))
            share = (1.0 - self.decay_now) / self._weight(self.decay_now, self.num_batches_tracked + 1)
            keep, new = after * (1.0 - share) / torch.where(before > 0, before, 1.0), after * share
            self.running_mean.mul_(keep).add_(mean * new)
            self.running_var.mul_(keep).add_(var * new)
        self.num_batches_tracked.add_(1)

    @torch.no_grad()
    def forget(self) -> None:
        """Begin the moving statistics anew: those of the next batch in train mode are its own."""
        for buffer in (self.running_mean, self.running_var, self.num_batches_tracked):
            buffer.zero_()

    @torch.no_grad()
    def set_statistics(self, mean: Tensor, var: Tensor) -> None:
        """Use mean and variance [C] in eval mode from now on; training goes on from them as from those of one batch."""
        self.running_mean.copy_(mean).mul_(1.0 - self.decay)
        self.running_var.copy_(var).mul_(1.0 - self.decay)
        self.num_batches_tracked.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            mean, var = self.moving_statistics()
            wide, weight, bias = self._wide(x)
            return F.batch_norm(wide, mean, var, weight, bias, training=False, eps=self.eps).to(x.dtype)
        if self.parts == 1:
            return self._of_batch(x)
        return torch.cat([self._of_batch(part) for part in x.chunk(self.parts)])

    def _of_batch(self, x: Tensor) -> Tensor:
        if self.sync and processes() > 1:
            return self._over_processes(x)
        count = x.numel() // x.shape[1]
        if count < 2:
            raise ArgumentError(f"batch norm in train mode was given a batch of shape {list(x.shape)}, with {count} value(s) of "
                                "each channel, and needs 2 or more for a mean and a variance; use a batch_size (over accumulate) "
                                "of 2 or more.")
        mean, var = self.running_mean.new_zeros(2, self.features)
        wide, weight, bias = self._wide(x)
        y = F.batch_norm(wide, mean, var, weight, bias, training=True, momentum=1.0, eps=self.eps).to(x.dtype)
        self._follow(mean, var * ((count - 1) / count))  # torch's is the unbiased one
        return y

    def _over_processes(self, x: Tensor) -> Tensor:
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        dims, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        mean = global_mean(wide.mean(dims))
        centred = wide - mean.view(shape)
        var = global_mean(centred.square().mean(dims))
        self._follow(mean.detach().to(self.running_mean.dtype), var.detach().to(self.running_var.dtype))
        y = centred * torch.rsqrt(var + self.eps).view(shape)
        if self.weight is not None and self.bias is not None:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.features}, decay={self.decay}, eps={self.eps}"


@contextmanager
def in_parts(module: nn.Module, parts: int) -> Iterator[None]:
    """Inside, the module's batch norms in train mode take their batch for `parts` equal ones, with statistics of their own.

    One pass of what would be several: for networks that look at every example by itself, but for these layers.
    """
    norms = [m for m in module.modules() if isinstance(m, BatchNorm)]
    for norm in norms:
        norm.parts = parts
    try:
        yield
    finally:
        for norm in norms:
            norm.parts = 1


@contextmanager
def recent_statistics(module: nn.Module, steps: int) -> Iterator[None]:
    """Inside, the module's batch norms average over a tenth of `steps` (and 10 steps at least), where that is less than their
    decay's window.

    A decay of 0.999, as published with 200,000 steps, is an average of all there was in a training of 1,000: weights of its
    beginning, with which eval mode fits no longer what was learned. From 10,000 steps on nothing changes.
    """
    norms = [m for m in module.modules() if isinstance(m, BatchNorm)]
    for norm in norms:
        norm.decay_now = min(norm.decay, 1.0 - 1.0 / max(steps * _RECENT, _FEWEST))
    try:
        yield
    finally:
        for norm in norms:
            norm.decay_now = norm.decay


class SpectralNorm:
    """One power iteration per forward pass on the weight seen as [out, in * kernel]."""

    weight: Tensor
    u: Tensor
    training: bool

    def _init_u(self) -> None:
        self.register_buffer("u", torch.randn(self.weight[0].numel()))  # type: ignore[attr-defined]

    def _iterate(self) -> tuple[Tensor, Tensor]:
        """Left and right iterates v [out] and u [in * kernel]; in train mode u is kept, in eval mode it is not, so that
        evaluating a model never changes it."""
        weight = self.weight.flatten(1)
        with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
            v = F.normalize(torch.mv(weight, self.u), dim=0, eps=1e-12)
            u = F.normalize(torch.mv(weight.t(), v), dim=0, eps=1e-12)
            if self.training:
                self.u.copy_(u)
        return v, u

    def sigma(self) -> Tensor:
        """Largest singular value of the weight as power iteration sees it now (a scalar with gradient)."""
        v, u = self._iterate()
        with torch.autocast(v.device.type, enabled=False):
            # v . (W u), not |W^T v|: its gradient v u^T comes out in the weight's own layout, 4x faster on a CPU
            return torch.dot(v, torch.mv(self.weight.flatten(1), u))


class SpectralLinear(SpectralNorm, nn.Linear):
    """`nn.Linear` with its weight divided by its largest singular value; the bias is left alone.

    Source: Dai & Wipf's code (`network/util.py`): gradients flow through the weight in sigma, not through
    the iterates. The division is applied to the product, which is smaller than the weight, and sigma comes out of the
    same product, as u is one more row of the input: its gradient v u^T is then no pass over the weight of its own.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self._init_u()

    def forward(self, x: Tensor) -> Tensor:
        v, u = self._iterate()
        product = F.linear(torch.cat([x, u.to(x.dtype)[None]]), self.weight).to(self.weight.dtype)
        y, wu = product.split([x.shape[0], 1])
        sigma = torch.dot(v, wu[0])
        return y / sigma if self.bias is None else torch.addcdiv(self.bias, y, sigma)


class SpectralConv2d(SpectralNorm, nn.Conv2d):
    """`nn.Conv2d` with its weight divided by the largest singular value of [out, in * kh * kw]."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int,
                 bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        self._init_u()

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight / self.sigma(), self.bias)


def init_normal(module: nn.Module, std: float = 0.02) -> None:
    """The reference's initialiser: convolutions truncated normal (at 2 std), everything else normal; biases 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
    elif isinstance(module, (nn.Linear, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, std=std)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def init_glorot(module: nn.Module) -> None:
    """TensorFlow's default initialiser: Glorot uniform weights, biases 0."""
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
