"""All that a training is asked for, in one place: `run.train` takes it, and trials, sweeps and other processes pass it on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vaefast.errors import ArgumentError
from vaefast.experiments.presets import Preset, preset
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
        stages: of config.json, or parts of them: what stands in the place of the preset's, one mapping a stage.
        stage_overrides: settings that replace those, of all stages or one mapping each.
        model_overrides: arguments of the model that replace the preset's; `networks` among them names what makes networks of the
            user's own, with `network_options`.
        seed, device, precision, resume, start_from: as for `Model.fit`.
        trainer: options of `vaefast.Trainer`.
        command: the command line, for config.json.
        sample_every: epochs between pictures of samples.
        score_every: epochs between scores of samples; the best weights are kept as checkpoints/best-STAGE.
        keep_best: they are the model's in the end, too.
        mi_every: epochs between estimates of the information in codes.
        tensorboard, wandb: loggers; the second is a project's name.
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
    epochs: Sequence[float] | None = None
    steps: Sequence[int] | None = None
    stages: Sequence[Mapping[str, Any]] | None = None
    stage_overrides: Mapping[str, Any] | Sequence[Mapping[str, Any]] = field(default_factory=dict)
    model_overrides: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    resume: bool | str = False
    start_from: str | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    sample_every: float | None = None
    score_every: float | None = None
    keep_best: bool = False
    mi_every: float | None = None
    tensorboard: bool = False
    wandb: str | None = None
    coded: int | None = None

    def __post_init__(self) -> None:
        if self.keep_best and self.score_every is None:
            raise ArgumentError("keep_best was given without score_every; say how often to score.")
        if self.score_every is not None and not 0 < self.score_every < math.inf:
            raise ArgumentError(f"score_every is {self.score_every!r}; expected a number of epochs above 0.")

    @property
    def preset(self) -> Preset:
        """The preset; `ArgumentError` where there is none."""
        return preset(self.kind, self.preset_name)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    def stages_from(self, base: Sequence[StageSettings]) -> tuple[StageSettings, ...]:
        """The stages' settings, from the preset's; `ArgumentError` where there are other numbers of them."""
        count = len(base)
        for name, values in (("epochs", self.epochs), ("steps", self.steps), ("stages", self.stages),
                             ("stage_overrides", None if isinstance(self.stage_overrides, Mapping) else self.stage_overrides)):
            if values is not None and len(values) not in ((1, count) if name in ("epochs", "steps") else (count,)):
                raise ArgumentError(f"{name} has {len(values)} values; {self.kind} has {count} stage{'s' * (count > 1)}: give "
                                    + (f"1 or {count}." if name in ("epochs", "steps") and count > 1 else f"{count}."))
        found = [override(s, dict(own)) for s, own in zip(base, self.stages or [{}] * count)]
        return tuple(override(s, {**self._overrides(i), **self.budget(i)}) for i, s in enumerate(found))

    def _overrides(self, stage: int) -> dict[str, Any]:
        """Overrides that concern a stage: images, which are mirrored, are the first one's alone."""
        if not isinstance(self.stage_overrides, Mapping):
            return dict(self.stage_overrides[stage])
        return {name: value for name, value in self.stage_overrides.items() if stage == 0 or name != "flip"}

    def budget(self, stage: int) -> dict[str, Any]:
        """`epochs` or `steps` of a stage, where they are given."""
        given = {"epochs": self.epochs, "steps": self.steps}
        return {name: values[stage if len(values) > 1 else 0] for name, values in given.items() if values is not None}
