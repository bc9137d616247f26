"""Models of tables side by side on scikit-learn's own sets: `vaefast.TableVAE`, a Gaussian copula and a mixture of Gaussians.

`python -m benchmarks.tables --out FILE.json [--seeds 3]` fits each to two thirds of the rows and compares as many draws as there
are other rows with these: a classifier's two-sample test, the distance of columns, the error of their associations. Then a fifth
of the entries of the other rows is hidden and filled in. "rows of the training" is the floor: real rows in the place of draws;
they fill in with the mean, or the most frequent word. The first part times the likelihoods of a table's columns computed in
blocks against a loop over the columns. What is in the file already is not done again, so that the same command goes on where it
was cut off. Splits are those of seeds 1, 2, ...: the defaults of TableVAE were chosen by the splits of seed 0.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import vaefast
from benchmarks import machine
from benchmarks.measure import measure
from vaefast.data import Schema, Table
from vaefast.metrics import association_error, classifier_test, column_distances, imputation_error
from vaefast.models.column_likelihoods import ColumnLikelihoods, Margin
from vaefast.models.copula import GaussianCopula
from vaefast.models.samplers import Mixture

HIDDEN = 0.2
CHAINS = 20
"""Draws that a filled-in value is the mean of."""
SCORES = {"auc": "AUC", "auc_logistic": "AUC, logistic", "columns": "columns", "associations": "associations",
          "fill_numbers": "fill, numbers", "fill_words": "fill, words"}


def sets() -> dict[str, dict[str, Any]]:
    """The tables, as dicts of columns: measurements, and what they were taken for as words or a number."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

    found = {}
    for name, load, target in (("breast-cancer", load_breast_cancer, "diagnosis"), ("wine", load_wine, "cultivar")):
        data = load()
        words = np.array([str(word) for word in data.target_names])[data.target]
        found[name] = {**dict(zip(map(str, data.feature_names), data.data.T)), target: words}
    data = load_diabetes(scaled=False)
    columns = dict(zip(map(str, data.feature_names), data.data.T))
    columns["sex"] = np.array(["one", "two"])[columns["sex"].astype(int) - 1]
    found["diabetes"] = {**columns, "progression": data.target}
    return found


class Fitted:
    """A model of a table: `draw(n)` rows, and `fill` the holes of others (NaN) with means and most frequent words."""

    def __init__(self, draw: Callable[[int], Tensor], fill: Callable[[Table], Tensor], settings: str) -> None:
        self.draw, self.fill, self.settings = draw, fill, settings


