"""Benchmarks of the ops: `python -m benchmarks.ops` measures them interleaved, `pytest benchmarks` one by one.

Every op has one file with `CASES`, functions that make a case by its size, which `benchmarks.ops.OPS` names.
"""
