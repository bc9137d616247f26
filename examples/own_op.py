"""An op of one's own, built as vaefast.ops builds its own: schema, fake, reference, a fused kernel, and a derivative.

    python examples/own_op.py                      # on a GPU by the Triton kernel, on a CPU by the reference
    TRITON_INTERPRET=1 python examples/own_op.py   # the Triton kernel on a CPU, in Triton's interpreter

log_cosh(x, y) is the sum of log cosh(x - y) over each row, a loss between squared and absolute error. x and y alone are
kept, and torch.compile sees one op. CONTRIBUTING.md has the path of an op of the package itself, with C++ and CUDA kernels.
"""

from __future__ import annotations

import os
from math import log

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

if triton:
    @triton.jit
    def kernel(x, y, out, d, BLOCK: tl.constexpr):
        row, total = tl.program_id(0), 0.0
        for start in range(0, d, BLOCK):
            i = start + tl.arange(0, BLOCK)
            e = tl.abs(tl.load(x + row * d + i, i < d, 0.0) - tl.load(y + row * d + i, i < d, 0.0))
            total += tl.sum(tl.where(i < d, e + tl.log(1 + tl.exp(-2 * e)) - 0.6931471805599453, 0.0))  # no overflow
        tl.store(out + row, total)


def reference(x: Tensor, y: Tensor) -> Tensor:
    """The meaning: [N, d], [N, d] -> [N], in any float dtype."""
    e = (x - y).abs()
    return (e + (-2 * e).exp().log1p() - log(2)).sum(1)


@torch.library.custom_op("mine::log_cosh", mutates_args=())
def log_cosh(x: Tensor, y: Tensor) -> Tensor:
    if triton is None or not (x.is_cuda or os.environ.get("TRITON_INTERPRET")) or x.dtype != torch.float32:
        return reference(x, y)
    out, x, y = x.new_empty(len(x)), x.contiguous(), y.contiguous()
    kernel[(len(x),)](x, y, out, x.shape[1], BLOCK=1024)
    return out


log_cosh.register_fake(lambda x, y: x.new_empty(len(x)))  # the shape, for torch.compile and torch.export
log_cosh.register_autograd(
    lambda ctx, grad: (g := grad[:, None] * (ctx.saved_tensors[0] - ctx.saved_tensors[1]).tanh(), -g),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))

if __name__ == "__main__":
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, y = torch.randn(2, 16, 1500, device=device, requires_grad=True)
    torch.testing.assert_close(log_cosh(x, y), reference(x.double(), y.double()).float())
    torch.library.opcheck(log_cosh, (x, y))  # schema, fake and derivative fit together
    print(f"log_cosh on {device}: {log_cosh(x, y).mean().item():.3f}, equal to the reference; opcheck passed")
