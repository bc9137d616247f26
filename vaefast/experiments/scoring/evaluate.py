"""Scores of a trained run: of its samples and reconstructions against real images, and of its latents against the prior."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaefast import api, data, metrics
from vaefast.api.base import require_seed, versions
from vaefast.errors import ArgumentError, DataError, RunFolderError
from vaefast.experiments.pictures.grids import save_png
from vaefast.experiments.pictures.nearest import nearest_grid
from vaefast.experiments.pictures.report import write_report
from vaefast.experiments.run import draw_model, drawing_model, finished, run_data
from vaefast.experiments.scoring.arrays import score_arrays
from vaefast.experiments.scoring.bound import likelihood_bound
from vaefast.experiments.scoring.codes import aggregate, encodes, infers, labels_for_second, spread_over, told_batches
from vaefast.experiments.scoring.draws import (
    class_sampler,
    image_sampler,
    known_classes,
    sample_images,
    scored_samplers,
    to_uint8,
)
from vaefast.experiments.scoring.factors import factor_scores
from vaefast.experiments.scoring.latent_page import write_latents
from vaefast.experiments.scoring.latent_scores import latent_scores
from vaefast.experiments.scoring.own_features import own_features
from vaefast.experiments.scoring.registry import ONCE, OWN, RANKING, best_of, entry
from vaefast.experiments.scoring.scores import ImageScores, checked_metrics
from vaefast.experiments.scoring.steps import by_step, stepwise, write_steps
from vaefast.metrics.classifier import LARGEST, SMALLEST
from vaefast.metrics.inception_weights import cached_file
from vaefast.models.second_stage import SecondStage, has_latents, recode
from vaefast.training.device import resolve_device
from vaefast.training.storage import write_json

SAMPLES = 10_000
AGAINST = ("test", "train")
_AGAINST = 'against is {!r}; expected "test" or "train".'


def evaluate(path: str, *, data_root: str | None = None, seed: int = 0, device: str = "auto",
             networks: str | bool | None = None, data_options: dict[str, Any] | None = None,
             say: Callable[[str], None] = print, **options: Any) -> dict[str, Any]:
    """Score the run at `path` against its data set's test images: `score_model` of its model, its data and its folder.

    Args:
        data_root: where the data are, if they moved.
        networks: as for `vaefast.load`.
        data_options: of the data set's loader, in place of the run's own (`on_bad`).
        options: of `score_model`.

    Raises:
        DataError: the data set is not the one that the run was trained on, or there is nothing to score it with.
        RunFolderError: no finished run there. Others as `score_model` and `vaefast.load`.
    """
    if (against := options.get("against", "test")) not in AGAINST:
        raise ArgumentError(_AGAINST.format(against))
    run = finished(path)
    model = drawing_model(run.path, resolve_device(device), networks)
    split = run_data(run, data_root, data_options)
    if isinstance(model, api.ImageAutoencoder) and not model.draws_images:
        result = score_arrays(model, split("train"), split("test"), run.path, seed=seed, say=say, **options)
        write_report(run.path)
        return result
    return score_model(model, split("train"), split("test"), run.path, seed=seed, say=say, **options)


def score_model(model: api.ImageModel, train: data.ImageSet, test: data.ImageSet, out: Path, *, samples: int = SAMPLES,
                seed: int = 0, which: Sequence[str] | None = None, weights: str | os.PathLike[str] | None = None,
                against: str = "test", first: Sequence[int] = (), also: Sequence[str] = (), coded: int | None = None,
                classifier_cache: str | None = None, guidance: float | None = None,
                features: str | Callable[[Tensor], Tensor] | None = None,
                say: Callable[[str], None] = print,
                about: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Score a model against test images; writes evaluation.json, the report and, where there is an encoder, latents.json and
    latents.png of the test images into folder `out`. Where `train` are the same images, there is no floor of other real ones.

    Distances are taken between `samples` generated images and as many real test images (all, where there are fewer): samples
    of the prior (stage 1), test images reconstructed (where there is an encoder) and, as the best that can be asked for, real
    training images. Of a two-stage model also stage 2's samples, those of a Gaussian mixture fitted to stage 1's codes in
    stage 2's place, and test images whose codes passed through stage 2.

    Args:
        which: of `vaefast.experiments.scoring.registry.METRICS`. None: "classifier" (features of a classifier trained on the
            data set's own labels) where there are labels, else "exemplar" (features learned from the data set without), and
            "fid", "is" and "kid" where the Inception weights are at hand: named, or in torch hub's cache. They are downloaded
            only for metrics that are asked for. Images that are too small or large for these networks need Inception.
        weights: file of the Inception weights.
        against: "test"; or "train": distances to all training images, for tables that were made so. Then "test_vs_train"
            is of test images.
        first: as for `ImageScores`.
        also: metrics besides those of `which`. "kid" and "prdc" are taken in Inception features where "fid" or "is" are, too, and
            else in those of the network trained on the data set.
        coded: so many images of either split, spread over it, give the codes for MMD, mixture, mutual information and
            latents.json; None: all (of the latents page 10,000).
        classifier_cache: folder of the networks trained on the data set; None for the cache's.
        guidance: of a flow that knows classes: its samples with so much guidance are scored beside those without, from the same
            noise.
        features: a network of your own, or any callable from float images in [0, 1] to rows of features, for the metric
            "features"; or the name of one, such as "timm:resnet18" (`vaefast.metrics.named_extractor`).
        about: what evaluation.json says besides, where the folder is no run's.

    Raises:
        ArgumentError: against is neither.
        DataError: there is nothing to score it with.
    """
    if against not in AGAINST:
        raise ArgumentError(_AGAINST.format(against))
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 2:
        raise ArgumentError(f"{samples!r} samples were asked for; expected 2 or more, as a distance needs their spread.")
    samplers, stages = scored_samplers(model, guidance), len(model.samplers())
    own = None if features is None else own_features(features, model.device)
    chosen, called = model.device, out if about is None else f"a {model.kind} model"
    result: dict[str, Any] = {}
    if stepwise(model):
        result |= by_step(write_steps(model, test.images, out, split="test", seed=seed))
    which = chosen_metrics(which, weights, train, optional=model.stepwise)
    unseen = spread_over(test, samples)  # sets can be sorted
    real = unseen if against == "test" else train
    result = {"samples": samples, "real": len(real), "against": against, "seed": seed} | result
    if not which:
        say(f"scored {called} step by step; its images are too large for the data set's own networks, and there are no Inception "
            "weights to score its samples with")
        return _written(out, result, about)
    by_inception = bool({"fid", "is"} & set(which))
    also = (*also, *(["features"] if features is not None and "features" not in which else []))
    which = checked_metrics((*which, *also))
    if (learned := getattr(model, "_arguments", {}).get("perceptual")) in OWN and learned in which:
        result["perceptual"] = learned
    say(f"scoring {called}: {samples:,} samples of each kind against {len(real):,} {train.name} {against} images "
        f"({', '.join(which)})")
    network = own_network(which, train, None if test is train else test, classifier_cache, chosen, say)
    score = ImageScores(real, which, weights=weights, device=chosen, classifier=network, first=first, notice=say,
                        extractor=_own_features(network) if also and network is not None and not by_inception else None,
                        features=own)
    if network is not None:
        result |= {f"classifier/{name}": network.info[name] for name in ("version", "test_accuracy")
                   if name in network.info and not (name == "test_accuracy" and test is train)}
        if "classifier/test_accuracy" in result and "classifier" in which:
            result["classifier/test_images"] = len(test)

    def add(kind: str, images: Tensor) -> None:
        for name, value in score(images).items():
            if name in ONCE:
                result.setdefault(name, value)  # of the first kind: there can be fewer training images than samples
            else:
                result[entry(name, kind)] = value

    for kind, (draw, more) in samplers.items():
        drawn = sample_images(model, draw, samples, seed=seed + more)
        add(kind, drawn)
    result |= {} if guidance is None else {"guidance": guidance}
    if network is not None and "classifier" in which and bool(getattr(model, "classes", 0)):
        result["class_accuracy"] = _class_accuracy(model, known_classes(model), network, samples, seed + stages + 1, guidance)
    if drawn.shape[1] in (1, 3):
        save_png(out / "nearest.png", nearest_grid(drawn, train.images))
    if encodes(model):
        encoded = aggregate(model, spread_over(train, coded), seed) if infers(model) else None
        if stages > 1:
            assert encoded is not None
            mixture = image_sampler(model, "mixture", lambda: encoded, seed)
            add("mixture", sample_images(model, mixture, samples, seed=seed + 3))
        once, twice, result["reconstruction_error"] = _reconstruct(model, unseen, seed)
        add("reconstructions", once)
        if stages > 1 and train is not test:
            seen = train.subset(torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:samples])
            add("training_reconstructions", _reconstruct(model, seen, seed)[0])
        result |= _over_the_limit(result, which)
        if twice is not None:
            add("reconstructions_both_stages", twice)
        if encoded is not None:
            result |= latent_scores(model, encoded, samples, seed) | likelihood_bound(model, unseen, seed, 4 * samples)
            result |= factor_scores(model, unseen, seed)
    other = train if against == "test" else test
    if test is not train:
        chosen_rows = torch.randperm(len(other), generator=torch.Generator().manual_seed(seed))[:samples]
        add("test_vs_train", other.images[chosen_rows])
    if infers(model):
        labels = None if test.labels is None else spread_over(test.labels, coded)
        write_latents(model, spread_over(test, coded), out, seed, labels)
    return _written(out, result, about)


