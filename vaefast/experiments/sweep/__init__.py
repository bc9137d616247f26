"""Searches over a model's settings, on one machine or many: `vaefast sweep`."""