def table_vae(train: Table, seed: int, **options: Any) -> Fitted:
    torch.manual_seed(seed)
    model = vaefast.TableVAE(train.schema, **options)
    model.fit(train, device="cpu", progress=False, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return Fitted(lambda n: model.sample(n, generator),
                  lambda holes: train.schema.read(model.impute(holes, mean=True, draws=4, generator=generator)).values,
                  ", ".join(f"{k} {v}" for k, v in model.config().items()
                            if k in ("latent_dim", "width", "depth", "dropout", "scale", "second")))


def copula(train: Table, seed: int) -> Fitted:
    generator = torch.Generator().manual_seed(seed)
    columns = train.schema.columns
    model = GaussianCopula([column.kind != "number" for column in columns]).fit(train.values, generator)

    def fill(holes: Table) -> Tensor:
        chains = model.impute(holes.values, CHAINS, generator)
        filled = chains.mean(0)
        for i in train.schema.places("category", "boolean"):
            filled[:, i] = chains[:, :, i].mode(0).values
        return torch.where(holes.observed, holes.values, filled)

    return Fitted(lambda n: model.sample(n, generator), fill, "columns' own distributions")


def mixture(train: Table, seed: int) -> Fitted:
    """Of standardised numbers and one-hot words; words are read off as the largest."""
    schema = train.schema
    model = Mixture(_flat(train)[0].shape[1], "auto", seed=seed, floor=1e-4).fit(_flat(train)[0])
    generator = torch.Generator().manual_seed(seed)
    return Fitted(lambda n: _table_of(schema, model.sample(n, generator).double()),
                  lambda holes: torch.where(holes.observed, holes.values, _table_of(schema, _expected(model, *_flat(holes)))),
                  f"{len(model.weights)} components")


def _flat(table: Table) -> tuple[Tensor, Tensor]:
    """Rows of standardised numbers and one-hot words, and which of these are there."""
    scaled, columns, there = table.schema.scaled(table.values), [], []
    for i, column in enumerate(table.schema.columns):
        seen = table.observed[:, i, None]
        values = torch.where(seen, scaled[:, i, None], 0)
        values = F.one_hot(values[:, 0].long(), len(column.words)).double() if column.kind == "category" else values
        columns.append(values * seen)
        there.append(seen.expand_as(values))
    return torch.cat(columns, 1), torch.cat(there, 1)


def _table_of(schema: Schema, flat: Tensor) -> Tensor:
    sizes = [len(column.words) if column.kind == "category" else 1 for column in schema.columns]
    parts = [part.argmax(1).double() if column.kind == "category" else part[:, 0]
             for column, part in zip(schema.columns, flat.split(sizes, 1))]
    return schema.unscaled(torch.stack(parts, 1))


def _expected(model: Mixture, x: Tensor, there: Tensor) -> Tensor:
    """The mean of what is missing given the rest, of rows [N, F]."""
    x = x.clone()
    covariances = model.cholesky @ model.cholesky.mT
    for row in range(len(x)):
        seen, hole = there[row], ~there[row]
        if not hole.any():
            continue
        weights, means = [], []
        for weight, mean, covariance in zip(model.weights, model.means, covariances):
            inner = covariance[seen][:, seen]
            difference = x[row, seen] - mean[seen]
            weights.append(weight.log() + torch.distributions.MultivariateNormal(mean[seen], inner).log_prob(x[row, seen]))
            means.append(mean[hole] + covariance[hole][:, seen] @ torch.linalg.solve(inner, difference))
        x[row, hole] = torch.softmax(torch.stack(weights), 0) @ torch.stack(means)
    return x


MODELS: dict[str, Callable[..., Fitted]] = {"TableVAE": table_vae, "copula": copula, "mixture": mixture}
FLOOR = "rows of the training"


def compare(name: str, columns: dict[str, Any], seed: int, models: list[str], say: Callable[[dict[str, Any]], None],
            **options: Any) -> None:
    """Scores of each model on one set; `say` is given each."""
    schema = Schema.of(columns)
    table = schema.read(columns)
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))
    cut = 2 * len(table) // 3
    seen, test = table.subset(order[:cut]), table.subset(order[cut:])
    train = Schema.of(seen.frame(like={})).read(seen)  # means and shares of the training's rows alone
    test = train.schema.read(test)
    hidden = torch.rand(test.values.shape, generator=torch.Generator().manual_seed(seed)) < HIDDEN
    holes = Table(train.schema, test.values.masked_fill(hidden, torch.nan))

    def score(model: str, draws: Table, filled: Tensor | None, **more: Any) -> None:
        distances = column_distances(test, draws)
        row = {"set": name, "model": model, "seed": seed, "auc": classifier_test(test, draws, seed=seed).auc,
               "auc_logistic": classifier_test(test, draws, classifier="logistic", seed=seed).auc,
               "columns": statistics.mean(distances.values()), "associations": association_error(test, draws), **more}
        if filled is not None:
            error = imputation_error(test, Table(train.schema, filled), hidden)
            row |= {"fill_numbers": error.numbers, "fill_words": error.words}
        print(f"{name:14} {model:20} " + "  ".join(f"{SCORES[k]} {row[k]:.3f}" for k in SCORES if k in row)
              + "".join(f"  {k} {v:.1f}" for k, v in more.items() if isinstance(v, float)), flush=True)
        say(row)

    for model in models:
        if model == FLOOR:
            score(model, train.subset(slice(len(test))), _means(train, holes))
            continue
        start = time.perf_counter()
        fitted = MODELS[model](train, seed, **(options if model == "TableVAE" else {}))
        seconds = time.perf_counter() - start
        score(model, Table(train.schema, fitted.draw(len(test))), fitted.fill(holes), seconds=seconds, settings=fitted.settings)


