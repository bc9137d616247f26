"""One player's turn: its loss, the gradient, the optimizer's step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.float32 import widest
from vaefast.models.inner_gradients import scaled_by
from vaefast.models.player import Player
from vaefast.torch_private import clamp_all
from vaefast.training.batches import Rows
from vaefast.training.device import autocast
from vaefast.training.distributed import World
from vaefast.training.ema import WeightAverage, buffers_of
from vaefast.training.loss_scale import LEAST, LossScaler
from vaefast.training.optimizer import make_optimizer, set_lr, skips
from vaefast.training.schedule import Plateau, lr_factor
from vaefast.training.settings import StageSettings
from vaefast.training.stage import RECORD


class Turn:
    """A player with its optimizer, schedule and moving average.

    Args:
        player: whose turn it is.
        others: parameters of the other players; their gradients are not computed in this turn. What this player shares with
            them is its own, and what is frozen stays so.
        settings: of the stage.
        module: of the stage.
        loss: the player's loss as it is called (compiled, or averaged over processes).
        device, precision: as resolved.
    """

    def __init__(self, player: Player, others: list[nn.Parameter], settings: StageSettings, *, module: nn.Module,
                 loss: Callable[..., dict[str, Tensor]], device: torch.device, precision: str) -> None:
        self.player, self.stage, self.settings = player, settings, settings.of(player.name)
        self.loss, self.device, self.precision = loss, device, precision
        self.parameters: list[Tensor] = list(player.parameters.values())
        own_ids = set(map(id, self.parameters))
        self.others = [p for p in others if p.requires_grad and id(p) not in own_ids]
        self.optimizer = make_optimizer(player, self.settings, device)
        self.average = self._average(module)
        self.scaler = LossScaler(device) if precision == "fp16" else None
        self.plateau: Plateau | None = None
        if self.settings.schedule == "plateau":
            self.plateau = Plateau(self.settings.plateau_patience, self.settings.plateau_factor)
        # of the epoch so far, apart from `sums`, so that the plateau does not depend on what is logged
        self.epoch_loss = torch.zeros((), device=device, dtype=widest(device)) if self.plateau else None
        self.lr = self.settings.lr
        self.terms: tuple[str, ...] = ()
        self._checked = False
        self.sums: Tensor | None = None
        # 1 where the loss (or the clipped gradient's norm) of the update just made was not finite; the run ends
        self.bad = torch.zeros((), device=device)
        self._skips = skips(self.optimizer)

    def _average(self, module: nn.Module) -> WeightAverage | None:
        decay, start = self.settings.ema, self.settings.ema_start
        if decay is None:
            return None
        buffers = None if start is None else buffers_of(module, self.parameters)
        return WeightAverage(self.player.parameters, decay, start=start, buffers=buffers)

    def set_step(self, step: int, total: int, per_epoch: int) -> None:
        """Learning rate and averaging share of iteration `step`. Outside any captured step."""
        settings = self.settings
        factor = lr_factor(settings.schedule, step, total, per_epoch, halve_every=settings.halve_every,
                           warmup_steps=settings.warmup_steps)
        self.lr = settings.lr * factor * (self.plateau.scale if self.plateau else 1.0)
        set_lr(self.optimizer, self.lr)
        if self.average:
            self.average.set_step(step)

    def update(self, batch: Rows, group: World) -> None:
        """One optimizer step on a batch. Where the loss, or in fp16 a gradient, is not finite, weights, average and optimizer
        stay as they are."""
        with self._others_resting():
            self.optimizer.zero_grad(set_to_none=True)
            values = self._backward(batch)
        self.bad = 1.0 - torch.isfinite(values[self.terms.index("loss")]).float()
        found_inf = self._unscale()
        self._clip()
        group.agree(self.bad)
        if found_inf is not None:  # the gradients are the processes' mean, but not those that a loss takes of itself
            group.agree(found_inf)
        skip = self.bad if found_inf is None else torch.maximum(self.bad, found_inf)
        self._step(skip)
        if self.settings.weight_clip is not None:
            with torch.no_grad():
                clamp_all(self.parameters, -self.settings.weight_clip, self.settings.weight_clip)
        if self.scaler:
            self.scaler.update(skip)
        if self.average:
            self.average.update(skip if self.scaler else None)
        if self.sums is None:
            self.sums = torch.zeros_like(values)
        self.sums.add_(values)
        if self.epoch_loss is not None:
            self.epoch_loss.add_(values[self.terms.index("loss")])

    @contextmanager
    def _others_resting(self) -> Iterator[None]:
        """No gradients of the other players' parameters inside; an error there leaves them as they were, too."""
        try:
            for parameter in self.others:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in self.others:
                parameter.requires_grad_(True)

    def end_epoch(self, updates: int, group: World) -> None:
        """Tell the plateau, if there is one, the mean loss of the epoch that ended, of so many updates; waits for the device."""
        if self.plateau is None or self.epoch_loss is None:
            return
        if updates:
            self.plateau.epoch(float(group.mean(self.epoch_loss / updates)))
        self.epoch_loss.zero_()

    def _backward(self, batch: Rows) -> Tensor:
        parts = self.stage.accumulate
        split = [batch] if parts == 1 else list(zip(*(t.chunk(parts) for t in batch)))
        values: Tensor | None = None
        with ExitStack() as stack:
            if self.player.around is not None:
                with autocast(self.device, self.precision):
                    stack.enter_context(self.player.around(split))
            for part in split:
                with autocast(self.device, self.precision), scaled_by(self.scaler):
                    terms = self.loss(*part)
                if not self._checked:
                    _require_terms(terms, self.player.name)
                    self._checked = True
                loss = terms["loss"] if parts == 1 else terms["loss"] / parts
                (loss * self.scaler.scale if self.scaler else loss).backward()
                self.terms = tuple(terms)
                part_values = torch.stack([v.detach().float() for v in terms.values()])
                values = part_values if values is None else values + part_values
        assert values is not None
        return values if parts == 1 else values / parts

    def _unscale(self) -> Tensor | None:
        """In fp16, the gradients of the loss itself, and 1 where one is not finite: too large for the scale, which is lowered, or
        bad, where that is the least."""
        if self.scaler is None:
            return None
        found_inf = self.scaler.unscale(self.parameters)
        self.bad = torch.maximum(self.bad, found_inf * (self.scaler.scale <= LEAST))
        return found_inf

    def _step(self, skip: Tensor) -> None:
        """The optimizer's step, unless `skip` is 1."""
        if self._skips:
            optimizer: Any = self.optimizer  # a fused one skips a step by these
            optimizer.grad_scale, optimizer.found_inf = None, skip
            optimizer.step()
        elif self.device.type == "cuda":
            self._step_or_undo(skip)
        elif not skip.item():
            self.optimizer.step()

    def _step_or_undo(self, skip: Tensor) -> None:
        """A step of an optimizer that knows no `found_inf`, taken back where `skip` is 1, without a wait for the device. What the
        first step makes begins as zeros."""
        before = {id(t): t.detach().clone() for t in self._changing()}
        self.optimizer.step()
        with torch.no_grad():
            for t in self._changing():
                t.copy_(torch.where(skip > 0, before.get(id(t), torch.zeros_like(t)), t))

    def _changing(self) -> list[Tensor]:
        """The weights, and what the optimizer remembers of them."""
        state = [t for entry in self.optimizer.state.values() for t in entry.values() if isinstance(t, Tensor)]
        return [*self.parameters, *state]

    def _clip(self) -> None:
        settings = self.settings
        if settings.clip_value is not None:
            nn.utils.clip_grad_value_(self.parameters, settings.clip_value)
        if settings.clip_norm is not None:
            norm = nn.utils.clip_grad_norm_(self.parameters, settings.clip_norm)
            if self.scaler is None:  # which has looked at the gradients itself
                self.bad = torch.maximum(self.bad, 1.0 - torch.isfinite(norm).float())

    def means(self, count: int, group: World) -> dict[str, float]:
        """Mean of each term over `count` updates and all processes, by name; waits for the device."""
        assert self.sums is not None
        return dict(zip(self.terms, group.mean(self.sums / count).tolist()))

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint needs of this turn, besides the weights."""
        state = self.optimizer.state_dict()["state"]
        tensors = {f"optimizer.{i}.{k}": v for i, entry in state.items() for k, v in entry.items() if isinstance(v, Tensor)}
        if self.average:
            tensors |= {f"average.{k}": v for k, v in self.average.state().items()}
        if self.scaler:
            tensors |= {f"scaler.{k}": v for k, v in self.scaler.state().items()}
        if self.sums is not None:
            tensors["sums"] = self.sums
        if self.epoch_loss is not None:
            tensors["epoch_loss"] = self.epoch_loss
        return tensors

    def meta(self) -> dict[str, Any]:
        """The JSON-ready rest of it."""
        return {"terms": list(self.terms), "plateau": self.plateau.state() if self.plateau else None}

    def load(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Put back what `tensors` and `meta` gave."""
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in part(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        for parameter, entry in self.optimizer.state.items():  # in the weights' memory order, which the fused step counts on
            for key, tensor in entry.items():
                if tensor.shape == parameter.shape:
                    entry[key] = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        if self.average:
            self.average.load(part(tensors, "average."))
        if self.scaler:
            self.scaler.load(part(tensors, "scaler."))
        if self.plateau:
            self.plateau.load(meta["plateau"])
        self.terms = tuple(meta["terms"])
        if "sums" in tensors:
            self.sums = tensors["sums"].to(self.device)
        if self.epoch_loss is not None and "epoch_loss" in tensors:
            self.epoch_loss.copy_(tensors["epoch_loss"])


def _require_terms(terms: Any, player: str) -> None:
    """Refuse what a loss may not return, in the first step."""
    what = f"the loss of {player}" if player != "model" else "the module's forward"
    expected = "a dict of scalar tensors, of which 'loss' is minimised"
    if not isinstance(terms, Mapping):
        raise ArgumentError(f"{what} returned a {type(terms).__name__}; expected {expected}.")
    if "loss" not in terms:
        raise ArgumentError(f"{what} returned a dict with {', '.join(map(repr, terms)) or 'nothing in it'}; expected {expected}.")
    for name, value in terms.items():
        if name in RECORD:
            raise ArgumentError(f"{what} returned a term {name!r}, which every record has of its own; give it another name.")
        if not isinstance(value, Tensor):
            raise ArgumentError(f"{what} returned {name!r} as a {type(value).__name__}; expected {expected}.")
        if value.ndim or value.is_complex():
            raise ArgumentError(f"{what} returned {name!r} of shape {list(value.shape)} and {value.dtype}; expected one real "
                                "number, such as a mean over the batch.")
    if not terms["loss"].requires_grad:
        raise ArgumentError(f"'loss' of {what} has no gradient: it depends on no parameter that requires one. Are all weights "
                            "frozen, or is it computed under torch.no_grad or detached?")


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name[len(prefix):]: t for name, t in tensors.items() if name.startswith(prefix)}
