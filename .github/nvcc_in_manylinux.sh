#!/usr/bin/env bash
# Puts nvcc and the headers that the CUDA kernels need into a manylinux_2_28 container, from NVIDIA's repository for RHEL 8.
# Written from NVIDIA's and PyPA's pages and not run yet: no container was at hand. Where it fails the wheel would be built without
# CUDA kernels, so it stops instead.
set -euo pipefail

version=${CUDA_VERSION:-13-0}    # as torch's default wheels: a driver that serves torch serves the kernels, too
case $(uname -m) in
    x86_64) folder=x86_64 ;;
    aarch64) folder=sbsa ;;
    *) echo "no CUDA for $(uname -m)" >&2; exit 1 ;;
esac
dnf install -y 'dnf-command(config-manager)'
dnf config-manager --add-repo "https://developer.download.nvidia.com/compute/cuda/repos/rhel8/$folder/cuda-rhel8.repo"
dnf install -y "cuda-nvcc-$version" "cuda-cudart-devel-$version"
ln -sfn "/usr/local/cuda-${version/-/.}" /usr/local/cuda
/usr/local/cuda/bin/nvcc --version
