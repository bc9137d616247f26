"""Benchmarks of the ops: `python -m benchmarks.ops` measures them interleaved, `pytest benchmarks` one by one.

Every op has one file with `cases()`, which `benchmarks.ops.OPS` names.
"""
