"""What an installed vaefast must do, asked of it without pytest and away from the checkout: `python tests/installed.py`.

It is what wheels are tried by: imports, an op by the backend that the build promises, and a VAE of a few steps.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path


def report() -> dict:
    """Where it was imported from and what serves its ops, after a training that must have changed its weights."""
    import torch

    import vaefast
    from vaefast import ops

    z, kl = ops.reparam_kl(torch.ones(2, 3), torch.zeros(2, 3), seed=1)
    assert z.shape == (2, 3) and abs(kl[0].item() - 1.5) < 1e-6
    record, served = ops.build_record(), ops.backends()["reparam_kl"]["cpu"]
    assert served.backend == ("cpp" if record["built"] else "reference"), (served, record)

    torch.manual_seed(0)
    model = vaefast.VAE((1, 8, 8), latent_dim=2)
    before = [p.detach().clone() for p in model.parameters()]
    history = model.fit(torch.rand(32, 1, 8, 8), steps=2, batch_size=16, device="cpu", progress=False)
    assert len(history.records) > 0 and any((a != b).any() for a, b in zip(before, model.parameters()))
    assert model.sample(3).shape == (3, 1, 8, 8)
    model.save("model")
    assert vaefast.load("model").sample(1).shape == (1, 1, 8, 8)
    return {"file": vaefast.__file__, "version": vaefast.__version__, "backend": served.backend, "record": record,
            "runtimes": openmp_runtimes()}


def openmp_runtimes() -> list[str]:
    """Files of GNU's OpenMP runtime in this process, as Linux lists them: more than one have threads of their own each."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    return sorted({line.split()[-1] for line in lines if "libgomp" in line})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        print(json.dumps(report()))
        os.chdir("/")
