"""What every model can do: fit, save, and say what it was built with."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from vaefast import __version__
from vaefast.api.arguments import CUSTOM, defaults_of, recorded
from vaefast.api.footprint import footprint
from vaefast.api.own_networks import source_of
from vaefast.api.reading import Reading, with_batches_of
from vaefast.api.unread import without_unread
from vaefast.data import ImageSet
from vaefast.data.stream import ImageStream
from vaefast.data.value_range import ValueRange
from vaefast.errors import ArgumentError, CheckpointError, DataError, RunFolderError
from vaefast.models.condition import is_conditional
from vaefast.models.draws import Draws
from vaefast.training import distributed
from vaefast.training.augment import Augmentation, AugmentName, augmentation
from vaefast.training.callbacks import Callback
from vaefast.training.checkpoint import load_weights, saved_weights
from vaefast.training.device import Mode, Precision, refuse_float64, resolve_device, resolve_precision
from vaefast.training.optimizer import is_log_gamma
from vaefast.training.progress import make_progress
from vaefast.training.run_folder import RunFolder
from vaefast.training.settings import StageSettings, override
from vaefast.training.sources import Source
from vaefast.training.stage import History, Stage
from vaefast.training.storage import read_object, save_tensors
from vaefast.training.trainer import CHECKPOINT_SECONDS, LOG_EVERY, Trainer
from vaefast.training.validation import LOSS, HeldOut

FORMAT = 1
FILE_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".safetensors", ".json", ".npz", ".npy", ".h5", ".hdf5",
                 ".onnx", ".zip", ".tar", ".gz")
"""Names that stand for one file elsewhere."""

Part = tuple[str, nn.Module, Callable[[], Source]]
"""Name, module and data of a stage."""


def versions() -> dict[str, str]:
    """Versions that a run was made with."""
    return {"vaefast": __version__, "torch": torch.__version__, "python": platform.python_version()}


def describe_data(data: ImageSet) -> dict[str, Any]:
    """What a run's config.json says of its data."""
    return {"name": data.name, "split": data.split, "count": len(data), "image_shape": list(data.image_shape),
            "digest": data.digest}


def _scores(stage: str, evaluate: Callable[[str], dict[str, float]] | None,
            held_out: Callable[[], dict[str, float]] | None) -> Callable[[], dict[str, float]] | None:
    """What is scored of a stage: its loss on held-out data, and what the caller has."""
    if evaluate is None or held_out is None:
        return held_out if evaluate is None else partial(evaluate, stage)
    return lambda: {**held_out(), **evaluate(stage)}


def require_seed(seed: Any) -> None:
    """ArgumentError, where it is no int of 64 bits."""
    if not hasattr(seed, "__index__") or not -(2**63) <= int(seed) < 2**63:
        raise ArgumentError(f"seed is {seed!r}; expected an int of 64 bits.")


