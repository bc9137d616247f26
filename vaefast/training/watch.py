"""Trouble that the log shows: a collapse, or losses that run away. It is named, and the checkpoint from before it kept."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaefast.errors import RunFolderError
from vaefast.training.callbacks import Callback
from vaefast.training.checkpoint import LAST_GOOD

if TYPE_CHECKING:
    from vaefast.training.trainer import Trainer

PATIENCE = 20
"""Records in a row until a collapse is called one."""
RELIEF = 5
"""Good records in a row until a trouble is called over."""
MEMORY = 100
"""Good records that a loss is compared with."""

_RUNAWAY = 1e3
_SMALLEST_SCALE = 1e-2  # losses that hover around 0 have no scale of their own
_FAR = 1e9  # whatever the model: a run can be lost before its first record


@dataclass(frozen=True)
class Rule:
    """A trouble: `holds(value, earlier good values)` of `term` (a player's, too) for `patience` records in a row."""

    term: str
    name: str
    holds: Callable[[float, Sequence[float]], bool]
    says: str
    patience: int = PATIENCE


def _runs_away(value: float, earlier: Sequence[float]) -> bool:
    usual = statistics.median(map(abs, earlier)) if earlier else _FAR / _RUNAWAY
    return abs(value) > min(_RUNAWAY * max(usual, _SMALLEST_SCALE), _FAR)


RULES = (
    Rule("active_dimensions", "posterior collapse", lambda v, _: v < 0.5,
         "no latent dimension is active (the KL of every one is near 0): the decoder ignores the code. Lower gamma or beta, warm "
         "beta up (ramps), or lower lr"),
    Rule("accuracy", "the discriminator has won", lambda v, _: v > 0.99,
         "the discriminator tells real from fake in more than 99 % of cases: the generator may get no gradient. Lower the "
         "discriminator's lr or updates, or use a gradient penalty"),
    Rule("diversity", "mode collapse", lambda v, _: v < 0.05,
         "generated images differ from each other less than a twentieth as much as real ones do. Lower lr, or use a gradient "
         "penalty or another loss"),
    Rule("loss", "divergence", _runs_away,
         "the loss is more than a thousand times what it was. Lower lr, or clip the gradient (clip_norm)", patience=1),
)


@dataclass
class _Case:
    """How one rule stands with one term of one stage."""

    rule: Rule
    name: str
    patience: int
    earlier: deque[float] = field(default_factory=lambda: deque(maxlen=MEMORY))
    bad: int = 0
    good: int = 0
    since: int = 0
    active: bool = False

    @property
    def suspicious(self) -> bool:
        return self.active or self.bad > 0

    def see(self, value: float, step: int) -> str | None:
        """What to say of a record's value, if anything is new: "warning" or "over"."""
        if not self.rule.holds(value, self.earlier):
            self.earlier.append(value)
            self.bad, self.good = 0, self.good + 1
            if self.active and self.good >= RELIEF:
                self.active = False
                return "over"
            return None
        if not self.suspicious:
            self.since = step
        self.bad, self.good = self.bad + 1, 0
        if not self.active and self.bad >= self.patience:
            self.active = True
            return "warning"
        return None


class TroubleWatch(Callback):
    """Warns of a collapse or a divergence, once when it is there and once when it has passed; training goes on. At the end of a
    stage, of what its module doubts.

    A record at which a trouble is called one gets an entry `warning`, one at which it is over `warning_over`. When the first
    bad record comes, the newest checkpoint, which is from before it, is kept as checkpoints/last-good; it goes again if the
    suspicion passes or the stage ends first, and stays, whatever comes later, if it was called a trouble.

    Args:
        say: told the warnings.
        rules: what to look for.
        patience: records in a row, instead of the rules' own.
    """

    def __init__(self, say: Callable[[str], None], rules: Sequence[Rule] = RULES, patience: int | None = None) -> None:
        self.say, self.rules, self.patience = say, rules, patience
        self.cases: dict[tuple[str, str, str], _Case] = {}
        self.warned = False
        self.kept: Path | None = None

    def start(self, trainer: Trainer) -> None:
        # after a resumption: the records so far, as if they had just been logged
        name = trainer.stage.name
        if not any(stage == name for stage, _, _ in self.cases):
            for record in trainer.history.of(name):
                self.warned |= bool(self._look(record)[0])

    def log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        before = self._suspicious(record["stage"])
        began, over = self._look(record)
        now = self._suspicious(record["stage"])
        if now and not before:
            self._keep(trainer)
        if began:
            self.warned = True
            record["warning"] = " ".join(f"{c.name}: {c.rule.name} since step {c.since}: {c.rule.says}." for c in began)
            self.say(f"warning: {record['stage']}, step {record['step']}: {record['warning']}{self._way_out(trainer)}")
        if over:
            record["warning_over"] = " ".join(f"{c.name}: {c.rule.name}, there since step {c.since}, has passed." for c in over)
            self.say(f"{record['stage']}, step {record['step']}: {record['warning_over']}")
        if not self.warned and (before and not now or trainer.done == trainer.total):
            self._drop(trainer)
        if trainer.done == trainer.total:
            self._doubt(trainer, record)

    def diverged(self, trainer: Trainer, message: str) -> None:
        if not self._suspicious(trainer.stage.name):
            self._keep(trainer)
        self.warned = True
        if way_out := self._way_out(trainer):
            self.say(way_out.strip())
        if (run := trainer.run) is not None:
            record = {"stage": trainer.stage.name, "step": trainer.done, "epoch": trainer.epoch,
                      "seconds": round(trainer.seconds, 3), "warning": f"divergence: {message}"}
            self._or_say(lambda: run.append_metrics(record))

    def _look(self, record: dict[str, Any]) -> tuple[list[_Case], list[_Case]]:
        """The troubles that began with this record, and those that ended."""
        by_change: dict[str | None, list[_Case]] = {"warning": [], "over": []}
        for name, value in record.items():
            for rule in self.rules:
                if name.split("/")[-1] == rule.term:
                    case = self.cases.setdefault((record["stage"], name, rule.name),
                                                 _Case(rule, name, self.patience or rule.patience))
                    by_change.setdefault(case.see(value, record["step"]), []).append(case)
        return by_change["warning"], by_change["over"]

    def _doubt(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """What the trained module itself says of the way it ends."""
        terms = {name.split("/")[-1]: value for name, value in record.items() if not name.startswith("validation/")}
        if (doubt := getattr(trainer.stage.module, "doubt", None)) and (says := doubt(terms)):
            record["warning"] = " ".join(filter(None, (record.get("warning"), f"{says}.")))
            self.say(f"warning: {record['stage']}: {says}.")

    def _suspicious(self, stage: str) -> bool:
        return any(case.suspicious for (of_stage, _, _), case in self.cases.items() if of_stage == stage)

    def _keep(self, trainer: Trainer) -> None:
        if (run := trainer.run) is None:
            return

        def keep() -> None:
            self.kept = run.checkpoints.keep_newest(LAST_GOOD)

        self._or_say(keep)

    def _drop(self, trainer: Trainer) -> None:
        if trainer.run:
            trainer.run.checkpoints.drop(LAST_GOOD)
            self.kept = None

    def _way_out(self, trainer: Trainer) -> str:
        """What is kept, and how to go on from it."""
        if not trainer.run:
            return ""
        path = trainer.run.checkpoints.folder / LAST_GOOD
        if not path.with_suffix(".json").exists():
            return " There is no checkpoint from before it (checkpoint_seconds says how often one is written)."
        of = f" ({self.kept.name})" if self.kept else ""
        return (f" The last good checkpoint{of} is kept; to go on from its weights with other settings, start a run with "
                f"start_from={str(path)!r}")

    def _or_say(self, write: Callable[[], None]) -> None:
        """Write to the run folder; a full disk is told of, and does not end the training."""
        try:
            write()
        except RunFolderError as error:
            self.say(f"{error} Training goes on.")
