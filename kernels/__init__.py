"""Triton kernels, one file an op. Installed as `vaefast.kernels`; only `vaefast.ops` imports them."""
