"""`vaefast.TableVAE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from vaefast import models
from vaefast.api.base import Model, Part
from vaefast.api.reading import Reading
from vaefast.api.second_stage import SecondKind, build_second, fit_mixture, second_defaults, second_sizes, source_of_codes
from vaefast.data.columns import Kind
from vaefast.data.table import Schema, Table
from vaefast.errors import ArgumentError, DataError
from vaefast.models.column_likelihoods import LIKELIHOODS, USUAL, ColumnLikelihoods, Margin
from vaefast.models.imputation import impute
from vaefast.models.latents import Latents
from vaefast.models.mode import evaluating
from vaefast.models.noise_level import Gamma
from vaefast.models.posterior import DiagonalGaussian
from vaefast.models.second_stage import SecondStage, TwoStages
from vaefast.nets.shapes import whole_number
from vaefast.nets.table import TableDecoder, TableEncoder
from vaefast.training.progress import make_progress
from vaefast.training.settings import StageSettings
from vaefast.training.sources import PosteriorSource, RowSource
from vaefast.training.stage import History

Scale = Literal["learned", "predicted"] | float
FIRST = StageSettings(epochs=300, batch_size=128, lr=3e-3, schedule="cosine", clip_norm=100.0)
"""How the table's own stage is trained, but for `STEPS`."""
SECOND_VAE = StageSettings(epochs=300, batch_size=128, lr=1e-3, schedule="cosine")
"""How a second VAE on its codes is, likewise."""
STEPS = (1_000, 20_000)
"""Least and most steps of a stage whose length is given in epochs, where nothing is said: of few rows, and of very many."""
ROWS = 4096
"""Rows that go through the networks at a time, outside of training."""


