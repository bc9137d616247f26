"""Keep trained feature classifiers between runs: safetensors weights with a JSON file beside them.

The folder is `cache_dir`, else the environment variable VAEFAST_CACHE, else ~/.cache/vaefast. The weights depend
on the training images, their labels (if they count) and the recipe alone, and so does the name of the file. Each file is written
under another name and then renamed; the JSON carries the digest of the weights, so a torn pair is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load, save
from torch import Tensor

from ..data.cache import cache_dir as cache_folder
from ..data.roots import expanded
from ..errors import DataError, RunFolderError, VaefastError
from ..files import write_atomically
from ..pixel_values import as_levels
from .classifier import RECIPE, FeatureClassifier, classifier_accuracy, few_for_classifier, train_classifier
from .exemplars import EXEMPLAR_RECIPE, train_exemplar_network


class Images(Protocol):
    """What is needed of a data set: `vaefast.data` sets have it."""

    @property
    def images(self) -> Tensor: ...  # uint8 [N, C, H, W]

    @property
    def digest(self) -> str: ...  # of the images

    @property
    def name(self) -> str: ...


class LabelledImages(Images, Protocol):
    """The same with labels."""

    @property
    def labels(self) -> Tensor | None: ...  # int64 [N]


def classifier_for(
    image_set: LabelledImages,
    *,
    test_set: LabelledImages | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] = warnings.warn,
) -> FeatureClassifier:
    """The feature classifier of a data set: from the cache, or trained now and cached.

    Args:
        image_set: training images with labels.
        test_set: images and labels that it was not trained on; the accuracy on them is measured once, kept in the
            cache, and found in `info["test_accuracy"]` (0 to 1; None where no test set was ever given).
        cache_dir: where to keep classifiers; see above. A folder that cannot be written costs a notice and the
            caching, not the classifier.
        device: where to train and leave the classifier.
        progress: as for `train_classifier`; not called when the classifier comes from the cache.
        notice: called with one sentence about anything odd, such as a damaged file or a test set of 128 images or fewer; a
            warning by default.

    Returns:
        The classifier in evaluation mode. `info` holds "version", "data", "digest", "test_accuracy" (and
        "test_images", of how many), "train_seconds", "seed" and "steps".

    Raises:
        DataError: no labels. ArgumentError: images of a size or dtype that the classifier does not take.
    """
    if image_set.labels is None:
        raise DataError(f"FD-classifier needs labels, and the data set {image_set.name!r} has none.")
    if test_set is not None and test_set.labels is None:
        raise DataError(f"FD-classifier needs labels, and the test images of {image_set.name!r} have none.")
    # Sets with the same images and other labels (coarse, fine) must not share a classifier.
    labels = hashlib.sha256(image_set.labels.to(torch.int64).cpu().contiguous().numpy().tobytes()).hexdigest()
    stem = _stem(f"fd-classifier-{RECIPE}", f"{RECIPE}|{image_set.digest}|{labels}", cache_dir, notice)
    model = _read(stem, image_set, notice) if stem else None
    fresh = model is None
    if model is None:
        model = _timed(image_set, lambda: train_classifier(as_levels(image_set.images), image_set.labels, device=device,
                                                            progress=progress))
        model.info |= {"test_accuracy": None, "test_digest": None}
    model = model.to(device)
    if test_set is not None and model.info.get("test_digest") != test_set.digest:
        assert test_set.labels is not None
        model.info["test_accuracy"] = classifier_accuracy(model, test_set.images, test_set.labels)
        model.info["test_digest"] = test_set.digest
        fresh = True
    if test_set is not None:
        model.info["test_images"] = len(test_set.images)
        if (text := few_for_classifier(len(test_set.images))) is not None:
            notice(text)
    if fresh and stem:
        _write(stem, model, notice)
    return model


def exemplar_network_for(
    image_set: Images,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] = warnings.warn,
) -> FeatureClassifier:
    """The exemplar network of a data set, which needs no labels: from the cache, or trained now and cached.

    Arguments as for `classifier_for`. `info` holds "version", "data", "digest", "test_accuracy" (of naming exemplars in new
    views), "train_seconds", "seed" and "steps".

    Raises:
        DataError: fewer than two images. ArgumentError: images of a size or dtype that the network does not take.
    """
    stem = _stem(f"fd-exemplar-{EXEMPLAR_RECIPE}", f"{EXEMPLAR_RECIPE}|{image_set.digest}", cache_dir, notice)
    model = _read(stem, image_set, notice) if stem else None
    if model is None:
        model = _timed(image_set, lambda: train_exemplar_network(as_levels(image_set.images), device=device,
                                                                  progress=progress))
        if stem:
            _write(stem, model, notice)
    return model.to(device)


def _timed(image_set: Images, train: Callable[[], FeatureClassifier]) -> FeatureClassifier:
    """A network trained now, with what there is to say of it."""
    began = time.perf_counter()
    model = train()
    seconds = round(time.perf_counter() - began, 1)
    model.info |= {"data": image_set.name, "digest": image_set.digest, "train_seconds": seconds}
    return model


def _stem(
    name: str, content: str, folder: str | os.PathLike[str] | None, notice: Callable[[str], None]
) -> Path | None:
    """Path of the pair without its suffix, by the digest of `content`; None where there is nowhere to cache."""
    key = hashlib.sha256(content.encode()).hexdigest()[:24]
    try:
        place = cache_folder() if not folder else expanded(folder)
    except VaefastError:
        notice("No home folder to cache classifiers in: set VAEFAST_CACHE to a folder to train each one only once.")
        return None
    return place / f"{name}-{key}"


def _read(stem: Path, image_set: Images, notice: Callable[[str], None]) -> FeatureClassifier | None:
    weights, description = stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")
    try:
        raw, info = weights.read_bytes(), json.loads(description.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        notice(f"The cached classifier {description} cannot be read ({error}): training it anew.")
        return None
    try:
        if hashlib.sha256(raw).hexdigest() != info.pop("sha256"):
            raise ValueError("the weights do not have the digest noted beside them")
        model = FeatureClassifier(tuple(image_set.images.shape[1:]), int(info.pop("classes")))
        model.load_state_dict(load(raw))
        model.info = dict(info)
    except Exception as error:  # whatever a damaged file provokes, training anew mends it
        notice(f"The cached classifier {weights} is damaged ({error}): training it anew.")
        return None
    return model.eval().requires_grad_(False)


def _write(stem: Path, model: FeatureClassifier, notice: Callable[[str], None]) -> None:
    raw = save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()})
    info: dict[str, Any] = {**model.info, "classes": model.classes, "sha256": hashlib.sha256(raw).hexdigest()}
    try:
        write_atomically(stem.with_name(stem.name + ".safetensors"), raw)
        write_atomically(stem.with_name(stem.name + ".json"), (json.dumps(info, indent=1) + "\n").encode())
    except RunFolderError as error:
        notice(f"The classifier could not be cached ({error}): it works uncached.")
