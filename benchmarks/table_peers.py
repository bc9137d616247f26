"""Training loops on one table of 100,000 x 50, side by side: vaefast's, pythae's and scvi-tools'.

`python -m benchmarks.table_peers --out FILE.json [--epochs 5] [--rounds 3] [--scvi FOLDER]` trains each in a process of its own,
in turns, and times the call that trains, with what the package does before its first step. The held-out bound is one draw's, in
nats a row of 10,000 others. On numbers `vaefast.VAE` and pythae's VAE have the same networks and the same Gaussian of variance 1,
so that bounds compare, too. On counts `vaefast.TableVAE` has its own networks and SCVI its own of as many units; SCVI is told the
sum of each row, which TableVAE has to learn, so that its bound is of something easier. --scvi: where scvi-tools is installed
(`pip install --target`), if not beside the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROWS, HELD, COLUMNS, FACTORS, LATENT, HIDDEN, BATCH, LR = 100_000, 10_000, 50, 5, 10, 128, 512, 1e-3
RESULT = "result: "


def table(kind: str) -> tuple[Tensor, Tensor]:
    """Rows to train on and others, of standardised numbers or of counts, that five factors are behind; always the same."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    hidden = torch.tanh(draw(ROWS + HELD, FACTORS) @ draw(FACTORS, 32))
    mean = hidden @ draw(32, COLUMNS) / 4
    if kind == "counts":
        rows = torch.poisson((mean + 1).clamp(-4, 4).exp(), generator=generator)
    else:
        rows = mean + draw(*mean.shape)
        rows = (rows - rows[:ROWS].mean(0)) / rows[:ROWS].std(0)
    return rows[:ROWS].contiguous(), rows[ROWS:].contiguous()


def encoder() -> nn.Sequential:
    return nn.Sequential(nn.Linear(COLUMNS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT))


def decoder() -> nn.Sequential:
    return nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, COLUMNS))


def vaefast_numbers(epochs: int) -> tuple[float, float]:
    import vaefast

    rows, held = table("numbers")
    model = vaefast.VAE(data_shape=(COLUMNS,), latent_dim=LATENT, encoder=encoder(), decoder=decoder(), gamma=1.0,
                        standardise=False)
    took = seconds(lambda: model.fit(rows, epochs=epochs, batch_size=BATCH, lr=LR, progress=False, device="cpu"))
    with torch.no_grad():
        return took, -float(model(held)["loss"])


def pythae_numbers(epochs: int) -> tuple[float, float]:
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = encoder()

        def forward(self, x: Tensor) -> Any:
            mean, logvar = self.layers(x).chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=logvar)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = decoder()

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.layers(z))

    rows, held = table("numbers")
    model = VAE(VAEConfig(input_dim=(COLUMNS,), latent_dim=LATENT), encoder=Encoder(), decoder=Decoder())
    config = BaseTrainerConfig(output_dir=tempfile.mkdtemp(), per_device_train_batch_size=BATCH, learning_rate=LR,
                               num_epochs=epochs, no_cuda=True)
    trainer = BaseTrainer(model, BaseDataset(rows, torch.zeros(len(rows))), training_config=config)
    took = seconds(trainer.train)
    with torch.no_grad():
        loss = model(BaseDataset(held, torch.zeros(len(held)))[:])["loss"]
    return took, -float(loss) - 0.5 * COLUMNS * float(np.log(2 * np.pi))  # it leaves the Gaussian's constant out


def vaefast_counts(epochs: int) -> tuple[float, float]:
    import vaefast

    rows, held = (dict(zip(map(str, range(COLUMNS)), part.T.long().numpy())) for part in table("counts"))
    model = vaefast.TableVAE(latent_dim=LATENT, likelihood=dict.fromkeys(rows, "poisson"), width=HIDDEN, depth=1, second=None)
    took = seconds(lambda: model.fit(rows, epochs=epochs, batch_size=BATCH, lr=LR, progress=False, device="cpu"))
    return took, float(-model.anomaly_score(held, samples=1).mean())


