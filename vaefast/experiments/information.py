"""`vaefast info`: what is installed, what the machine offers, and which backend serves which op."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform

import torch

from vaefast import __version__, ops
from vaefast.training.device import resolve_device, resolve_precision

PACKAGES = ("torch", "triton", "numpy", "safetensors", "pillow", "matplotlib", "rich")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _build() -> str:
    """What the build made of the native core, from the record it left."""
    record = ops.build_record()
    if not record.get("built"):
        return f"no native core: {record.get('reason', 'no record of a build')}; the ops run on PyTorch"
    cuda = record["cuda"]
    with_cuda = f"CUDA {cuda['nvcc']} for {cuda['archs']}" if cuda.get("built") else f"no CUDA: {cuda.get('reason')}"
    notes = "".join(f"; {note}" for note in record.get("notes", ()))
    return f"by {record['compiler']}, for {', '.join(record['instruction_sets'])}; {with_cuda}{notes}"


def print_information() -> None:
    """Print it."""
    print(f"vaefast {__version__}  python {platform.python_version()}  {platform.platform()}")
    print("packages  " + "  ".join(f"{name} {_version(name)}" for name in PACKAGES))
    print(f"CPU       {os.cpu_count()} cores, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            p = torch.cuda.get_device_properties(index)
            print(f"cuda:{index}    {p.name}, {p.total_memory / 2**30:.0f} GiB, sm_{p.major}{p.minor}")
        if torch.version.hip:
            print("          by ROCm, on which vaefast is untested; the CUDA kernels do not run there")
    elif torch.backends.mps.is_available():
        print("GPU       Apple's, untested: device=\"mps\" trains on the PyTorch reference, in float32")
    else:
        print("GPU       none that torch can use")
    device = resolve_device("auto")
    print(f"training  on {device} in {resolve_precision('auto', device)} unless told otherwise")
    print(f"compiled  {_build()}")
    print()
    print_backends(ops.backends())


def print_backends(served: dict[str, dict[str, ops.Served]]) -> None:
    """Print a line an op, then why the other backends do not serve it, each reason once."""
    width = max(map(len, served)) + 2
    print(f"{'op':{width}}{'on cpu':12}on cuda")
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for op, devices in served.items():
        print(f"{op:{width}}{devices['cpu'].backend or 'nothing':12}{devices['cuda'].backend or 'nothing'}")
        for device, choice in devices.items():
            for other, reason in choice.others.items():
                reasons.setdefault((device, other, reason), []).append(op)
    print()
    for (device, other, reason), names in sorted(reasons.items(), key=lambda item: item[0][:2]):
        whose = "every op" if len(names) == len(served) else ", ".join(names)
        print(f"on {device}, not {other} ({whose}): {reason}")