def _over_the_limit(result: Mapping[str, Any], which: Sequence[str]) -> dict[str, float]:
    """The first distance of the best samples over that of reconstructions of test images, and of training images."""
    key = next((RANKING[name] for name in which if name in RANKING), None)
    best = best_of(result, key) if key else None
    if key is None or best is None:
        return {}
    limits = {"limit_ratio": entry(key, "reconstructions"), "codes_ratio": entry(key, "training_reconstructions")}
    return {ratio: best / result[name] for ratio, name in limits.items() if result.get(name, 0) > 0}


def _class_accuracy(model: api.ImageModel, classes: list[int], network: metrics.FeatureClassifier, samples: int, seed: int,
                    guidance: float | None) -> float:
    """The share of samples of the classes in turn that the classifier of the data set's labels reads as what they were to be."""
    asked = torch.tensor(classes)[torch.arange(samples) % len(classes)]
    drawn = sample_images(model, class_sampler(model, classes, guidance), samples, seed=seed)
    read = network.logits(metrics.classifier_features(network, drawn)).argmax(1).cpu()
    return float((read == asked).double().mean())


def _own_features(network: metrics.FeatureClassifier) -> Callable[[Tensor], Tensor]:
    """The features of a network that was trained on the data set, as an extractor with a name."""
    extract = partial(metrics.classifier_features, network)
    extract.identity = f"those of {network.info['version']}, trained on the data set"  # type: ignore[attr-defined]
    return extract


