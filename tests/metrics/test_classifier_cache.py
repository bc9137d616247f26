import json
from types import SimpleNamespace

import pytest
import torch

from vaefast.errors import DataError
from vaefast.metrics import RECIPE, classifier_for
from vaefast.metrics import classifier_cache as cache


@pytest.fixture
def image_set(stripes, monkeypatch):
    # The recipe's 600 steps are for real data; these bands need a handful.
    monkeypatch.setattr("vaefast.metrics.classifier._LEAST_STEPS", 5)
    return SimpleNamespace(images=stripes[0], labels=stripes[1], digest="d1", name="stripes")


@pytest.fixture
def trainings(monkeypatch):
    calls = []
    train = cache.train_classifier
    monkeypatch.setattr(cache, "train_classifier", lambda *a, **k: calls.append(1) or train(*a, **k))
    return calls


def test_trained_once(image_set, trainings, tmp_path):
    first = classifier_for(image_set, test_set=image_set, cache_dir=tmp_path / "new" / "folder")
    second = classifier_for(image_set, test_set=image_set, cache_dir=tmp_path / "new" / "folder")
    assert len(trainings) == 1
    assert torch.equal(first.features(image_set.images), second.features(image_set.images))
    assert first.info == second.info
    assert first.info["version"] == RECIPE and first.info["data"] == "stripes" and first.info["test_accuracy"] == 1.0
    assert sorted(p.suffix for p in (tmp_path / "new" / "folder").iterdir()) == [".json", ".safetensors"]
    assert not second.training and not second.head.weight.requires_grad


def test_other_data_or_labels_get_their_own(image_set, trainings, tmp_path):
    classifier_for(image_set, cache_dir=tmp_path)
    classifier_for(SimpleNamespace(**{**vars(image_set), "digest": "d2"}), cache_dir=tmp_path)
    classifier_for(SimpleNamespace(**{**vars(image_set), "labels": 2 - image_set.labels}), cache_dir=tmp_path)
    assert len(trainings) == 3


def test_accuracy_is_added_when_a_test_set_turns_up(image_set, trainings, tmp_path):
    assert classifier_for(image_set, cache_dir=tmp_path).info["test_accuracy"] is None
    assert classifier_for(image_set, test_set=image_set, cache_dir=tmp_path).info["test_accuracy"] > 0.5
    assert classifier_for(image_set, cache_dir=tmp_path).info["test_accuracy"] > 0.5
    assert len(trainings) == 1


def test_few_test_images_are_told_in_one_sentence(image_set, trainings, tmp_path):
    notices = []
    few = SimpleNamespace(**{**vars(image_set), "images": image_set.images[:3], "labels": image_set.labels[:3], "digest": "few"})
    for _ in range(2):  # trained, and from the cache
        model = classifier_for(image_set, test_set=few, cache_dir=tmp_path, notice=notices.append)
        assert model.info["test_images"] == 3
    assert len(notices) == 2 and all("3 test images are few" in text and "+-29%" in text and "128" in text for text in notices)
    classifier_for(image_set, test_set=image_set, cache_dir=tmp_path, notice=notices.append)
    assert len(notices) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "json", "list", "torn"])
def test_a_damaged_cache_is_trained_anew_with_a_notice(image_set, trainings, tmp_path, damage):
    classifier_for(image_set, cache_dir=tmp_path)
    weights, description = next(tmp_path.glob("*.safetensors")), next(tmp_path.glob("*.json"))
    raw = weights.read_bytes()
    if damage == "cut":
        weights.write_bytes(raw[:1000])
    elif damage == "flipped":
        weights.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    elif damage == "json":
        description.write_text("{")
    elif damage == "list":
        description.write_text("[]")
    else:
        info = json.loads(description.read_text())
        description.write_text(json.dumps({**info, "classes": 9}))
    notices = []
    classifier_for(image_set, cache_dir=tmp_path, notice=notices.append)
    assert len(trainings) == 2 and len(notices) == 1 and "anew" in notices[0]
    classifier_for(image_set, cache_dir=tmp_path, notice=notices.append)
    assert len(trainings) == 2 and len(notices) == 1


def test_an_unwritable_folder_costs_the_caching_only(image_set, tmp_path):
    (tmp_path / "file").write_text("")
    notices = []
    model = classifier_for(image_set, cache_dir=tmp_path / "file", notice=notices.append)
    assert model.info["version"] == RECIPE
    assert "uncached" in notices[-1]


def test_the_folder_comes_from_the_environment(image_set, tmp_path, monkeypatch):
    monkeypatch.setenv("VAEFAST_CACHE", str(tmp_path / "here"))
    classifier_for(image_set)
    assert len(list((tmp_path / "here").iterdir())) == 2


def test_no_labels(image_set, tmp_path):
    image_set.labels = None
    with pytest.raises(DataError, match="needs labels.*'stripes'"):
        classifier_for(image_set, cache_dir=tmp_path)
