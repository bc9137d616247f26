"""All that a training is asked for, in one place: `run.train` takes it, and trials, sweeps and other processes pass it on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from vaefast.errors import ArgumentError
from vaefast.experiments.presets import Preset, preset
from vaefast.training.augment import AugmentName
from vaefast.training.device import Precision
from vaefast.training.settings import StageSettings, override


@dataclass(frozen=True)
class Request:
    """A training run. JSON-ready by `as_dict`, and `Request(**that)` is the same again.

    Args:
        kind: what is trained, as `vaefast train` calls it.
        data_name, data_root, data_options: the data set, where its files are, and its loader's options.
        out: the run folder.
        preset_name: of `kind`.
        epochs, steps: a value for all stages, or one each.
        share: of the epochs or steps, and of the epochs between halvings of a learning rate: 0.1 is a tenth of them,
            3 three times as long.
        stages: as in a run's config.json, or parts of them, in the place of the preset's; of all stages, or one mapping each.
        stage_overrides: settings that replace those, of all stages or one mapping each.
        condition: "labels": the model is conditioned on the classes of the data's labels, and draws of a class on request.
        model_overrides: arguments of the model that replace the preset's; `networks` among them names what makes networks of the
            user's own, with `network_options`.
        seed, device, resume: as for `Model.fit`.
        precision: "auto", "fp32", "bf16" or "fp16" (autocast of the networks, fp16 with a scaled loss), or "tf32".
        start_from: weights to begin with: a run folder, or RUN/checkpoints/last-good.
        trainer: options of `vaefast.Trainer`, and `augment` of `fit`.
        command: the command line, for config.json.
        sample_every: epochs between pictures of samples.
        score_every: epochs between scores of samples; the best weights are kept as checkpoints/best-STAGE.
        augment: what is done to each batch of images: flip, crop, colour, cutout, or several (`vaefast.training.augment`).
        validation: share of the training images that is held out, for the loss on them after each epoch (or at `score_every`).
        keep_best: end with the best weights that `score_every` (or else `validation`) found.
        patience: scores in a row without a better one after which a stage ends.
        mi_every: epochs between estimates of the mutual information of images and codes, and its ceiling log N.
        tensorboard: write RUN/tensorboard, too.
        wandb: send records to this Weights & Biases project, too.
        mlflow: send records to this MLflow experiment, too (where MLFLOW_TRACKING_URI says).
        csv: write RUN/metrics.csv, too.
        coded: images of the latents page, spread over the set; None: up to 10,000.

    Raises:
        ArgumentError: settings that do not go together.
    """

    kind: str
    data_name: str
    out: str
    data_root: str | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)
    preset_name: str = "quick"
    condition: Literal["labels"] | None = None
    epochs: Sequence[float] | None = None
    steps: Sequence[int] | None = None
    share: float = 1.0
    stages: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    stage_overrides: Mapping[str, Any] | Sequence[Mapping[str, Any]] = field(default_factory=dict)
    model_overrides: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    resume: bool | str = False
    start_from: str | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    sample_every: float | None = None
    score_every: float | None = None
    augment: Sequence[AugmentName] | None = None
    validation: float | None = None
    keep_best: bool = False
    patience: int | None = None
    mi_every: float | None = None
    tensorboard: bool = False
    wandb: str | None = None
    mlflow: str | None = None
    csv: bool = False
    coded: int | None = None

    def __post_init__(self) -> None:
        for name in ("keep_best", "patience"):
            if getattr(self, name) and self.score_every is None and self.validation is None:
                raise ArgumentError(f"{name} was given without score_every or validation; say by which score, and how often.")
        if not 0 < self.share < math.inf:
            raise ArgumentError(f"share is {self.share!r}; expected a number above 0.")
        if self.score_every is not None and not 0 < self.score_every < math.inf:
            raise ArgumentError(f"score_every is {self.score_every!r}; expected a number of epochs above 0.")

    @property
    def preset(self) -> Preset:
        """The preset; `ArgumentError` where there is none."""
        return preset(self.kind, self.preset_name)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    def with_overrides(self, model: Mapping[str, Any], stages: Mapping[str, Any]) -> Request:
        """The same with more arguments of the model, and settings of all stages, on top."""
        before = self.stage_overrides
        merged = {**before, **stages} if isinstance(before, Mapping) else [{**one, **stages} for one in before]
        return replace(self, model_overrides={**self.model_overrides, **model}, stage_overrides=merged)

    def stages_from(self, base: Sequence[StageSettings]) -> tuple[StageSettings, ...]:
        """The stages' settings, from the preset's; `ArgumentError` where there are other numbers of them."""
        count = len(base)
        for name in ("epochs", "steps", "stages", "stage_overrides"):
            values, least = getattr(self, name), 1 if name in ("epochs", "steps") else count
            if not isinstance(values, Mapping | None) and len(values) not in (least, count):
                raise ArgumentError(f"{name} has {len(values)} values; {self.kind} has {count} stage{'s' * (count > 1)}: give "
                                    f"{least}{f' or {count}' * (count > least)}.")
        settings = [override(s, _of_stage(i, self.stages or {})) for i, s in enumerate(base)]
        overrides = [_of_stage(i, self.stage_overrides) | self.budget(i) for i in range(count)]
        chosen = (override(s, {**one, "ramps": {**s.ramps, **one["ramps"]}} if "ramps" in one else one)
                  for s, one in zip(settings, overrides))
        return tuple(self._shortened(one) for one in chosen)

    def _shortened(self, settings: StageSettings) -> StageSettings:
        """The same with `share` of its length."""
        if self.share == 1:
            return settings
        names = ("epochs", "halve_every") if settings.schedule == "halving" else ("epochs",)
        lengths = {name: value * self.share for name in names if (value := getattr(settings, name)) is not None}
        steps = {} if settings.steps is None else {"steps": max(1, round(settings.steps * self.share))}
        return override(settings, lengths | steps)

    def budget(self, stage: int) -> dict[str, Any]:
        """`epochs` or `steps` of a stage, where they are given."""
        budgets = {"epochs": self.epochs, "steps": self.steps}
        return {name: values[stage if len(values) > 1 else 0] for name, values in budgets.items() if values is not None}


def _of_stage(stage: int, settings: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What concerns a stage of what is given for all, or for each: images and their losses' weights are the first one's alone."""
    if not isinstance(settings, Mapping):
        return dict(settings[stage])
    return {name: value for name, value in settings.items() if stage == 0 or name not in ("flip", "ramps")}
