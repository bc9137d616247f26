"""The network behind `fd_classifier`: a small classifier trained on a data set's own labels.

Where Inception weights are not at hand, or mean little (digits), the Fréchet distance is taken in the 128
penultimate features of this network instead. That number is called `fd_classifier`, never FID, and two such
numbers compare only when data set and `RECIPE` are the same. The recipe (architecture, schedule, seed) is frozen
under that name: change anything that moves the features, and the name changes too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ArgumentError, DataError
from .frechet import GaussianStatistics
from .inception_input import rounded, unit_range
from .precision import true_float32

RECIPE = "cnn128-v1"
FEATURES = 128
SMALLEST, LARGEST = 28, 64

_BATCH = 128
_EPOCHS = 3
_LEAST_STEPS = 600  # a few thousand images need more than three passes
_PEAK_LR = 3e-3
_WEIGHT_DECAY = 1e-4


def few_for_classifier(count: int) -> str | None:
    """What to tell about a small set of test images, of which the accuracy and the distance are taken, or None."""
    if count > FEATURES:
        return None
    spread = 0.5 / max(count, 1) ** 0.5
    return (f"{count:,} test images are few: the classifier's accuracy on them is known to about +-{spread:.0%}, and "
            f"FD-classifier, of {FEATURES} features, comes out too large; take more than {FEATURES}.")


class FeatureClassifier(nn.Module):
    """Convolutional classifier for small images, with its 128 penultimate features at hand.

    Three 3x3 convolutions of stride 2 (32, 64, 128 channels, batch norm, ReLU), one linear layer to 128 features
    (batch norm, ReLU), one to the classes.

    Args:
        image_shape: (channels, height, width); height and width from 28 to 64.
        classes: number of labels, >= 2.

    Attributes:
        info: what is known about these weights: "version" and, once measured, "test_accuracy" and more.
        reduction: pixels a side of the last maps' cells.

    Raises:
        ArgumentError: a shape or a number of classes outside these ranges.
    """

    reduction = 8

    def __init__(self, image_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.image_shape = _checked_shape(image_shape)
        if classes < 2:
            raise ArgumentError(f"A classifier needs at least 2 classes, got {classes}.")
        self.classes = int(classes)
        self.info: dict[str, Any] = {"version": RECIPE}
        channels, height, width = self.image_shape
        widths = (channels, 32, 64, 128)
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            height, width = (height + 1) // 2, (width + 1) // 2
        layers += [nn.Flatten(), nn.Linear(widths[-1] * height * width, FEATURES, bias=False)]
        layers += [nn.BatchNorm1d(FEATURES), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(FEATURES, self.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, C, H, W], uint8 or float in [0, 1]."""
        logits: Tensor = self.head(self.body(self._prepared(x)))
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Penultimate features, float32 [N, 128], >= 0, of images [N, C, H, W], uint8 or float in [0, 1].

        Always true float32: autocast and TF32 are switched off inside, since a distance sees the rounding.
        """
        x = self._prepared(x)
        with true_float32(x.device):
            rows: Tensor = self.body(x)
        return rows

    def maps(self, x: Tensor) -> list[Tensor]:
        """The outputs of the three convolutions, [N, 32, ...], [N, 64, ...] and [N, 128, ...], of images as for `features`."""
        x, maps = self._prepared(x), []
        for layer in self.body[:9]:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                maps.append(x)
        return maps

    def logits(self, features: Tensor) -> Tensor:
        """Logits [N, classes] of the features [N, 128] of images, on the features' device, in float32."""
        with true_float32(self.head.weight.device), torch.no_grad():
            logits: Tensor = self.head(features.to(self.head.weight)).to(features)
        return logits

    def _prepared(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or tuple(x.shape[1:]) != self.image_shape:
            raise ArgumentError(f"This classifier takes images [N, {_shape(self.image_shape)}], got {tuple(x.shape)}.")
        weight = self.head.weight
        if x.dtype == torch.uint8:
            return x.to(weight.device).to(weight.dtype) / 255
        if not x.is_floating_point():
            raise ArgumentError(f"Images must be uint8, or float in [0, 1], got {x.dtype}.")
        return x.to(weight.device, weight.dtype)


def train_classifier(
    images: Tensor,
    labels: Tensor | None,
    *,
    seed: int = 0,
    epochs: int | None = None,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> FeatureClassifier:
    """Train the classifier whose features `fd_classifier` uses.

    About 30 s for the 60,000 MNIST images on 2 CPU cores. Always float32, so that machines with and without bf16
    units agree closely; on one machine with one thread count the weights are the same every time. The caller's
    random state is left as it was.

    Args:
        images: uint8 [N, C, H, W], height and width from 28 to 64.
        labels: integers [N] from 0.
        seed: of the initial weights and the order of the images. Numbers to be compared use the default.
        epochs: passes over the images; None is the recipe: 3, or as many as make 600 steps of 128 images.
        device: where to train; the classifier stays there.
        progress: called as progress(steps done, steps in all) after every step.

    Returns:
        The classifier in evaluation mode, its parameters without gradients.

    Raises:
        DataError: no labels, labels that do not belong to the images, fewer than two classes.
        ArgumentError: images of the wrong dtype or shape, epochs < 1.
    """
    labels = _checked_labels(images, labels)
    if epochs is not None and epochs < 1:
        raise ArgumentError(f"epochs must be at least 1, got {epochs}.")
    per_epoch = len(images) // min(_BATCH, len(images))
    steps = epochs * per_epoch if epochs else max(_EPOCHS * per_epoch, _LEAST_STEPS)
    return fit_classifier(images, labels, steps=steps, seed=seed, device=device, progress=progress)


def fit_classifier(
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    seed: int,
    device: str | torch.device = "cpu",
    view: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureClassifier:
    """Train the network on `steps` batches of 128 images in random order, with the recipe's optimizer and schedule.

    Args:
        images, labels, seed, device, progress: as for `train_classifier`.
        view: (batch of images, generator) -> the images that the network sees in their place.
    """
    device = torch.device(device)
    images, labels = images.to(device), labels.to(device)
    count, batch = len(images), min(_BATCH, len(images))
    with torch.random.fork_rng(devices=[], enabled=True):
        torch.manual_seed(seed)
        model = FeatureClassifier(tuple(images.shape[1:]), int(labels.max()) + 1)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    model.train()
    order_rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_PEAK_LR, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_LR, total_steps=steps, pct_start=0.2)
    done = 0
    with true_float32(device), torch.enable_grad():
        while done < steps:
            order = torch.randperm(count, generator=order_rng).to(device)
            for start in range(0, count // batch * batch, batch):
                index = order[start : start + batch]
                x = images[index] if view is None else view(images[index], order_rng)
                loss = F.cross_entropy(model(x.contiguous(memory_format=torch.channels_last)), labels[index])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                done += 1
                if progress is not None:
                    progress(done, steps)
                if done == steps:
                    break
                schedule.step()
    model.info |= {"seed": seed, "steps": steps}
    # Plain memory order again, so that features are the same bits as from weights read back from a file.
    return model.to(memory_format=torch.contiguous_format).eval().requires_grad_(False)


@torch.no_grad()
def classifier_accuracy(model: FeatureClassifier, images: Tensor, labels: Tensor, batch_size: int = 500) -> float:
    """Share of images, 0 to 1, whose label the classifier names."""
    labels = _checked_labels(images, labels, least_classes=1)
    right = 0
    for start in range(0, len(images), batch_size):
        guess = model(images[start : start + batch_size]).argmax(1)
        right += int((guess.cpu() == labels[start : start + batch_size].cpu()).sum())
    return right / len(images)


def classifier_features(model: FeatureClassifier, images: Tensor | Iterable[Tensor], batch_size: int = 500) -> Tensor:
    """Features of many images, computed in batches.

    Float images are first rounded to the 256 levels that an image file has, as the real ones are: so samples
    score the same before and after they were saved.

    Args:
        model: a trained classifier.
        images: [N, C, H, W] uint8 or float in [0, 1], or an iterable of such tensors.
        batch_size: images a forward pass; it does not change the result beyond rounding.

    Returns:
        float32 [N, 128] on the CPU.

    Raises:
        ArgumentError: no images, wrong shape, NaN, or floats outside [0, 1].
    """
    parts = list(_feature_batches(model, images, batch_size))
    if not parts:
        raise ArgumentError("There are no images to take features of.")
    return torch.cat([part.cpu() for part in parts])


def classifier_statistics(
    model: FeatureClassifier, images: Tensor | Iterable[Tensor], batch_size: int = 500
) -> GaussianStatistics:
    """Mean and covariance of the features of many images, never holding more than one batch of them.

    `classifier_statistics(model, a).distance(classifier_statistics(model, b))` is the `fd_classifier` of a and b.
    Arguments and errors as for `classifier_features`.
    """
    statistics = GaussianStatistics(FEATURES)
    for part in _feature_batches(model, images, batch_size):
        statistics.update(part)
    return statistics


@torch.no_grad()
def _feature_batches(
    model: FeatureClassifier, images: Tensor | Iterable[Tensor], batch_size: int
) -> Iterator[Tensor]:
    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1, got {batch_size}.")
    training = model.training
    model.eval()
    try:
        for chunk in (images,) if isinstance(images, Tensor) else images:
            for start in range(0, len(chunk), batch_size):
                yield model.features(_as_uint8(chunk[start : start + batch_size]))
    finally:
        model.train(training)


def _as_uint8(x: Tensor) -> Tensor:
    return rounded(unit_range(x.float())) if x.is_floating_point() else x  # other kinds are refused by the classifier


def _shape(shape: Iterable[int]) -> str:
    return ", ".join(str(n) for n in shape)


def _checked_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    shape = tuple(int(n) for n in shape)
    if len(shape) != 3 or shape[0] < 1 or not all(SMALLEST <= n <= LARGEST for n in shape[1:]):
        raise ArgumentError(
            f"The classifier takes images (channels, height, width) from {SMALLEST} to {LARGEST} pixels a side, got "
            f"({_shape(shape)})."
        )
    return shape


def _checked_labels(images: Tensor, labels: Tensor | None, least_classes: int = 2) -> Tensor:
    if labels is None:
        raise DataError("FD-classifier needs labels, and this data set has none: score it with another metric.")
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ArgumentError(f"Images must be uint8 [N, C, H, W], got {images.dtype} {tuple(images.shape)}.")
    _checked_shape(tuple(images.shape[1:]))
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise DataError(
            f"Labels must be one integer an image: got {tuple(labels.shape)} {labels.dtype} for {len(images)} images."
        )
    labels = labels.to(torch.int64)
    if len(images) < 2 or int(labels.min()) < 0 or len(labels.unique()) < least_classes:
        raise DataError(f"FD-classifier needs labels from 0 of at least {least_classes} classes, on 2 images or more.")
    return labels