def own_metric(train: data.ImageSet) -> tuple[str, ...]:
    """The metric in a network trained on the data set itself; none where its images are too small or large for one."""
    if not all(SMALLEST <= side <= LARGEST for side in train.image_shape[1:]):
        return ()
    return ("exemplar",) if train.labels is None else ("classifier",)


def evaluate_model(model: api.ImageModel, images: Any, *, train: Any = None, out: str | os.PathLike[str] | None = None,
                   samples: int = SAMPLES, seed: int = 0, metrics: Sequence[str] | None = None,
                   weights: str | os.PathLike[str] | None = None, features: str | Callable[[Tensor], Tensor] | None = None,
                   guidance: float | None = None, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Score a model that is at hand, as `vaefast evaluate` scores a run: the same scores, pictures and report.

    >>> scores = vaefast.evaluate(model, test_images, train=images, out="runs/mnist")

    Args:
        model: any that draws images, or data of another shape (which are scored by their values, and not as images are); it is
            left where it is, on its device.
        images: real ones that samples are compared with, in any form that `encode` takes; best of all images that it was not
            trained on. Labels among them (of a `vaefast.data` set or a Dataset) choose FD-classifier.
        train: those that it was trained on: FD-classifier's network learns from them, and they are the floor that real images
            score. None: `images` stand for them, and there is no floor.
        out: folder for evaluation.json, latents.json, the pictures and report.html, such as the run's own; it is made. None
            writes nothing.
        samples: of each kind.
        seed: of samples and codes.
        metrics: of `vaefast.experiments.scoring.registry.METRICS`; None for what there is everything at hand for.
        weights: file of the Inception weights.
        features: as for `score_model`: a network of your own, or the name of one, in whose features images are compared, too.
        guidance: as for `score_model`: samples of a flow that knows classes are scored with so much of it, too.
        say: told of what is done.

    Returns:
        The scores by name, as evaluation.json has them.

    Raises:
        ArgumentError: a model that draws no images, or images of another shape. DataError: images that cannot be read, or none to
        score it with. RunFolderError: the folder cannot be written.
    """
    if not isinstance(model, api.ImageModel):
        raise ArgumentError(f"model is of type {type(model).__name__}, which draws no images; expected one such as vaefast.VAE.")
    require_seed(seed)
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise RunFolderError(f"{out} is a file; the scores need a folder. Choose another out.")
    if dims := getattr(model, "condition_dim", 0):
        raise ArgumentError(f"the model is conditioned on vectors of {dims} numbers, and has no distribution of them to draw "
                            "samples by; compare model.sample(n, condition=vectors) with the data that go with these.")
    test: Any
    test, described = model._accept(images)
    learned: Any = test if train is None else model._accept(train)[0]

    def into(folder: Path) -> dict[str, Any]:
        draw_model(model, learned, folder)
        about = {} if (folder / "config.json").is_file() else {"about": {
            "kind": model.kind, "model": model.config(), "data": described, "versions": versions()}}
        if isinstance(model, api.ImageAutoencoder) and not model.draws_images:
            found = score_arrays(model, learned, test, folder, samples=samples, seed=seed, which=metrics, weights=weights,
                                 features=features, guidance=guidance, say=say, about=about)
            write_report(folder)
            return found
        return score_model(model, learned, test, folder, samples=samples, seed=seed, which=metrics, weights=weights,
                           features=features, guidance=guidance, say=say, about=about)

    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            return into(Path(folder))
    Path(out).mkdir(parents=True, exist_ok=True)
    return into(Path(out))


def _written(run: Path, result: dict[str, Any], about: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The result, in evaluation.json and the report; in the former, `about` the model, too."""
    write_json(run / "evaluation.json", {**result, **(about or {})})
    write_report(run)
    return result


def chosen_metrics(which: Sequence[str] | None, weights: str | os.PathLike[str] | None, train: data.ImageSet, *,
                    optional: bool) -> tuple[str, ...]:
    """The metrics asked for; those there is everything at hand for where none are. None at all is an error unless `optional`."""
    if which is not None:
        return checked_metrics(which)
    chosen = own_metric(train)
    if weights is not None or cached_file().is_file():
        chosen += ("fid", "is", "kid")
    if not chosen and not optional:
        raise DataError(f"{train.name} has images of {train.image_shape[1]}x{train.image_shape[2]}, which FD-classifier and "
                        f"FD-exemplar do not take, and there are no Inception weights at {cached_file()}; name them "
                        "(--inception-weights), or ask for fid, to have them downloaded.")
    return chosen


def own_network(which: Sequence[str], train: data.ImageSet, test: data.ImageSet | None, cache: str | None, device: torch.device,
                say: Callable[[str], None]) -> metrics.FeatureClassifier | None:
    """The network trained on the data set itself that "classifier" or "exemplar" needs."""
    if "classifier" in which:
        return metrics.classifier_for(train, test_set=test, cache_dir=cache, device=device, notice=say)
    return metrics.exemplar_network_for(train, cache_dir=cache, device=device, notice=say) if "exemplar" in which else None


@torch.no_grad()
def _reconstruct(model: api.ImageAutoencoder, images: data.ImageSet, seed: int) -> tuple[Tensor, Tensor | None, float]:
    """Reconstructions as uint8, with the codes as they are and with codes that went through stage 2; squared error of the
    first.

    The second kind differs from stage 2's samples in u alone, drawn from q(u|z) and not from N(0, I); None without a stage 2.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    once: list[Tensor] = []
    twice: list[Tensor] = []
    error = 0.0
    second: SecondStage | None = getattr(model, "second", None)
    labels, done = labels_for_second(model, images), 0
    for batch, given in told_batches(model, images):
        x = data.to_float(batch)
        z = model.encode(x, **given).sample(generator)
        x_hat = model.decode(z, generator, **given)
        error += (x - x_hat).square().sum().item()
        once.append(to_uint8(x_hat))
        if has_latents(second):
            known = None if labels is None else labels[done : done + len(batch)]
            twice.append(to_uint8(model.decode(recode(second, z, known, generator), **given)))
        done += len(batch)
    return torch.cat(once), torch.cat(twice) if twice else None, error / images.images.numel()