class TableVAE(Model, TwoStages):
    """A VAE of tables with columns of any kinds: `fit`, `sample_frame`, `impute`, `anomaly_score`, `log_prob`, `encode`, `save`.

    >>> model = vaefast.TableVAE(latent_dim=8, likelihood={"age": "gaussian", "city": "categorical"})
    >>> history = model.fit(frame, epochs=300)   # a data frame, a dict of columns, or an array [N, C]
    >>> new = model.sample_frame(1000)           # a frame of the same columns and dtypes

    The networks are built when the columns are known: at the first `fit`, or by `TableVAE.of(frame, ...)`. `save` keeps the
    columns, so that a loaded model reads frames as before. Missing entries (NaN, None) may stand anywhere: they enter the encoder
    as 0, with what is missing as a further input, and the loss is of the entries that are there.

    Likelihoods, where none is named: booleans, and numbers that are all 0 or 1, "bernoulli"; words and pandas categories
    "categorical"; whole numbers of 0 and more, with 0 among them, "negative-binomial"; other numbers "gaussian". `fit` tells in
    one line what it chose. "laplace" and "student-t" are for numbers, too, "poisson", "zero-inflated-poisson" and
    "zero-inflated-negative-binomial" for counts, and whole numbers can be "categorical".

    Args:
        columns: names of the columns that count; all if None. Of a model that is built already: its `vaefast.data.Schema`, or
            what `Schema.describe` gives.
        latent_dim: dimensions of the code z.
        likelihood: of columns by name; by the rules above for the others.
        scale: of the noise of numbers: "predicted" from the code; "learned", one for each column; or a number, in standard
            deviations of the column. The first two are at least 0.01 of these.
        width, depth: of the encoder's and the decoder's hidden layers, and residual blocks in each.
        dropout: share of hidden units that are left out in training.
        beta: weight of the KL.
        second: what learns how the codes lie: "mixture", "flow", "vae" (see `vaefast.SecondStage`), or None: codes are drawn from
            N(0, I).
        second_gamma: a second VAE's decoder noise.
        second_width, second_depth: hidden layers of its networks; 1024 and 3 of "vae", 512 and 4 of "flow" if None.

    Raises:
        ArgumentError: a value that cannot work. `fit` also: DataError, a column that cannot be read.

    `model.first` is the plain module, a `vaefast.models.TableVAE`. Sources: Nazabal et al. 2020, "Handling Incomplete
    Heterogeneous Data using VAEs"; Mattei & Frellsen 2018, 2019; Rezende et al. 2014 (see `impute` and `anomaly_score`).
    """

    kind = "table"
    holds_out = True
    first: models.TableVAE
    second: SecondStage | None
    schema: Schema | None = None
    """The columns, once they are known."""
    defaults: tuple[StageSettings, ...]

    def __init__(self, columns: Schema | Sequence[Any] | None = None, latent_dim: int = 8, *,
                 likelihood: Mapping[str, str] | None = None, scale: Scale = "predicted", width: int = 128, depth: int = 2,
                 dropout: float = 0.0, beta: float = 1.0, second: SecondKind | None = "mixture", second_gamma: Gamma = "learned",
                 second_width: int | None = None, second_depth: int | None = None) -> None:
        super().__init__()
        for name, value in (("latent_dim", latent_dim), ("width", width), ("depth", depth)):
            whole_number(name, value)
        if isinstance(dropout, bool) or not 0 <= dropout < 1:
            raise ArgumentError(f"dropout is {dropout!r}; expected a share of 0 or more, below 1.")
        self._likelihood = {str(name): row for name, row in (likelihood or {}).items()}
        for name, row in self._likelihood.items():
            if row not in LIKELIHOODS:
                raise ArgumentError(f"likelihood of {name!r} is {row!r}; expected one of {', '.join(LIKELIHOODS)}.")
        self._k, self._net = latent_dim, (width, depth, dropout)
        self._scale, self._beta = scale, beta
        if second is None:
            self.second, self.defaults, sizes = None, (FIRST,), (second_width, second_depth)
        else:
            sizes = second_sizes(second, second_width, second_depth)
            self.second = build_second(latent_dim, *sizes, kind=second, gamma=second_gamma)
            self.defaults = (FIRST, *second_defaults(second, SECOND_VAE))
        self._usual = self.defaults
        self._settled = {"second_width": sizes[0], "second_depth": sizes[1]}
        self._chosen: list[str | int] | None = None
        if isinstance(columns, Schema):
            self._build(columns)
        elif columns is not None and not isinstance(columns, (str, bytes)) and all(isinstance(c, Mapping) for c in columns):
            self._build(Schema.from_description(columns))
        elif columns is not None:
            if isinstance(columns, (str, bytes)) or not all(isinstance(c, (str, int)) for c in columns):
                raise ArgumentError(f"columns is {columns!r}; expected a list of names, or a schema.")
            self._chosen = list(columns)
        ColumnLikelihoods(["gaussian"], [Margin()], scale)  # refuses a scale now, where the columns come later

    @classmethod
    def of(cls, frame: Any, *, columns: Sequence[str | int] | None = None, **arguments: Any) -> TableVAE:
        """A model of the columns of `frame`, built and not trained; `arguments` as for the class."""
        return cls(_schema(frame, columns, arguments.get("likelihood") or {}), **arguments)

    def _build(self, schema: Schema) -> None:
        """Networks for these columns; what was not known of the arguments is settled."""
        if unknown := next((name for name in self._likelihood if name not in schema.names), None):
            raise ArgumentError(f"likelihood names {unknown!r}, which is no column of the table; it has "
                                f"{', '.join(schema.names)}.")
        chosen = {}
        for column in schema.columns:
            name = chosen[str(column.name)] = self._likelihood.get(str(column.name), USUAL[column.kind])
            if LIKELIHOODS[name].kind != column.kind:
                fitting = [row for row, made in LIKELIHOODS.items() if made.kind == column.kind]
                raise ArgumentError(f"likelihood of {column.name!r} is {name!r}, and the column is of kind {column.kind!r}; "
                                    f"expected {' or '.join(fitting)}.")
        margins = [Margin(len(c.words), c.shares, c.mean) for c in schema.columns]
        likelihoods = ColumnLikelihoods(list(chosen.values()), margins, self._scale)
        encoder = TableEncoder([c.kind for c in schema.columns], [len(c.words) for c in schema.columns], self._k, *self._net)
        decoder = TableDecoder(self._k, likelihoods.width, *self._net, start=likelihoods.start)
        self.first = models.TableVAE(encoder, decoder, likelihoods, latent_dim=self._k, beta=self._beta)
        self.schema, self.likelihood = schema, chosen
        self._settled = {**self._settled, "columns": schema.describe(), "likelihood": chosen}
        if "_config" in vars(self):
            self._config.update(self._settled)

    def _known(self) -> Schema:
        """The columns; ArgumentError where they are not known yet."""
        if self.schema is None:
            raise ArgumentError("the model has no columns yet; fit it, or build it by vaefast.TableVAE.of(frame, ...).")
        return self.schema

    @property
    def device(self) -> torch.device:
        """Where the weights lie, and where samples are drawn; the CPU before there are any."""
        return torch.device("cpu") if self.schema is None else super().device

    @property
    def latent_dim(self) -> int:
        """Dimensions k of a code z."""
        return self._k

    def fit(self, data: Any, y: Any = None, **settings: Any) -> History:
        """Train on a table: a data frame, a dict of columns, an array [N, C], or a `vaefast.data.Table`.

        `y` is ignored, as by scikit-learn's transformers. `settings` are those of `vaefast.VAE.fit`; the defaults are 300 epochs,
        but at least 1,000 and at most 20,000 steps, in batches of 128 (all rows, where there are fewer), with a learning rate of
        3e-3 that falls as a cosine. Loss terms are in nats a row, of standardised numbers.

        Raises:
            DataError: a column is missing, has infinity, words and numbers, no value at all, or words that a built model does not
                know; fewer than 2 rows. Others as `vaefast.VAE.fit`.
        """
        if self.schema is None:
            self._build(_schema(data, self._chosen, self._likelihood))
            told = ", ".join(f"{name} {row}" for name, row in self.likelihood.items() if name not in self._likelihood)
            if told:
                make_progress(settings.get("progress", True)).message(f"likelihoods by the columns' values: {told}")
        return super().fit(data, **settings)

    def _accept(self, data: Any) -> tuple[Table, dict[str, Any]]:
        table = self._known().read(data)
        if len(table) < 2:
            raise DataError(f"the table has {len(table)} row; a model takes 2 or more to learn from.")
        return table, {"name": "table", "count": len(table), "columns": len(table.schema), "digest": table.digest}

    def _hold_out(self, data: Table, validation: Any, reading: Reading) -> tuple[Any, tuple[Any, dict[str, Any]] | None]:
        kept, held_out = super()._hold_out(data, validation, reading)
        self.defaults = tuple(_fitting(s, len(kept)) for s in self._usual)  # of the rows that are trained on
        return kept, held_out

    def _source(self, data: Table, device: torch.device) -> RowSource:
        return RowSource(self._known().scaled(data.values).float(), device)

    def _codes(self, data: Table, device: torch.device) -> Latents:
        posterior = PosteriorSource.of(self.first, self._source(data, device), device).posterior
        return Latents(posterior.mean, posterior.std)

    def _parts(self, data: Table, device: torch.device) -> list[Part]:
        parts: list[Part] = [("stage1", self.first, lambda: self._source(data, device))]
        if len(self.defaults) > 1:
            second = self.second
            assert second is not None
            parts.append(("stage2", second, lambda: source_of_codes(self._codes(data, device), device)))
        return parts

    def _conclude(self, data: Table, seed: int, device: torch.device) -> dict[str, float]:
        return fit_mixture(self.second, lambda: self._codes(data, device), seed)

    def save(self, path: Any, *, overwrite: bool = False) -> Any:
        self._known()
        return super().save(path, overwrite=overwrite)

    save.__doc__ = Model.save.__doc__

    def forward(self, data: Any) -> dict[str, Tensor]:
        """Loss terms of a batch, a frame or array, for your own training loop: nats a row, of standardised numbers."""
        rows = self._scaled(data)
        terms: dict[str, Tensor] = self.first(rows)
        return terms

    def _scaled(self, data: Any) -> Tensor:
        schema = self._known()
        return schema.scaled(schema.read(data).values).to(self.device, torch.float32)

    def _unscaled(self, x: Tensor) -> Tensor:
        return self._known().unscaled(x.double().cpu())

    def encode(self, data: Any) -> DiagonalGaussian:
        """q(z|x) of the rows of a frame, of their entries that are there: `mean`, `std` and `sample()`, [N, k] each.

        Raises:
            DataError: see `vaefast.data.Schema.read`.
        """
        x = self._scaled(data)
        with evaluating(self.first), torch.no_grad():
            parts = [self.first.encode(part) for part in x.split(ROWS)]
        return DiagonalGaussian(torch.cat([p.mean for p in parts]), torch.cat([p.raw for p in parts]), parts[0].param)

    def decode(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Rows drawn from p(x|z) of codes [B, k], float64 [B, C] on the CPU, in the table's units: words as their index, booleans
        as 0 and 1, whole numbers rounded."""
        self._known()
        with evaluating(self.first), torch.no_grad():
            return self._tidy(self.first.draw(z, generator))

    def _tidy(self, x: Tensor) -> Tensor:
        values, schema = self._unscaled(x), self._known()
        whole = torch.tensor([column.whole and column.kind == "number" for column in schema.columns])
        return torch.where(whole, values.round(), values)

    def reconstruct(self, data: Any, generator: torch.Generator | None = None) -> Any:
        """A frame like `data`, decoded from a *drawn* code of each row: the mean of numbers and counts, the most probable word or
        boolean. Nothing in it is missing."""
        schema, z = self._known(), self.encode(data).sample(generator)
        with evaluating(self.first), torch.no_grad():
            return schema.frame(self._unscaled(self.first.decode(z)), like=_like(data))

    def sample_codes(self, n: int, generator: torch.Generator | None = None, *, stage: int | None = None, condition: Any = None,
                     **options: Any) -> Tensor:
        """n codes z, [n, k]: stage 1, from N(0, I); stage 2, from the second stage; None: by the last stage there is."""
        self._known()
        return super().sample_codes(n, generator, stage=stage, condition=condition, **options)

    def sample(self, n: int, generator: torch.Generator | None = None, *, stage: int | None = None, condition: Any = None,
               **options: Any) -> Tensor:
        """n new rows, float64 [n, C], with the columns' noise: see `decode`. `sample_frame` gives them as a frame."""
        return self.decode(self.sample_codes(n, generator, stage=stage, condition=condition, **options), generator)

    def sample_frame(self, n: int, generator: torch.Generator | None = None, *, stage: int | None = None) -> Any:
        """n new rows in the columns and dtypes of the training's: a pandas DataFrame, or a dict of arrays [n] where pandas is not
        installed."""
        return self._known().frame(self.sample(n, generator, stage=stage))

    def impute(self, data: Any, draws: int = 1, *, mean: bool = False, passes: int = 100, burn_in: int = 20,
               generator: torch.Generator | None = None) -> Any:
        """A frame like `data` whose missing entries are filled, given those that are there in their row.

        Each row has a Markov chain between its code and its missing entries: pseudo-Gibbs sampling (Rezende et al. 2014, appendix
        F) for `burn_in` passes, and Metropolis-within-Gibbs, which corrects for q(z|x) not being the posterior (Mattei &
        Frellsen 2018, algorithm 2), for `passes`. The density of codes is that of a second stage "mixture", and else N(0, I).

        Args:
            draws: frames of independent draws: one, or a list of so many, for multiple imputation.
            mean: instead, one frame of conditional means, and the most frequent words and booleans, over `draws` chains.

        Raises:
            ArgumentError: draws or passes below 1, burn_in below 0. DataError: see `vaefast.data.Schema.read`.
        """
        schema = self._known()
        for name, value in (("draws", draws), ("passes", passes)):
            whole_number(name, value)
        if isinstance(burn_in, bool) or not isinstance(burn_in, int) or burn_in < 0:
            raise ArgumentError(f"burn_in is {burn_in!r}; expected a whole number, 0 or more.")
        table = schema.read(data)
        rows, prior = (~table.observed).any(1).nonzero()[:, 0], self._log_prior()
        holes = self._scaled(table.subset(rows))
        chains = [holes.new_zeros(draws, 0, len(schema))]
        with evaluating(self.first), torch.no_grad():
            for part in holes.split(max(1, ROWS // draws)) if len(rows) else ():
                filled = impute(self.first, part.repeat(draws, 1), passes=passes, burn_in=burn_in, generator=generator,
                                log_prior=prior)
                chains.append((filled.best if mean else filled.drawn).unflatten(0, (draws, len(part))))
        together = torch.cat(chains, 1)
        frames = []
        for chain in self._averaged(together)[None] if mean else together:
            values = table.values.clone()
            values[rows] = torch.where(table.observed[rows], table.values[rows], self._tidy(chain))
            frames.append(schema.frame(values, like=_like(data)))
        return frames if draws > 1 and not mean else frames[0]

    def _averaged(self, chains: Tensor) -> Tensor:
        """Means over chains [D, N, C]; of words and booleans what most of them say."""
        average = chains.mean(0)
        for column in self.first.likelihoods.discrete:
            average[:, column] = chains[:, :, column].mode(0).values
        return average

    def log_prob(self, data: Any, samples: int = 64, generator: torch.Generator | None = None) -> Tensor:
        """A lower bound of log p(x) of the rows' entries that are there, float64 [N] on the CPU, in nats: a density in the
        numbers' own units, a probability of all else. It rises with `samples` (`vaefast.models.TableVAE.bound`).

        Codes have the density of a second stage "mixture", and else N(0, I). A number that was always the same counts for
        nothing.
        """
        whole_number("samples", samples)
        schema = self._known()
        table = schema.read(data)
        x, prior = self._scaled(table), self._log_prior()
        with evaluating(self.first):
            bound = torch.cat([self.first.bound(part, samples, generator, prior) for part in x.split(ROWS)]).cpu()
        std = [c.std if c.kind == "number" and c.std else 1.0 for c in schema.columns]
        return bound - (table.observed * torch.tensor(std, dtype=torch.float64).log()).sum(1)

    def anomaly_score(self, data: Any, samples: int = 64, generator: torch.Generator | None = None) -> Tensor:
        """How rare the rows of a frame are, float64 [N]: -`log_prob`, higher is rarer. Rows in which other entries are missing
        cannot be compared, as they are scored by what is there."""
        return -self.log_prob(data, samples, generator)

    def _log_prior(self) -> models.table_vae.LogPrior | None:
        second = self.second
        if not isinstance(second, models.Mixture):
            return None
        return lambda z: second.log_prob(z).to(z.dtype)


def _schema(frame: Any, columns: Sequence[str | int] | None, likelihood: Mapping[str, str]) -> Schema:
    """The columns of a frame, of the kinds that their likelihoods take."""
    for name, row in likelihood.items():
        if row not in LIKELIHOODS:
            raise ArgumentError(f"likelihood of {name!r} is {row!r}; expected one of {', '.join(LIKELIHOODS)}.")
    kinds: dict[str, Kind] = {str(name): LIKELIHOODS[row].kind for name, row in likelihood.items()}  # type: ignore[misc]
    return Schema.of(frame, columns=columns, kinds=kinds)


def _fitting(settings: StageSettings, rows: int) -> StageSettings:
    """The settings for so many rows: no batch is larger, and no stage shorter or longer than `STEPS`."""
    settings = replace(settings, batch_size=min(settings.batch_size, rows))
    steps = settings.total_steps(rows // settings.batch_size)
    if settings.epochs is None or STEPS[0] <= steps <= STEPS[1]:
        return settings
    return replace(settings, epochs=None, steps=min(max(steps, STEPS[0]), STEPS[1]))


def _like(data: Any) -> Any:
    return {} if isinstance(data, Table) else data
