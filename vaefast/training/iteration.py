"""One iteration of a stage, every player's turn: run as it is, compiled, or replayed as a CUDA graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models.doors import inside
from vaefast.models.player import COMPILED, Player
from vaefast.training.batches import StageBatches
from vaefast.training.convolutions import right_convolutions
from vaefast.training.dense import fast_dense
from vaefast.training.device import MODES, autocast
from vaefast.training.distributed import World, averaged_over_processes
from vaefast.training.settings import StageSettings
from vaefast.training.turn import Turn

Pattern = tuple[bool, ...]
"""Which of the turns come in an iteration."""
COMPILE_FROM = {"cpu": math.inf, "cuda": 30_000}
"""Iterations from which "auto" compiles. On a CPU the compiled step of the 28x28 networks is slower (73 ms, 66 without:
docs/performance.md), so no run is long enough. On an H100 compiling took about 8 s and saves 0.45 ms of a step of stage 1 and
0.15 ms of one of stage 2 (docs/gpu.md): repaid after some 20,000 and 50,000."""
WARM_UP = 3
WARM_UP_DISTRIBUTED = 11
"""Iterations that run before one is captured; DDP asks for 11."""


def compiles(mode: str, total: int, device: torch.device) -> bool:
    """Whether a stage of `total` iterations is compiled; a function of the settings, so that a resumed run does the same."""
    if mode not in MODES:
        raise ArgumentError(f"compile is {mode!r}; expected one of {', '.join(MODES)}.")
    return mode == "on" or (mode == "auto" and total >= COMPILE_FROM.get(device.type, math.inf))


class Iteration:
    """All players' turns on their batches.

    Args:
        players, module: of the stage. `module.finish_iteration(*batch)`, if there is one, is called after the turns with the
            last batch, without gradients: for what follows from the networks as the iteration leaves them.
        settings: of the stage.
        batches: made with as many draws as `draws` says.
        compile: compile the losses.
        capture: replay the iteration as a CUDA graph; one for each pattern of turns, where some players do not always have one.

    `turns` holds one `Turn` a player, in the order in which they come first.
    """

    def __init__(self, players: list[Player], module: nn.Module, settings: StageSettings, batches: StageBatches, *,
                 device: torch.device, precision: str, group: World, compile: bool, capture: bool) -> None:
        self.module, self.batches, self.device, self.precision, self.group = module, batches, device, precision, group
        # one stream for all that a capture must find on it: what DDP makes, the warm-up, the capture itself
        self._stream = torch.cuda.Stream(device) if capture else None
        turns: dict[str, Turn] = {}
        for player in players:
            if player.name not in turns:
                turns[player.name] = self._turn(player, players, settings, compile)
        self.turns = list(turns.values())
        self._order = [(player, turns[player.name]) for player in players]
        self._finish: Callable[..., None] | None = getattr(module, "finish_iteration", None)
        # the first iteration in which something was not finite, counted from `start` on; -1 while there is none
        self.first_bad = torch.full((), -1, dtype=torch.long, device=device)
        self._done = torch.zeros((), dtype=torch.long, device=device)
        self._step = 0
        self._captures = capture
        self._dense = nullcontext() if compile else fast_dense(device, precision)
        self._convolutions = right_convolutions(device, precision)
        # by pattern of turns: iterations that still run before one is captured, and the captured ones
        self._warm_up: dict[Pattern, int] = {}
        self._graphs: dict[Pattern, torch.cuda.CUDAGraph] = {}

    def _turn(self, player: Player, players: list[Player], settings: StageSettings, compile: bool) -> Turn:
        others = [p for other in players if other.name != player.name for p in other.parameters.values()]
        loss: Callable[..., dict[str, Tensor]] = player.loss
        if compile:
            loss = player.compiled() if player.compiled else torch.compile(loss, **COMPILED)
        if self.group.size > 1:
            with self._beside():
                loss = averaged_over_processes(player, loss, self.device)
        return Turn(player, others, settings, module=self.module, loss=loss, device=self.device, precision=self.precision)

    def prefix(self, turn: Turn) -> str:
        """What a turn's entries in a record begin with: the player's name, where there are several."""
        return "" if len(self.turns) == 1 else f"{turn.player.name}/"

    def updates(self, turn: Turn, start: int, stop: int) -> int:
        """Optimizer steps of a turn's player in iterations start, ..., stop - 1."""
        return sum(player.updates_within(start, stop) for player, its_turn in self._order if its_turn is turn)

    def start(self, done: int) -> None:
        """Say how many iterations of the stage lie behind."""
        self._step = done
        self._done.fill_(done)

    def run(self) -> None:
        """One iteration; `Batches.seek` and `Turn.set_step` have prepared it."""
        with inside():  # the data were checked when they were given
            self._run(self._pattern(self._step))
        self._step += 1

    def _run(self, pattern: Pattern) -> None:
        if pattern in self._graphs:
            self._graphs[pattern].replay()
        elif not self._captures:
            self._body(pattern)
        elif self._warm_up.setdefault(pattern, WARM_UP_DISTRIBUTED if self.group.size > 1 else WARM_UP) > 0:
            self._warm_up[pattern] -= 1
            with self._beside():
                self._body(pattern)
        else:
            self._graphs[pattern] = self._capture(pattern)
            self._graphs[pattern].replay()

    def _pattern(self, step: int) -> Pattern:
        return tuple(step % player.every == 0 for player, _ in self._order)

    def _body(self, pattern: Pattern) -> None:
        draws = self.batches.iterate()
        batch = None
        bad = torch.zeros_like(self.first_bad, dtype=torch.float)
        for (player, turn), comes in zip(self._order, pattern):
            for _ in range(player.updates if comes else 0):
                if player.new_batch or batch is None:
                    batch = next(draws)
                with self._dense, self._convolutions:
                    turn.update(batch, self.group)
                bad = torch.maximum(bad, turn.bad)
        if self._finish is not None and batch is not None:
            with torch.no_grad(), autocast(self.device, self.precision):
                self._finish(*batch)
        self.first_bad.copy_(torch.where((bad > 0) & (self.first_bad < 0), self._done, self.first_bad))
        self._done.add_(1)

    def _capture(self, pattern: Pattern) -> torch.cuda.CUDAGraph:
        torch.cuda.synchronize(self.device)
        graph = torch.cuda.CUDAGraph()
        # the threads that read data and write checkpoints may go on meanwhile
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            self._body(pattern)
        return graph

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """The work inside goes to the stream of the captures, in its turn among the current stream's; on a CPU as ever."""
        if self._stream is None:
            yield
            return
        current = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def close(self) -> None:
        """Give back what captured iterations hold: their memory, in which the last gradients lie."""
        for turn in self.turns:
            turn.optimizer.zero_grad(set_to_none=True)
        self._graphs.clear()

    def culprit(self, step: int) -> str:
        """Which tensor is the first that is not finite in iteration `step`, found by a look at weights, batch,
        activations and gradients."""
        for name, tensor in (*self.module.named_parameters(), *self.module.named_buffers()):
            if not torch.isfinite(tensor).all():
                return f"the weights {name} are not finite: an earlier gradient of theirs was not"
        batch = None
        draws = iter(self.batches.at(step))
        for (player, turn), comes in zip(self._order, self._pattern(step)):
            if not comes:
                continue
            if player.new_batch or batch is None:
                batch = next(draws)
            if not all(torch.isfinite(t).all() for t in batch):
                return "the batch itself holds a value that is not finite"
            bad_output = _first_bad_output(self.module, partial(self._loss, turn, batch))
            if bad_output:
                return bad_output
        return "no tensor could be found that stays so when the iteration is repeated"

    def _loss(self, turn: Turn, batch: tuple[Tensor, ...]) -> Tensor:
        with autocast(self.device, self.precision):
            return turn.player.loss(*batch)["loss"]


def draws(players: list[Player]) -> int:
    """Batches that an iteration takes."""
    return max(1, sum(p.updates for p in players if p.new_batch))


def _first_bad_output(module: nn.Module, loss: Callable[[], Tensor]) -> str:
    """Name of the first submodule whose output is not finite, or of the first weights whose gradient is not; or ""."""
    bad_outputs: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            tensors = output.values() if isinstance(output, dict) else output if isinstance(output, tuple) else (output,)
            if not bad_outputs and any(isinstance(t, Tensor) and not torch.isfinite(t).all() for t in tensors):
                bad_outputs.append(f"first in the output of {name or 'the loss'}")
        return hook

    hooks = [m.register_forward_hook(watch(name)) for name, m in module.named_modules()]
    try:
        value = loss()
        if bad_outputs:
            return bad_outputs[0]
        if not torch.isfinite(value):
            return "first in the loss itself, of finite network outputs"
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        gradients = torch.autograd.grad(value, [p for _, p in named], allow_unused=True)
        bad = [name for (name, _), g in zip(named, gradients) if g is not None and not torch.isfinite(g).all()]
        return f"first in the gradient of {bad[-1]}" if bad else ""
    finally:
        for hook in hooks:
            hook.remove()