def _means(train: Table, holes: Table) -> Tensor:
    means = train.values.nanmean(0)
    for i in train.schema.places("category", "boolean"):
        means[i] = train.values[:, i].mode().values
    return torch.where(holes.observed, holes.values, means)


def fused(seconds: float = 3.0) -> list[dict[str, Any]]:
    """Microseconds of the likelihood and its gradient, of all columns in blocks and in a loop over them."""
    results = []
    for count in (12, 48, 192):
        names = ["gaussian"] * (count // 2) + ["negative-binomial"] * (count // 6) + ["categorical"] * (count // 3)
        margins = [Margin(words=5 + i % 8 if name == "categorical" else 0, mean=3.0) for i, name in enumerate(names)]
        x = torch.stack([torch.poisson(torch.full((256,), 2.0)).clamp_max(4) for _ in names], 1)
        there = torch.rand(256, len(names)) > 0.1
        whole, each = ColumnLikelihoods(names, margins), [ColumnLikelihoods([n], [m]) for n, m in zip(names, margins)]
        raw = torch.randn(256, whole.width, requires_grad=True)
        parts = [torch.randn(256, one.width, requires_grad=True) for one in each]

        def blocks() -> None:
            whole.nll(x, raw, there).mean().backward()  # noqa: B023

        def loop() -> None:
            nll = [one.nll(x[:, i:i + 1], part, there[:, i:i + 1])  # noqa: B023
                   for i, (one, part) in enumerate(zip(each, parts))]  # noqa: B023
            torch.stack(nll, 1).sum(1).mean().backward()

        times = measure({"blocks": blocks, "loop": loop}, seconds)
        results.append({"columns": len(names), "rows": 256, **{name: t["median_us"] for name, t in times.items()},
                        "faster": round(times["loop"]["median_us"] / times["blocks"]["median_us"], 2)})
        print(f"{len(names)} columns of 256 rows: blocks {results[-1]['blocks']:,.0f} us, loop {results[-1]['loop']:,.0f} us, "
              f"{results[-1]['faster']:.1f} times as fast", flush=True)
    return results


def markdown(result: dict[str, Any]) -> str:
    """The tables of a file."""
    lines = ["| set | model | splits | " + " | ".join(SCORES.values()) + " |", "| --- | --- | ---: |" + " ---: |" * len(SCORES)]
    for name in dict.fromkeys(row["set"] for row in result["rows"]):
        for model in dict.fromkeys(row["model"] for row in result["rows"]):
            rows = [row for row in result["rows"] if (row["set"], row["model"]) == (name, model)]
            if not rows:
                continue
            cells = [f"{statistics.mean(row[key] for row in rows):.3f}" if key in rows[0] else "" for key in SCORES]
            lines.append(f"| {name} | {model} | {len(rows)} | " + " | ".join(cells) + " |")
    lines += ["", "| columns | blocks, us | loop, us | times as fast |", "| ---: | ---: | ---: | ---: |"]
    lines += [f"| {row['columns']} | {row['blocks']:,.0f} | {row['loop']:,.0f} | {row['faster']:.1f} |"
              for row in result["fused"]]
    return "\n".join(lines) + "\n"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--markdown", action="store_true", help="print the tables of a file that is there")
    args = parser.parse_args(words)
    out = Path(args.out)
    if args.markdown:
        print(markdown(json.loads(out.read_text())), end="")
        return
    result: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {
        "machine": machine.describe(), "hidden": HIDDEN, "fused": fused(), "rows": []}

    def keep(row: dict[str, Any] | None = None) -> None:
        result["rows"] += [] if row is None else [row]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")

    keep()
    for seed in range(1, args.seeds + 1):
        for name, columns in sets().items():
            done = {row["model"] for row in result["rows"] if (row["set"], row["seed"]) == (name, seed)}
            compare(name, columns, seed, [model for model in (*MODELS, FLOOR) if model not in done], keep)
    print("\n" + markdown(result), end="")


if __name__ == "__main__":
    main()
