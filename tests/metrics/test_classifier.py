import pytest
import torch
from torch.nn import functional as F

from vaefast.errors import ArgumentError, DataError
from vaefast.metrics import (
    FeatureClassifier,
    classifier_accuracy,
    classifier_features,
    classifier_statistics,
    frechet_distance,
    train_classifier,
)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 48)])
def test_shapes(shape):
    model = FeatureClassifier(shape, 7).eval()
    images = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    assert model(images).shape == (4, 7)
    features = model.features(images)
    assert features.shape == (4, 128) and features.dtype == torch.float32
    torch.testing.assert_close(features, model.features(images.float() / 255))


def test_learns_and_is_repeatable(stripes):
    images, labels = stripes
    state = torch.random.get_rng_state()
    steps = []
    model = train_classifier(images, labels, epochs=3, progress=lambda done, total: steps.append((done, total)))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert steps == [(i + 1, 12) for i in range(12)]
    assert not model.training and classifier_accuracy(model, images, labels) == 1.0
    again = train_classifier(images, labels, epochs=3)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    other = train_classifier(images, labels, epochs=3, seed=1)
    assert not torch.equal(model.head.weight, other.head.weight)


def test_features_stream(stripes):
    images, labels = stripes
    model = train_classifier(images, labels, epochs=1)
    whole = classifier_features(model, images)
    assert whole.shape == (600, 128) and (whole >= 0).all()
    torch.testing.assert_close(classifier_features(model, (images[:33], images[33:]), batch_size=50), whole)
    # Floats count as the 256 levels of a file.
    blurred_levels = (images.float() + 0.3) / 255
    torch.testing.assert_close(classifier_features(model, blurred_levels), whole)
    statistics = classifier_statistics(model, images.split(100))
    assert statistics.distance(classifier_statistics(model, images)) < 1e-4


def test_features_stay_float32_whatever_the_caller_has_set(stripes):
    model = train_classifier(*stripes, epochs=1)
    expected = model.features(stripes[0][:8])
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model.features(stripes[0][:8]), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_subset_of_mnist(mnist):
    """A twentieth of the data: accurate, real images near, damaged ones far, in the right order."""
    images, labels, test_images, test_labels = mnist
    model = train_classifier(images[:3000], labels[:3000], epochs=4)
    assert classifier_accuracy(model, test_images[:1000], test_labels[:1000]) > 0.93
    reference = classifier_features(model, images[6000:7000])
    real = frechet_distance(classifier_features(model, test_images[:1000]), reference)
    blurred = F.avg_pool2d(test_images[:1000].float() / 255, 5, 1, 2)
    blurred = frechet_distance(classifier_features(model, blurred), reference)
    noise = torch.rand(1000, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    noise = frechet_distance(classifier_features(model, noise), reference)
    assert 5 * real < blurred < noise


@pytest.mark.slow
def test_all_of_mnist(mnist):
    images, labels, test_images, test_labels = mnist
    model = train_classifier(images, labels)
    assert classifier_accuracy(model, test_images, test_labels) >= 0.985
    assert classifier_statistics(model, test_images).distance(classifier_statistics(model, images)) < 0.5


def test_bad_input_is_refused(stripes):
    images, labels = stripes
    with pytest.raises(DataError, match="needs labels"):
        train_classifier(images, None)
    with pytest.raises(DataError, match="one integer an image"):
        train_classifier(images, labels[:-1])
    with pytest.raises(DataError, match="2 classes"):
        train_classifier(images, torch.zeros_like(labels))
    with pytest.raises(ArgumentError, match="uint8"):
        train_classifier(images.float(), labels)
    with pytest.raises(ArgumentError, match="28 to 64"):
        train_classifier(images[..., :20], labels)
    with pytest.raises(ArgumentError, match="epochs"):
        train_classifier(images, labels, epochs=0)
    model = FeatureClassifier((1, 28, 28), 3)
    with pytest.raises(ArgumentError, match="1, 28, 28"):
        classifier_features(model, torch.zeros(2, 3, 28, 28))
    with pytest.raises(ArgumentError, match=r"in \[0, 1\]"):
        classifier_features(model, torch.full((2, 1, 28, 28), 3.0))
    with pytest.raises(ArgumentError, match="finite"):
        classifier_features(model, torch.full((2, 1, 28, 28), float("nan")))
    with pytest.raises(ArgumentError, match="no images"):
        classifier_features(model, [])