def scvi_counts(epochs: int) -> tuple[float, float]:
    import anndata
    import scvi

    rows, held = (anndata.AnnData(part.numpy()) for part in table("counts"))
    scvi.model.SCVI.setup_anndata(rows)
    model = scvi.model.SCVI(rows, n_hidden=HIDDEN, n_latent=LATENT, n_layers=1, dropout_rate=0.0, gene_likelihood="poisson")
    took = seconds(lambda: model.train(max_epochs=epochs, batch_size=BATCH, train_size=1.0, accelerator="cpu", logger=False,
                                       enable_progress_bar=False,
                                       plan_kwargs={"lr": LR, "n_epochs_kl_warmup": None, "n_steps_kl_warmup": 1}))
    return took, -abs(float(model.get_elbo(held)))


PEERS: dict[str, tuple[str, Callable[[int], tuple[float, float]]]] = {
    "vaefast.VAE": ("numbers", vaefast_numbers), "pythae VAE": ("numbers", pythae_numbers),
    "vaefast.TableVAE": ("counts", vaefast_counts), "scvi-tools SCVI": ("counts", scvi_counts)}


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alone(name: str, epochs: int) -> None:
    """Train one of them here, and print what came."""
    torch.manual_seed(0)
    took, bound = PEERS[name][1](epochs)
    print(RESULT + json.dumps({"seconds": took, "bound": bound}))


def compare(out: Path, epochs: int, rounds: int, scvi: str | None) -> None:
    """All of them in turns; the file is written after each."""
    from benchmarks import machine

    runs: dict[str, list[dict[str, float]]] = {name: [] for name in PEERS}
    result: dict[str, Any] = {"rows": ROWS, "columns": COLUMNS, "epochs": epochs, "batch_size": BATCH,
                              "machine": machine.describe()}
    for _ in range(rounds):
        for name in PEERS:
            path = os.pathsep.join(filter(None, [scvi if "scvi" in name else None, os.environ.get("PYTHONPATH")]))
            done = subprocess.run([sys.executable, "-m", "benchmarks.table_peers", "--alone", name, "--epochs", str(epochs)],
                                  capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
            line = next((line for line in done.stdout.splitlines() if line.startswith(RESULT)), None)
            if line is None:
                print(f"{name} failed:\n{done.stderr[-2000:]}")
                continue
            runs[name].append(json.loads(line.removeprefix(RESULT)))
            result["peers"] = {n: summed(n, r, epochs) for n, r in runs.items() if r}
            out.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))


def summed(name: str, runs: list[dict[str, float]], epochs: int) -> dict[str, Any]:
    rates = [ROWS * epochs / run["seconds"] for run in runs]
    return {"table": PEERS[name][0], "rows_a_second": statistics.median(rates), "all": rates, "bound": runs[-1]["bound"]}


def markdown(result: dict[str, Any]) -> str:
    """The table that the page shows."""
    lines = ["| on | package | rows a second | least and most | held-out bound, nats a row |",
             "| --- | --- | ---: | ---: | ---: |"]
    lines += [f"| {peer['table']} | {name} | {peer['rows_a_second']:,.0f} | {min(peer['all']):,.0f} to {max(peer['all']):,.0f} | "
              f"{peer['bound']:.2f} |" for name, peer in result["peers"].items()]
    return "\n".join(lines)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scvi", metavar="FOLDER")
    parser.add_argument("--alone", choices=PEERS)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="print the table of a file that is there")
    args = parser.parse_args(words)
    if args.markdown:
        print(markdown(json.loads(args.markdown.read_text())))
    elif args.alone:
        alone(args.alone, args.epochs)
    elif args.out:
        compare(args.out, args.epochs, args.rounds, args.scvi)
    else:
        parser.error("name the file to write: --out FILE.json")


if __name__ == "__main__":
    main()
