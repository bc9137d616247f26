"""The models as users meet them: built from a few arguments, with fit, save and load."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vaefast import __version__, models
from vaefast.data import ImageSet, as_image_set
from vaefast.errors import ArgumentError, CheckpointError, RunFolderError
from vaefast.nets import NETS, SecondStageDecoder, SecondStageEncoder
from vaefast.training import distributed
from vaefast.training.callbacks import Callback
from vaefast.training.checkpoint import load_weights
from vaefast.training.device import resolve_device, resolve_precision
from vaefast.training.progress import make_progress
from vaefast.training.run_folder import RunFolder
from vaefast.training.settings import StageSettings
from vaefast.training.sources import ImageSource, PosteriorSource
from vaefast.training.stage import History, Stage
from vaefast.training.storage import load_tensors, save_tensors
from vaefast.training.trainer import Trainer

FORMAT = 1


def versions() -> dict[str, str]:
    """Versions that a run was made with."""
    return {"vaefast": __version__, "torch": torch.__version__, "python": platform.python_version()}


def _dimension(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(f"{name} is {value!r}; expected a whole number above 0.")
    return value


class TwoStageVAE(models.TwoStageVAE):
    """The Two-Stage VAE of Dai & Wipf (2019): `fit`, `sample`, `encode`, `decode`, `reconstruct`, `save`.

    >>> model = vaefast.TwoStageVAE(image_shape=(1, 28, 28), latent_dim=64)
    >>> history = model.fit(images, epochs=(400, 800), out="runs/mnist")
    >>> x = model.sample(64)                     # float [64, 1, 28, 28] in [0, 1]

    Args:
        image_shape: (channels, height, width).
        latent_dim: dimensions of the code z, and of the second stage's u.
        nets: "infogan", the neutral networks of the paper; or give both `encoder` and `decoder`.
        encoder: any module image -> (mu, raw) or -> [B, 2 * latent_dim] (see `vaefast.nets` for how s is read).
        decoder: any module code -> image in [0, 1] (or logits; see `vaefast.nets`).
        gamma: stage 1's decoder noise: "learned", "optimal" or a number (see `vaefast.models.VAE`).
        gamma_init: first value of a learned gamma.
        likelihood: of stage 1, "gaussian" or "bernoulli" (cross-entropy).
        second_gamma: the second stage's decoder noise, as `gamma`.
        second_width, second_depth: hidden layers of the second stage's networks.

    Raises:
        ArgumentError: a value that cannot work.

    `model.first` and `model.second` are plain modules that return their loss terms, for your own training loop.
    """

    kind = "two-stage"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 64, *, nets: str = "infogan",
                 encoder: nn.Module | None = None, decoder: nn.Module | None = None, gamma: str | float = "learned",
                 gamma_init: float = 1.0, likelihood: str = "gaussian", second_gamma: str | float = "learned",
                 second_width: int = 1024, second_depth: int = 3) -> None:
        latent_dim = _dimension("latent_dim", latent_dim)
        if (encoder is None) != (decoder is None):
            raise ArgumentError("encoder and decoder go together: give both, or neither for the networks named by nets.")
        custom = encoder is not None
        if not custom:
            if nets not in NETS:
                raise ArgumentError(f"nets is {nets!r}; expected one of {', '.join(NETS)}.")
            build_encoder, build_decoder = NETS[nets]
            encoder, decoder = build_encoder(image_shape, latent_dim), build_decoder(image_shape, latent_dim)
        image_shape = tuple(int(n) for n in image_shape)
        first = models.VAE(encoder, decoder, data_shape=image_shape, latent_dim=latent_dim, gamma=gamma,
                           likelihood=likelihood, gamma_init=gamma_init)
        width, depth = _dimension("second_width", second_width), _dimension("second_depth", second_depth)
        second = models.VAE(SecondStageEncoder(latent_dim, latent_dim, width, depth),
                            SecondStageDecoder(latent_dim, latent_dim, width, depth),
                            data_shape=(latent_dim,), latent_dim=latent_dim, gamma=second_gamma)
        super().__init__(first, second)
        self._config = {"image_shape": list(image_shape), "latent_dim": latent_dim, "nets": "custom" if custom else nets,
                        "gamma": gamma, "gamma_init": gamma_init, "likelihood": likelihood,
                        "second_gamma": second_gamma, "second_width": width, "second_depth": depth}

    def config(self) -> dict[str, Any]:
        """The arguments that this model was built with (JSON-ready); nets is "custom" for your own networks."""
        return dict(self._config)

    def fit(self, images: Any, *, epochs: Any = (400, 800), steps: Any = None, batch_size: Any = 64, lr: Any = 1e-4,
            schedule: Any = "halving", gamma_lr_factor: Any = 1.0, ema: Any = None,
            settings: Sequence[StageSettings] | None = None, out: str | os.PathLike | None = None,
            resume: bool = False, seed: int = 0, device: str | torch.device | None = "auto", precision: str = "auto",
            progress: bool = True, callbacks: Sequence[Callback] = (), compile: str = "auto", channels_last: str = "auto",
            sync: bool = False, log_every: int = 50, checkpoint_seconds: float = 120.0,
            info: dict[str, Any] | None = None) -> History:
        """Train stage 1 on the images, then stage 2 on fresh samples of stage 1's posteriors.

        Each training setting is one value for both stages or a pair; the defaults are the paper's.

        Args:
            images: uint8 [N, C, H, W], float in [0, 1], an array, a torch Dataset, or a `vaefast.data` set.
            epochs, steps, batch_size, lr, schedule, gamma_lr_factor, ema: see `vaefast.training.StageSettings`.
            settings: a pair of `StageSettings` instead of the above (such as a preset's).
            out: folder for the run: config.json, metrics.jsonl, checkpoints/ and, at the end, the model.
            resume: go on with the run in `out`, from its newest checkpoint.
            seed: of noise and order.
            device: "auto", "cpu", "cuda", "cuda:1", ...
            precision: "auto", "fp32", "bf16" (autocast of the networks) or "tf32".
            progress: show a progress bar, or lines where there is no terminal.
            callbacks, compile, channels_last, sync, log_every, checkpoint_seconds: see `vaefast.Trainer`.
            info: written into config.json beside the settings.

        Returns:
            What was logged, a record for every 50 steps.

        Raises:
            DataError, ArgumentError, DeviceError, RunFolderError: see their messages; nothing was overwritten.
            KeyboardInterrupt: after Ctrl-C, when everything has been saved; `resume=True` goes on.
        """
        data = as_image_set(images)
        if tuple(data.image_shape) != self.image_shape:
            raise ArgumentError(f"the images have shape {tuple(data.image_shape)}; this model was built with image_shape="
                                f"{self.image_shape}.")
        if settings is None:
            given = {"epochs": None if steps is not None else epochs, "steps": steps, "batch_size": batch_size, "lr": lr,
                     "schedule": schedule, "gamma_lr_factor": gamma_lr_factor, "ema": ema}
            settings = [StageSettings(**{k: v[i] if isinstance(v, (tuple, list)) else v for k, v in given.items()})
                        for i in range(2)]
        chosen = distributed.join(resolve_device(device))
        precision = resolve_precision(precision, chosen)
        config = {"format": FORMAT, "kind": self.kind, "model": self.config(), "data": describe_data(data), "seed": seed,
                  "stages": [s.as_dict() for s in settings], "compile": compile, "channels_last": channels_last,
                  "processes": distributed.world().size, "sync": sync, **(info or {}),
                  "device": str(chosen), "precision": precision, "versions": versions()}
        group = distributed.world()
        if out is not None and distributed.restarted() and (Path(out) / "config.json").exists():
            resume = True  # torchrun started this process again; the command line is still the first one
        run = self._open_run(out, config, resume) if group.writes else None
        group.barrier()
        if out is not None and not group.writes:
            run = RunFolder.open(out)
        images_source = ImageSource(data.images, chosen, scale=False)  # the likelihood scales uint8 itself
        trainer = Trainer(self, [
            Stage("stage1", self.first, lambda: images_source, settings[0]),
            Stage("stage2", self.second, lambda: PosteriorSource.of(self.first, images_source, chosen), settings[1]),
        ], device=chosen, precision=precision, seed=seed, run=run, progress=make_progress(progress), callbacks=callbacks,
            compile=compile, channels_last=channels_last, sync=sync, log_every=log_every, checkpoint_seconds=checkpoint_seconds)
        history = trainer.fit(resume=resume)
        if run and group.writes:
            self.save(run.path, overwrite=True)
        group.barrier()
        return history

    @staticmethod
    def _open_run(out: str | os.PathLike | None, config: dict[str, Any], resume: bool) -> RunFolder | None:
        if out is None:
            if resume:
                raise ArgumentError("resume needs out, the folder of the run to go on with.")
            return None
        if not resume:
            return RunFolder.create(out, config)
        run = RunFolder.open(out)
        run.require(config)
        return run

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Write the model into folder `path`: model.json (settings, checksum) and model.safetensors.

        Raises:
            RunFolderError: there is a model already and not `overwrite`, or the folder cannot be written.
        """
        path = Path(path)
        if (path / "model.json").exists() and not overwrite:
            raise RunFolderError(f"{path} already holds a model; choose another folder, or pass overwrite=True.")
        save_tensors(path / "model", self.state_dict(), {"format": FORMAT, "kind": self.kind, "config": self.config(),
                                                        "versions": versions()})
        return path


def describe_data(data: ImageSet) -> dict[str, Any]:
    """What a run's config.json says of its data."""
    return {"name": data.name, "split": data.split, "count": len(data), "image_shape": list(data.image_shape),
            "digest": data.digest}


MODELS = {TwoStageVAE.kind: TwoStageVAE}


def load(path: str | os.PathLike, *, encoder: nn.Module | None = None, decoder: nn.Module | None = None,
         device: str | torch.device | None = "cpu") -> TwoStageVAE:
    """A model that `model.save(path)` wrote, or that of a finished run folder; in eval mode.

    Args:
        path: the folder.
        encoder, decoder: fresh copies of your own networks, if it was built with such.
        device: where to put it.

    Raises:
        CheckpointError: missing, damaged, or of other networks than given.
    """
    path = Path(path)
    if not (path / "model.json").is_file():
        if (path / "config.json").is_file():
            raise CheckpointError(f"{path} holds a run that has not finished; go on with it first (--resume).")
        raise CheckpointError(f"{path} holds no model (no model.json in it); name a folder that model.save or "
                              "vaefast train wrote.")
    tensors, meta = load_tensors(path / "model", "a model")
    if meta.get("format") != FORMAT or meta.get("kind") not in MODELS:
        raise CheckpointError(f"{path} holds a model of kind {meta.get('kind')!r} in format {meta.get('format')!r}, which "
                              f"vaefast {__version__} does not know.")
    config = dict(meta["config"])
    if config.pop("nets") == "custom":
        if encoder is None or decoder is None:
            raise CheckpointError(f"{path} was built with its own networks; pass encoder= and decoder= to load it.")
        model = MODELS[meta["kind"]](**config, encoder=encoder, decoder=decoder)
    else:
        model = MODELS[meta["kind"]](**config, nets=meta["config"]["nets"])
    load_weights(model, tensors, path)
    return model.to(resolve_device(device)).eval()
