"""The switches of float32 products: inside as asked for, afterwards as they were, whichever of PyTorch's two sets was used."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import torch
from vaefast.float32 import _switches, float32_products
b = torch.backends
# one after the other, in a process of their own: the last ones set the two sets at odds
SETTERS = [
    "pass", "b.cuda.matmul.allow_tf32 = True", "b.cudnn.allow_tf32 = False", "torch.set_float32_matmul_precision('medium')",
    "b.cuda.matmul.fp32_precision = 'tf32'", "b.cudnn.conv.fp32_precision = 'ieee'", "b.fp32_precision = 'tf32'",
    "b.mkldnn.matmul.fp32_precision = 'bf16'", "b.cudnn.rnn.fp32_precision = 'tf32'",
]

def older():
    found = []
    for read in (lambda: b.cuda.matmul.allow_tf32, lambda: b.cudnn.allow_tf32, torch.get_float32_matmul_precision):
        try:
            found.append(read())
        except RuntimeError:
            found.append("at odds")
    return found

def newer():
    return [s.fp32_precision for s in _switches()]

for setter in SETTERS:
    exec(setter)
    for tf32 in (True, False):
        before = newer(), older()
        with float32_products(tf32=tf32):
            assert b.cuda.matmul.allow_tf32 == b.cudnn.allow_tf32 == tf32
            assert (b.cudnn.conv.fp32_precision == "tf32") == (b.cuda.matmul.fp32_precision == "tf32") == tf32
            with b.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32):
                pass
            with float32_products(tf32=not tf32):
                assert b.cuda.matmul.allow_tf32 != tf32
            assert b.cuda.matmul.allow_tf32 == b.cudnn.allow_tf32 == tf32
        assert newer() == before[0], (setter, before, newer())
        assert all(x in (y, "at odds") for x, y in zip(before[1], older())), (setter, before, older())
"""


def test_switches_come_back():
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