class Model(Draws, nn.Module):
    """A model with `fit`, `save` and `config`; `vaefast.load` gives back what `save` wrote.

    A kind of model states its name (`kind`), the settings its stages have where the user says nothing (`defaults`), what data
    it takes (`_accept`) and what its stages are (`_parts`). What it was built with is recorded from its signature.
    """

    kind: ClassVar[str]
    networks: ClassVar[tuple[str, ...]] = ()
    """Arguments that take the user's own networks, which no folder holds: they are given together, and again to load."""
    draws_images: ClassVar[bool] = False
    """Whether `sample` gives images, so that it can be shown and scored."""
    encodes: ClassVar[bool] = False
    """Whether it has codes of images, too: encode, reconstruct and chain."""
    holds_out: ClassVar[bool] = False
    """Whether its stages have losses that say something of held-out data: not those of a game of two."""
    stepwise: ClassVar[bool] = False
    """Whether it draws in steps that can be looked at: steps and reconstruct_steps."""
    source: str | None = None
    """Of a model of the Hub "owner/name@COMMIT", as `vaefast.load` found it."""
    channels_last_on_cpu: bool = False
    """Whether channels_last="auto" is on, on a CPU; a network of it can say so, too."""
    defaults: tuple[StageSettings, ...]
    first: Any
    if TYPE_CHECKING:
        def __call__(self, x: Any, condition: Any = None) -> dict[str, Tensor]: ...
    _config: dict[str, Any]
    _arguments: dict[str, Any]
    _settled: Mapping[str, Any] = {}
    """Arguments that a model has settled itself, where None or others were given."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in vars(cls) and "__init__" in vars(cls):  # a subclass of the user's is saved as the kind that it is of
            cls.__init__ = recorded(cls.__init__)  # type: ignore[method-assign]

    def _read(self, data: Any, reading: Reading) -> tuple[Any, list[str]]:
        """The data in the form that `_accept` takes, and sentences on what was made of them; images alone have a choice."""
        reading.none_asked_for()
        return data, []

    def _accept(self, data: Any) -> tuple[Any, dict[str, Any]]:
        """The data in the form that `_parts` takes, and what config.json says of them; an error if they do not fit."""
        raise NotImplementedError

    def _parts(self, data: Any, device: torch.device) -> list[Part]:
        """The stages, in order."""
        raise NotImplementedError

    def _prepare(self, data: Any, seed: int, device: torch.device) -> None:
        """What happens to the weights before training starts; not when it goes on from a checkpoint."""

    def _conclude(self, data: Any, seed: int, device: torch.device) -> dict[str, float]:
        """Fit what is fitted to what the stages have learned, when they are through: numbers of it for the history, if any."""
        return {}

    def config(self) -> dict[str, Any]:
        """The arguments that this model was built with (JSON-ready); nets is "custom" for your own networks."""
        return dict(self._config)

    def _networks(self) -> dict[str, Any]:
        """Where the user's own networks come from, as an entry of a file; none where there are no such."""
        if self._config.get("nets") != CUSTOM:
            return {}
        return {"networks": source_of({name: getattr(self.first, name) for name in self.networks})}

    @property
    def device(self) -> torch.device:
        """Where the weights lie, and where samples are drawn."""
        return next(chain(self.parameters(), self.buffers())).device

    def _labelled(self, data: Any, condition: Any) -> Any:
        """The data with `condition` for their labels."""
        raise ArgumentError(f"condition is given, but a {type(self).__name__} is conditioned on nothing.")

    def _equip(self, data: Any, device: torch.device) -> None:
        """Bring what training needs besides the data, before a folder is made."""

    def fit(self, data: Any, y: Any = None, *, condition: Any = None, epochs: Any = None, steps: Any = None,
            batch_size: Any = None, lr: Any = None, schedule: Any = None, gamma_lr_factor: Any = None, ema: Any = None,
            settings: StageSettings | Sequence[StageSettings] | None = None, out: str | os.PathLike[str] | None = None,
            resume: bool | str = False, seed: int = 0, device: str | torch.device | None = "auto", precision: Precision = "auto",
            progress: bool = True, callbacks: Sequence[Callback] = (), compile: Mode = "auto", channels_last: Mode = "auto",
            deterministic: bool = False, sync: bool = False, log_every: int = LOG_EVERY,
            checkpoint_seconds: float = CHECKPOINT_SECONDS, validation: Any = None,
            evaluate: Callable[[str], dict[str, float]] | None = None,
            evaluate_every: float | None = None, best: str | None = None, keep_best: bool = False, patience: int | None = None,
            start_from: str | os.PathLike[str] | None = None, materialize: bool = False, workers: int | None = None,
            value_range: ValueRange = "auto",
            augment: AugmentName | Augmentation | Sequence[AugmentName | Augmentation] | None = None,
            info: dict[str, Any] | None = None) -> History:
        """Train every stage. Each training setting is one value for all stages or one each; the defaults are the paper's.

        Args:
            data: images in memory: a tensor or array of uint8, or of floats in [0, 1] or [-1, 1], a list, a TensorDataset, a
                data frame, a `vaefast.data` set. Or images that are read as training goes, anew in every epoch: a map-style
                Dataset (torch's or Hugging Face's), a DataLoader, an IterableDataset or anything else that can be iterated again.
                docs/data.md has the rules. A model of another `data_shape` takes examples [N, *data_shape] of any real numbers
                (see `vaefast.data.as_array_set`), `SecondStage` latents, `TableVAE` tables.
            y: the same as condition, by scikit-learn's name; a model that is not conditioned ignores it.
            condition: labels [N] of the data, int, for a model with `classes`; None or "labels" for those that the data have. Of
                a model with `condition_dim` vectors [N, d], which are standardised inside.
            epochs, steps, batch_size, lr, schedule, gamma_lr_factor, ema: see `vaefast.training.StageSettings`; None for
                the model's default.
            settings: `StageSettings`, one for each stage, instead of the above (such as a preset's).
            out: folder for the run: config.json, metrics.jsonl, checkpoints/ and, at the end, the model.
            resume: go on with the run in `out`, from its newest checkpoint; "auto" does if there is one, and starts it else.
                The last stage may get more epochs or steps than before.
            seed: of noise and order.
            device: "auto", "cpu", "cuda", "cuda:1", ...
            precision: "auto", "fp32", "bf16" or "fp16" (autocast of the networks, fp16 with a scaled loss), or "tf32".
            progress: show a progress bar, or lines where there is no terminal.
            callbacks, compile, channels_last, deterministic, sync, log_every, checkpoint_seconds: see `vaefast.Trainer`.
            validation: held-out data, as `data` (with their labels, or as (data, condition), where the model is conditioned), or
                the share of `data` that is held out (drawn by `seed`): the terms of each stage's loss on them are logged as
                "validation/loss" and the like (`vaefast.training.HeldOut`) at every `evaluate_every`, each epoch if that is None,
                and `best` is "validation/loss" if it is None.
            evaluate, evaluate_every, best, keep_best, patience: scores as training goes, whether the best weights are the
                model's in the end, and after how many scores without a better one a stage ends; see `vaefast.training.Stage`, but
                that `evaluate` is given the stage's name.
            start_from: weights to begin with: a finished run's folder, or a checkpoint such as RUN/checkpoints/last-good. The
                optimizers begin anew.
            materialize: read a map-style Dataset once, into memory; its random transforms are then frozen.
            workers: processes that read a Dataset or an iterable; None for 2 (of an iterable 1) where there are four cores or
                more and processes are forked, else 0: the training's own thread reads. What is trained on does not depend on it,
                but for iterables.
            value_range: values of black and white, such as (-1, 1) or (0, 255); "auto" tells them from the images.
            augment: "flip", "crop", "colour", "cutout", a function batch -> batch, or a list of these: what is done to each
                batch of images on the device (`vaefast.training.augment`).
            info: written into config.json beside the settings, by names that none of them has.

        Returns:
            What was logged, a record for every `log_every` steps; also where a callback ended the run by `trainer.stop()`.

        Raises:
            DataError, ArgumentError, DeviceError, RunFolderError, CheckpointError: see their messages; nothing was overwritten.
            KeyboardInterrupt: after Ctrl-C, when everything has been saved; `resume=True` goes on.
        """
        reading = Reading(materialize, workers, value_range, augment, seed)
        augmented = augmentation(augment)
        data, told = self._read(data, reading)
        data, held_out, described = self._split(self._with_labels(data, y, condition), validation, reading)
        if held_out is not None:
            evaluate_every, best = 1.0 if evaluate_every is None else evaluate_every, best or LOSS
        overrides = {"epochs": epochs, "steps": steps, "batch_size": batch_size, "lr": lr, "schedule": schedule,
                     "gamma_lr_factor": gamma_lr_factor, "ema": ema}
        stages = self._settings(settings, {name: value for name, value in overrides.items() if value is not None})
        if isinstance(data, ImageStream):
            usual = StageSettings(steps=1).batch_size  # what settings have where nobody names one
            named = batch_size is not None or (settings is not None and stages[0].batch_size != usual)
            given, stages = stages, with_batches_of(data, stages, named)
            if settings is not None and stages[0].batch_size != given[0].batch_size:
                told = [*told, f"batches of {stages[0].batch_size}, as the {data.name} makes them, instead of the settings' "
                        f"{given[0].batch_size}"]
        chosen = distributed.join(resolve_device(device))
        asked, precision = precision, resolve_precision(precision, chosen)
        refuse_float64(self, chosen)
        size = footprint(self, data, chosen)  # refuses what cannot fit before a folder is made
        self._equip(data, chosen)
        channels_last = self._layout(channels_last, chosen)
        config = {"format": FORMAT, "kind": self.kind, "model": self.config(), "data": described, "seed": seed,
                  "stages": [s.as_dict() for s in stages], "compile": compile, "channels_last": channels_last,
                  "start_from": None if start_from is None else str(start_from),
                  "processes": distributed.world().size, "sync": sync, "deterministic": deterministic, "keep_best": keep_best,
                  **reading.config(),
                  "device": str(chosen), "precision": precision, "versions": versions()}
        if "from" in (source := self._networks().get("networks", {})):
            config["networks"] = source
        if taken := sorted(config.keys() & (info or {}).keys()):
            raise ArgumentError(f"info holds {', '.join(taken)}, which config.json has of the run itself; call yours otherwise.")
        config |= info or {}
        group = distributed.world()
        require_seed(seed)
        if resume not in (True, False, "auto"):
            raise ArgumentError(f"resume is {resume!r}; expected True, False or 'auto'.")
        if resume == "auto":  # rank 0's word counts, as it makes the folder
            resume = group.any(group.writes and out is not None and (Path(out) / "config.json").exists(), chosen)
        if out is not None and distributed.restarted() and (Path(out) / "config.json").exists():
            resume = True  # torchrun started this process again; the command line is still the first one
        if resume and out is not None and asked == "auto":  # which is another one on other machines, and in other versions
            began = read_object(Path(out) / "config.json").get("precision", precision)
            if began != precision:
                told = [*told, f"goes on in {began}, in which it began; one that begins here would have {precision}"]
                precision = config["precision"] = resolve_precision(began, chosen)
        if not resume:  # runs of earlier versions may have been asked for it
            self._require_learned_gamma(stages)
        weights = None if start_from is None else saved_weights(start_from)  # read before the folder is made
        run, longer = self._open_run(out, config, resume) if group.writes else (None, [])
        group.barrier()
        if out is not None and not group.writes:
            run = RunFolder.open(out)
        own = self._parts(data, chosen)
        held: Sequence[Callable[[], Source] | None] = [None] * len(own) if held_out is None else [
            make for _, _, make in self._parts(held_out[0], chosen)]
        parts = [Stage(name, module, source, stage_settings, evaluate=_scores(
                           name, evaluate, make and HeldOut(module, make, stage_settings.batch_size, chosen, int(seed))),
                       evaluate_every=evaluate_every, best=best, keep_best=keep_best, patience=patience,
                       augment=augmented if number == 0 else None)
                 for number, ((name, module, source), make, stage_settings) in enumerate(zip(own, held, stages))]
        trainer = Trainer(self, parts, device=chosen,
                          precision=precision, seed=seed, run=run, progress=make_progress(progress), callbacks=callbacks,
                          compile=compile, channels_last=channels_last, deterministic=deterministic, sync=sync,
                          log_every=log_every, checkpoint_seconds=checkpoint_seconds)
        for line in longer:
            trainer.progress.message(f"the run is longer than before: {line}. A schedule that follows the length (cosine, "
                                     "linear, exponential, halving without halve_every) is now that of the whole run.")
        if not (resume and run and run.checkpoints.any()):
            if weights is None:
                self._prepare(data, seed, chosen)
            else:
                load_weights(self, *weights)
        trainer.progress.message(f"{self.kind}: {size}")
        for line in told:
            trainer.progress.message(line)
        try:
            history = trainer.fit(resume=bool(resume), conclude=lambda: self._conclude(data, seed, chosen))
        except (ArgumentError, DataError):  # refused before anything was trained: the same command, mended, may have the folder
            if run and not resume:
                with suppress(OSError):
                    run.discard_unused()
            raise
        except RunFolderError as error:
            if error is not trainer.unsaved:
                raise
            history = trainer.history
            trainer.progress.message(f"{error} The model, which takes less room, is saved alone.")
        self.to(memory_format=torch.contiguous_format)  # as a loaded model's: their convolutions give the same bits
        if run and group.writes:
            self.save(run.path, overwrite=True)
            if not (trainer.stopped or trainer.unsaved):
                try:
                    run.checkpoints.finish()
                except (RunFolderError, CheckpointError) as error:  # the model is safe
                    trainer.progress.message(f"the checkpoints stay as they are: {error}")
        group.barrier()
        return history

    def _layout(self, channels_last: Mode, device: torch.device) -> Mode:
        """How the weights of convolutions lie, as it was asked for."""
        gains = any(getattr(module, "channels_last_on_cpu", False) for module in self.modules())
        return "on" if channels_last == "auto" and device.type == "cpu" and gains else channels_last

    def _with_labels(self, data: Any, y: Any, condition: Any) -> Any:
        """The data with what they are conditioned on, where `fit` is given that: as condition, or as y."""
        if y is not None and is_conditional(self):
            if condition is not None:
                raise ArgumentError("y and condition are both given, and are the same: what each example is conditioned on; "
                                    "leave one out.")
            condition = y
        if condition is None or isinstance(condition, str) and condition == "labels":
            return data
        return self._labelled(data, condition)

    def _split(self, data: Any, validation: Any,
               reading: Reading) -> tuple[Any, tuple[Any, dict[str, Any]] | None, dict[str, Any]]:
        """What `_hold_out` says of data as they are given, and what config.json says of them."""
        data, described = self._accept(data)
        data, held_out = self._hold_out(data, validation, replace(reading, augment=None))
        if held_out is not None:
            described = {**described, "validation": held_out[1]} | ({} if isinstance(data, ImageStream) else {"count": len(data)})
        return data, held_out, described

    def _hold_out(self, data: Any, validation: Any, reading: Reading) -> tuple[Any, tuple[Any, dict[str, Any]] | None]:
        """The data that are trained on, and what is held out with its description; both in the form of `_accept`."""
        if validation is None:
            return data, None
        if not self.holds_out:
            raise ArgumentError(f"validation is given, but a {type(self).__name__} is a game of two networks, whose losses say "
                                "nothing of held-out data; score its samples as it is trained (evaluate).")
        if not isinstance(validation, (int, float)) or isinstance(validation, bool):
            return data, self._accept(self._with_condition(validation, reading))
        if not 0 < validation < 1:
            raise ArgumentError(f"validation is {validation!r}; expected held-out data, or a share of the data between 0 and 1.")
        if not hasattr(data, "subset"):
            raise ArgumentError(f"validation is {validation!r}, a share of data that are not held whole; give held-out data of "
                                "their own.")
        count = round(validation * len(data))
        if not 0 < count < len(data):
            raise ArgumentError(f"validation is {validation!r}, which leaves {len(data) - count} of {len(data)} examples to "
                                f"train on and {count} to hold out; there must be one of each.")
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(int(reading.seed)))
        return data.subset(order[count:].sort().values), (data.subset(order[:count].sort().values),
                                                          {"share": validation, "count": count})

    def _with_condition(self, validation: Any, reading: Reading) -> Any:
        """Held-out data as `_accept` takes them."""
        return self._read(validation, reading)[0]

    def _settings(self, settings: StageSettings | Sequence[StageSettings] | None,
                  overrides: dict[str, Any]) -> list[StageSettings]:
        """Settings of each stage: `settings`, or the defaults with what is given in their place."""
        count = len(self.defaults)
        if settings is not None:
            stages = [settings] if isinstance(settings, StageSettings) else list(settings)
            if overrides:
                raise ArgumentError(f"settings and {', '.join(overrides)} are both given; give one or the other.")
            if len(stages) != count:
                raise ArgumentError(f"settings holds {len(stages)} StageSettings; expected {count}, one a stage.")
            return stages
        for name, value in overrides.items():
            if isinstance(value, (tuple, list)) and len(value) != count:
                raise ArgumentError(f"{name} has {len(value)} values; expected one, or {count}: one a stage.")
        return [override(default, {k: v[i] if isinstance(v, (tuple, list)) else v for k, v in overrides.items()})
                for i, default in enumerate(self.defaults)]

    def _require_learned_gamma(self, stages: Sequence[StageSettings]) -> None:
        factors = [stage.gamma_lr_factor for stage in stages if stage.gamma_lr_factor != StageSettings.gamma_lr_factor]
        if factors and not any(is_log_gamma(name) and p.requires_grad for name, p in self.named_parameters()):
            raise ArgumentError(f"gamma_lr_factor is {factors[0]!r}, but no gamma of this model is learned at a learning rate; "
                                "leave it at 1.")

    def _open_run(self, out: str | os.PathLike[str] | None, config: dict[str, Any],
                  resume: bool | str) -> tuple[RunFolder | None, list[str]]:
        """The run's folder, and what of a resumed run is longer than before."""
        if out is None:
            if resume:
                raise ArgumentError("resume needs out, the folder of the run to go on with.")
            return None, []
        if not resume:
            return RunFolder.create(out, config), []
        run = RunFolder.open(out)
        return run, run.require(config, defaults_of(type(self)), without_unread)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the model into folder `path`: model.json (settings, checksum) and model.safetensors.

        Raises:
            ArgumentError: `path` is named as a file is, such as model.pt.
            RunFolderError: there is a model already and not `overwrite`, or the folder cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() in FILE_SUFFIXES and not path.is_dir():
            raise ArgumentError(f"path is {str(path)!r}, the name of a file; a model is saved as a folder, which holds "
                                f"model.json and model.safetensors. Leave out {path.suffix}: {str(path.with_suffix(''))!r}.")
        if (path / "model.json").exists() and not overwrite:
            raise RunFolderError(f"{path} already holds a model; choose another folder, or pass overwrite=True.")
        save_tensors(path / "model", self.state_dict(), {"format": FORMAT, "kind": self.kind, "config": self.config(),
                                                        **self._networks(), "versions": versions()})
        return path

    def push_to_hub(self, repo: str, *, token: str | None = None, private: bool = False, revision: str | None = None,
                    license: str | None = None, message: str = "A model of vaefast") -> str:
        """Save the model on the Hugging Face Hub: model.json, model.safetensors and a README.md that says what it is.

        Args:
            repo: "owner/name"; made if it is not there.
            token: of the Hub, with the right to write; None for the one that `hf auth login` keeps.
            private: whether a repository that is made is.
            revision: branch that is written to; None for main.
            license: of the weights, such as "apache-2.0", for the README's front matter.
            message: of the commit.

        Returns:
            "owner/name@COMMIT", which `vaefast.load` takes.

        Raises:
            ArgumentError: networks of your own, whose code no folder holds; another form of name; huggingface_hub is missing.
            HubError: it cannot be reached, or does not let you write.

        `vaefast.push_to_hub` does the same for a run's folder, with its scores and pictures.
        """
        from vaefast.api.hub import push_model

        return push_model(self, repo, token=token, private=private, revision=revision, license=license, message=message)
