"""What a stage is trained with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from vaefast.errors import ArgumentError
from vaefast.training.schedule import SCHEDULES, Ramp, Schedule, lr_factor

OptimizerName = Literal["adam", "adamw", "rmsprop", "rmsprop-tf", "sgd"]
OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)


def _is_positive(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and 0 < value < math.inf


def _positive(name: str, value: Any) -> None:
    if not _is_positive(value):
        raise ArgumentError(f"{name} is {value!r}; expected a number above 0.")


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ArgumentError(f"{name} is {value!r}; expected a whole number, {least} or more.")


@dataclass(frozen=True)
class PlayerSettings:
    """Optimizer and schedule of one player. The defaults are Dai & Wipf's.

    Args:
        lr: first learning rate.
        schedule: "halving" (lr * 0.5^floor(epoch / halve_every)), "cosine" or "linear" (down to 0), "exponential" (epoch by
            epoch down to 0.01 lr) or "wae-manual" (lr / 2 from epoch 30, / 10 from 50, / 100 from 100), both Tolstikhin et
            al.'s, "constant", or "plateau" (times `plateau_factor`, a half, when an epoch's mean loss has not fallen for
            `plateau_patience` epochs).
        halve_every: epochs between halvings; 0.375 of the epochs if None (150 of 400, 300 of 800).
        warmup_steps: steps over which lr rises linearly from 0.
        optimizer: "adam", "adamw", "rmsprop", "rmsprop-tf" (TensorFlow's, whose mean of squared gradients begins at 1) or "sgd".
        betas: of Adam and AdamW; RMSprop's decay is the second, SGD's momentum the first.
        eps: of Adam, AdamW and RMSprop.
        weight_decay: decoupled in AdamW, added to the gradient in the others.
        gamma_lr_factor: times lr, for log gamma alone.
        clip_norm: largest norm of the player's whole gradient, which is scaled down to it.
        clip_value: largest absolute value of a gradient's element.
        weight_clip: largest absolute value of a weight (the original WGAN's critic).
        ema: decay of a moving average of the weights, which replaces them at the end; None for none.
        ema_start: the average is a copy of the weights for so many steps and decays by `ema` from then on, and takes in what
            batch norms and spectral norms count, too, as in Brock et al.'s BigGAN. None: its decay rises to `ema` by itself, and
            what is counted is the live one.

    Raises:
        ArgumentError: a value that cannot work.
    """

    lr: float = 1e-4
    schedule: Schedule = "halving"
    halve_every: float | None = None
    warmup_steps: int = 0
    optimizer: OptimizerName = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    gamma_lr_factor: float = 1.0
    clip_norm: float | None = None
    clip_value: float | None = None
    weight_clip: float | None = None
    plateau_patience: int = 10
    plateau_factor: float = 0.5
    ema: float | None = None
    ema_start: int | None = None

    def __post_init__(self) -> None:
        for name in ("lr", "halve_every", "gamma_lr_factor", "eps", "clip_norm", "clip_value", "weight_clip"):
            value = getattr(self, name)
            if value is not None:
                _positive(name, value)
        if self.schedule not in SCHEDULES:
            raise ArgumentError(f"schedule is {self.schedule!r}; expected one of {', '.join(SCHEDULES)}.")
        if self.optimizer not in OPTIMIZERS:
            raise ArgumentError(f"optimizer is {self.optimizer!r}; expected one of {', '.join(OPTIMIZERS)}.")
        object.__setattr__(self, "betas", tuple(self.betas))
        if len(self.betas) != 2 or not all(0 <= b < 1 for b in self.betas):
            raise ArgumentError(f"betas is {self.betas!r}; expected two numbers from 0 to below 1.")
        if not 0 <= self.weight_decay < math.inf:
            raise ArgumentError(f"weight_decay is {self.weight_decay!r}; expected 0 or more.")
        _whole("warmup_steps", self.warmup_steps, 0)
        _whole("plateau_patience", self.plateau_patience, 0)
        if not 0 < self.plateau_factor < 1:
            raise ArgumentError(f"plateau_factor is {self.plateau_factor!r}; expected a number between 0 and 1.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ArgumentError(f"ema is {self.ema!r}; expected a decay between 0 and 1, such as 0.999.")
        if self.ema_start is not None:
            _whole("ema_start", self.ema_start, 0)
            if self.ema is None:
                raise ArgumentError(f"ema_start is {self.ema_start}, but ema, the decay from then on, is None; give both.")


@dataclass(frozen=True)
class StageSettings(PlayerSettings):
    """Budget of one stage, and the optimizer and schedule of its players (`PlayerSettings`).

    Args:
        epochs: passes over the data; the last partial batch of each is dropped. May be a fraction.
        steps: iterations, instead of `epochs`; in one iteration every player has its turn.
        batch_size: examples an update, in each process of a distributed run.
        accumulate: parts in which a batch goes through the networks, one after the other; the gradient is their mean.
            For batches that do not fit into memory.
        ramps: schedules of loss weights: the name of a scalar buffer of the stage's module, such as "beta", and its
            `Ramp`.
        flip: mirror each image left to right with probability 1/2, on the device.
        players: settings of a player, by its name, where they are other than the stage's own.

    Raises:
        ArgumentError: a value that cannot work.
    """

    epochs: float | None = None
    steps: int | None = None
    batch_size: int = 64
    accumulate: int = 1
    flip: bool = False
    ramps: dict[str, Ramp] = field(default_factory=dict)
    players: dict[str, PlayerSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in (("ramps", Ramp), ("players", PlayerSettings)):  # entries may be as `as_dict` has them
            entries = {key: kind(**value) if isinstance(value, Mapping) else value for key, value in getattr(self, name).items()}
            object.__setattr__(self, name, entries)
        if (self.epochs is None) == (self.steps is None):
            raise ArgumentError(f"epochs is {self.epochs!r} and steps is {self.steps!r}; give one of the two.")
        if self.epochs is not None:
            _positive("epochs", self.epochs)
        if self.steps is not None:
            _whole("steps", self.steps, 1)
        _whole("batch_size", self.batch_size, 1)
        _whole("accumulate", self.accumulate, 1)
        if not isinstance(self.flip, bool):
            raise ArgumentError(f"flip is {self.flip!r}; expected True or False.")
        if self.batch_size % self.accumulate:
            raise ArgumentError(f"accumulate is {self.accumulate}, which does not divide batch_size {self.batch_size}.")
        super().__post_init__()

    def of(self, player: str) -> PlayerSettings:
        """Settings of the named player."""
        return self.players.get(player, self)

    def total_steps(self, steps_per_epoch: int) -> int:
        """Iterations of the whole stage, at least one."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs * steps_per_epoch))

    def lr_at(self, step: int, steps_per_epoch: int, player: str = "model") -> float:
        """Learning rate of iteration `step` (counted from 0), before a plateau lowers it."""
        of_player = self.of(player)
        return of_player.lr * lr_factor(of_player.schedule, step, self.total_steps(steps_per_epoch), steps_per_epoch,
                                        halve_every=of_player.halve_every, warmup_steps=of_player.warmup_steps)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready copy."""
        return asdict(self)


def completed(saved: dict[str, Any]) -> dict[str, Any]:
    """`as_dict` of an earlier version, with the defaults of what was added since."""
    players = {name: {**asdict(PlayerSettings()), **values} for name, values in saved.get("players", {}).items()}
    return {**StageSettings(steps=1).as_dict(), "steps": None, **saved, "players": players}


_PLAYER_FIELDS = {f.name for f in fields(PlayerSettings)}
FIELDS = {f.name for f in fields(StageSettings)}
_OF_SCHEDULE = {"halve_every": ("halving",), "plateau_patience": ("plateau",), "plateau_factor": ("plateau",)}
_OF_OPTIMIZER = {"beta1": ("adam", "adamw", "sgd"), "eps": ("adam", "adamw", "rmsprop", "rmsprop-tf")}
_READ_BY = (("schedule", _OF_SCHEDULE, SCHEDULES), ("optimizer", _OF_OPTIMIZER, OPTIMIZERS))


def has_beta1(settings: PlayerSettings) -> bool:
    """Whether the optimizer reads the first of `betas`."""
    return settings.optimizer in _OF_OPTIMIZER["beta1"]


def unread(settings: StageSettings, changes: Mapping[str, Any]) -> dict[str, tuple[str, Any, tuple[str, ...]]]:
    """Which of `changes` the schedule or the optimizer has not, by name: which of the two, its kind, the kinds that have it."""
    found: dict[str, tuple[str, Any, tuple[str, ...]]] = {}
    for chosen, table, kinds in _READ_BY:
        kind = changes.get(chosen, getattr(settings, chosen))
        found |= {name: (chosen, kind, of) for name, of in table.items()
                  if changes.get(name) not in (None, getattr(PlayerSettings, name, None)) and kind in kinds and kind not in of}
    return found


def override(settings: StageSettings, changes: dict[str, Any]) -> StageSettings:
    """`settings` with the given fields in their places, for the players with settings of their own, too.

    A budget in steps replaces one in epochs, and the other way round. Learning rates of players keep their ratio to the
    stage's. "beta1" is the first of `betas`; the second stays, of each player. Of "players" those that are not named stay.

    Raises:
        ArgumentError: a value that cannot work, or that the schedule or the optimizer has not.
    """
    if found := unread(settings, changes):
        name, (chosen, kind, of) = next(iter(found.items()))
        raise ArgumentError(f"{name} is {changes[name]!r}, which {chosen}={kind!r} has not; choose {chosen}="
                            f"{' or '.join(map(repr, of))}, or leave it out.")
    changes = dict(changes)
    first = changes.pop("beta1", None)
    if first is not None and "betas" in changes:
        raise ArgumentError(f"betas is {changes['betas']!r} and beta1, the first of them, is {first!r}; give one of the two.")

    def betas_of(player: PlayerSettings) -> dict[str, Any]:
        return {} if first is None else {"betas": (first, player.betas[1])}

    if settings.players:
        of_players = {k: v for k, v in changes.items() if k in _PLAYER_FIELDS and k != "lr"}
        factor = changes["lr"] / settings.lr if "lr" in changes and _is_positive(changes["lr"]) else 1.0
        others = {name: replace(p, **of_players, **betas_of(p), lr=p.lr * factor) for name, p in settings.players.items()}
        changes["players"] = {**others, **changes.get("players", {})}
    if ("epochs" in changes) != ("steps" in changes):
        changes.setdefault("epochs", None)
        changes.setdefault("steps", None)
    return replace(settings, **changes, **betas_of(settings))
