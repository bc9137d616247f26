"""Images that are read as training goes: Datasets, DataLoaders, iterables."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import vaefast
from vaefast.data.stream import ImageStream, kind_of
from vaefast.errors import ArgumentError, DataError, RunFolderError
from vaefast.training import Callback, RunFolder

SHAPE = (1, 8, 8)


def pixels(n=48):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(7))


class Drawn(Dataset):
    """Images with labels that torch, Python or NumPy changes at random."""

    def __init__(self, n=48, random=True):
        self.images, self.random = pixels(n), random

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        x = self.images[i]
        if self.random:
            x = x * (0.5 + (torch.rand(()) + random.random() + np.random.rand()) / 6)
        return x.float(), i % 3


class Rows:
    """As a Hugging Face Dataset: items are dicts."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return dict(zip(("image", "label"), self.data[i]))


class Streamed:
    """As a Hugging Face IterableDataset: neither a length nor items by number."""

    def __init__(self, data, endless=False):
        self.data, self.endless, self.epochs = data, endless, []

    def set_epoch(self, epoch):
        self.epochs.append(epoch)

    def __iter__(self):
        while True:
            for i in range(len(self.data)):
                yield dict(zip(("image", "label"), self.data[i]))
            if not self.endless:
                return


class Torch(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


def own_networks():
    torch.manual_seed(0)
    return {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
            "decoder": nn.Sequential(nn.Linear(2, 64), nn.Sigmoid(), nn.Unflatten(1, SHAPE))}


def vae():
    return vaefast.VAE(SHAPE, 2, **own_networks())


def fitted(data, model=None, **options):
    model = vae() if model is None else model
    model.fit(data, **{"steps": 10, "batch_size": 8, "lr": 0.01, "device": "cpu", "progress": False, **options})
    return model


def weights(model):
    return torch.cat([t.detach().flatten().float() for t in model.state_dict().values()])


class StopAt(Callback):
    def __init__(self, step):
        self.at = step

    def step(self, trainer):
        if trainer.done == self.at:
            trainer.stop()


# What a Dataset gives.


def test_a_dataset_without_random_transforms_trains_as_if_it_were_in_memory():
    held = fitted(Drawn(random=False).images)
    for data in (Drawn(random=False), Rows(Drawn(random=False)), Subset(Drawn(random=False), range(48))):
        assert torch.equal(weights(fitted(data, workers=0)), weights(held))
    assert torch.equal(weights(fitted(Drawn(random=False), materialize=True)), weights(held))


def test_random_transforms_act_anew_and_do_not_depend_on_the_workers():
    runs = [weights(fitted(Drawn(), workers=workers)) for workers in (0, 1, 2)]
    assert torch.equal(runs[0], runs[1]) and torch.equal(runs[0], runs[2])
    seen = []
    model = vae()
    model.first.register_forward_pre_hook(lambda _, x: seen.append(x[0].clone()))
    fitted(Drawn(8), model, steps=3, workers=0)
    totals = [x.sum().item() for x in seen]
    assert len(set(totals)) == 3  # the same eight images, each time changed otherwise
    frozen = [x.sum() for x in _seen(Drawn(8), materialize=True)]
    torch.testing.assert_close(frozen, frozen[:1] * 3)


def _seen(data, **options):
    seen, model = [], vae()
    model.first.register_forward_pre_hook(lambda _, x: seen.append(x[0].clone()))
    fitted(data, model, **{"steps": 3, **options})
    return seen


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_gives_the_same_bits(tmp_path, workers):
    whole = fitted(Drawn(), steps=16, workers=0)
    fitted(Drawn(), steps=16, workers=workers, out=tmp_path / "run", callbacks=[StopAt(9)])
    again = fitted(Drawn(), steps=16, workers=1 - workers, out=tmp_path / "run", resume=True)
    assert torch.equal(weights(again), weights(whole))
    assert json.loads((tmp_path / "run/config.json").read_text())["data"] == {
        "name": "Drawn", "split": "train", "streamed": "map", "count": 48, "image_shape": [1, 8, 8], "value_range": [0.0, 1.0]}
    for changed, message in (({"value_range": (0, 1)}, "value_range was 'auto', is now"),
                             ({"augment": "flip"}, "augment was None"), ({"materialize": True}, "materialize was False")):
        with pytest.raises(RunFolderError, match=message):
            fitted(Drawn(), steps=16, out=tmp_path / "run", resume=True, **changed)


@pytest.mark.parametrize("make", [Drawn, lambda: DataLoader(Drawn(), 8, shuffle=True), lambda: Streamed(Drawn())])
def test_the_callers_random_states_stay_as_they_were(make):
    data, model = make(), vae()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    fitted(data, model, workers=None if isinstance(data, DataLoader) else 0)
    assert torch.equal(states[0], torch.get_rng_state()) and states[1] == random.getstate()
    assert np.array_equal(states[2], np.random.get_state()[1])


def test_what_is_held_and_what_is_read():
    x, y = pixels(), torch.arange(48)
    for data in (x, x.numpy(), list(x), tuple(x), TensorDataset(x, y), Subset(TensorDataset(x), [1, 2]),
                 vaefast.data.as_image_set(x), "a.png", {"train": x}, 3):
        assert kind_of(data) is None
    assert kind_of(type("OnDisk", (Rows,), {"shape": (48, 8, 8), "dtype": "u1"})(Drawn())) is None  # as h5py's
    assert [kind_of(d) for d in (Drawn(), Subset(Drawn(), [1]), Rows(Drawn()))] == ["map"] * 3
    assert [kind_of(d) for d in (Torch([]), Streamed(Drawn()))] == ["iterable"] * 2
    assert kind_of(DataLoader(TensorDataset(x))) == "loader"


# DataLoaders and iterables.


@pytest.mark.parametrize("form", ["tuples", "tensors", "dicts", "lists of items", "arrays", "bytes", "grey", "minus one to one"])
def test_batches_of_a_loader_in_any_form(form):
    x = (pixels() * 255).round()
    unit = (x / 255).sort(0).values[0]
    loader = {
        "tuples": lambda: DataLoader(TensorDataset(x / 255, torch.arange(48)), 8),
        "tensors": lambda: DataLoader((x / 255), 8), "bytes": lambda: DataLoader(TensorDataset(x.to(torch.uint8)), 8),
        "dicts": lambda: DataLoader([{"image": i, "label": 1} for i in x / 255], 8),
        "lists of items": lambda: DataLoader([(i, 1) for i in x / 255], 8, collate_fn=list),
        "arrays": lambda: DataLoader((x / 255), 8, collate_fn=lambda b: np.stack([i.numpy()[0] for i in b])),
        "grey": lambda: DataLoader(TensorDataset(x[:, 0] / 255, torch.arange(48)), 8),
        "minus one to one": lambda: DataLoader(TensorDataset(x / 127.5 - 1), 8)}[form]()
    stream = ImageStream(loader)
    found = torch.cat(list(stream.one_pass(1)))
    assert stream.image_shape == SHAPE and stream.count == 48 and stream.batch_size == 8
    found = found.float() / 255 if found.dtype == torch.uint8 else found
    torch.testing.assert_close(found.sort(0).values[0], unit)


def test_a_loaders_own_batches_and_samplers_are_used(tmp_path, capsys):
    asked = []

    class Sampler(torch.utils.data.Sampler):
        def __iter__(self):
            asked.append(1)
            return iter(range(20))

        def __len__(self):
            return 20

    data = DataLoader(Drawn(), batch_size=6, sampler=Sampler())
    model = vae()
    history = model.fit(data, epochs=4, device="cpu", progress=False, out=tmp_path / "run")
    assert history.records[-1]["step"] == 12 and len(asked) == 5  # the smaller last batch is left out; and once for the shape
    assert json.loads((tmp_path / "run/config.json").read_text())["stages"][0]["batch_size"] == 6
    for options, message in (({"batch_size": 8}, "batch_size is 8, and the DataLoader gives batches of 6"),
                             ({"workers": 1}, "the DataLoader has num_workers=0 of its own"),
                             ({"materialize": True}, "materialize is True, and data is a DataLoader"),
                             ({"settings": vaefast.training.StageSettings(steps=1, batch_size=5)}, "batch_size is 5")):
        with pytest.raises(ArgumentError, match=message):
            vae().fit(data, **({} if "settings" in options else {"steps": 2}), device="cpu", progress=False, **options)
    capsys.readouterr()
    vae().fit(data, settings=vaefast.training.StageSettings(steps=1), device="cpu")  # of 64, which it may not have been asked for
    assert "batches of 6, as the DataLoader makes them, instead of the settings' 64" in capsys.readouterr().out


@pytest.mark.parametrize("make", [Streamed, lambda d: Torch([d[i] for i in range(len(d))])])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_iterable_that_ends_is_begun_again(make, workers):
    data = make(Drawn(20))
    first, second = (weights(fitted(data, steps=5, workers=workers)) for _ in range(2))
    assert torch.equal(first, second)
    if isinstance(data, Streamed):
        assert data.epochs[:3] == [0, 1, 2]  # two whole batches of eight a pass
    with pytest.raises(ArgumentError, match="length of the (Streamed|Torch) is not known.*give steps instead of epochs"):
        fitted(data, steps=None, epochs=1)


def test_a_resumed_stream_says_what_comes_again(tmp_path, capsys):
    data = Streamed(Drawn())
    fitted(data, workers=0, out=tmp_path / "run", callbacks=[StopAt(4)])
    capsys.readouterr()
    history = vae().fit(data, steps=10, batch_size=8, lr=0.01, device="cpu", workers=0, out=tmp_path / "run", resume=True)
    assert history.records[-1]["step"] == 10
    said = " ".join(capsys.readouterr().out.split())
    assert "stage1: the Streamed starts from its beginning: what it gave in the first 4 steps may come again" in said


def test_a_loaders_batch_size_takes_the_place_of_a_models_own():
    model = MODELS["biggan"]()
    history = model.fit(DataLoader(Drawn(), 8), steps=1, device="cpu", progress=False)
    assert model.defaults[0].batch_size == 512 and history.records[-1]["step"] == 1


def test_what_was_taken_for_the_range_is_told(capsys):
    vae().fit(pixels() * 2 - 1, steps=1, batch_size=8, device="cpu")
    assert "float32, and were taken to go from -1, black, to 1, white" in " ".join(capsys.readouterr().out.split())
    seen = _seen(pixels() * 2 - 1)
    assert float(torch.stack(seen).min()) >= 0
    vae().fit(pixels(), steps=1, batch_size=8, device="cpu")
    assert "were taken" not in capsys.readouterr().out


# Every model of images.

MODELS = {
    "two-stage": lambda: vaefast.TwoStageVAE(SHAPE, 2, second_width=8, second_depth=1, **own_networks()),
    "mixture": lambda: vaefast.TwoStageVAE(SHAPE, 2, second="mixture", **own_networks()),
    "wae": lambda: vaefast.WAE(SHAPE, 2, pretrain=True, posterior="gaussian", **own_networks()),
    "general": lambda: vaefast.GeneralVAE(SHAPE, 2, regularizer="tc", family="gaussian", **own_networks()),
    "gamix": lambda: vaefast.GAMIXVAE(SHAPE, 2, adversary=None, **own_networks()),
    "gan": lambda: vaefast.GAN(SHAPE, latent_dim=2, loss="wgan", generator=own_networks()["decoder"],
                               discriminator=nn.Sequential(nn.Flatten(), nn.Linear(64, 1))),
    "biggan": lambda: vaefast.BigGAN(SHAPE, "normal", 4, 4, classes=3),
    "sequential": lambda: vaefast.SequentialVAE(SHAPE, 1, width=1 / 32)}


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_takes_a_dataset_and_an_endless_stream(kind):
    for data in (Drawn(40), Streamed(Drawn(20), endless=True)):
        model = MODELS[kind]()
        history = model.fit(data, steps=2, batch_size=8, device="cpu", progress=False, workers=0, augment="flip")
        assert {r["stage"] for r in history.records} == ({"stage1", "stage2"} if kind in ("two-stage", "mixture") else {"stage1"})
        assert torch.isfinite(weights(model)).all() and model.sample(3).shape == (3, *SHAPE)


def test_a_second_stage_sees_the_whole_of_a_stream_or_what_the_first_saw(tmp_path, monkeypatch):
    from vaefast.training.sources import PosteriorSource

    counts = []
    monkeypatch.setattr(PosteriorSource, "__init__", _counting(PosteriorSource.__init__, counts))
    for data in (Drawn(40), DataLoader(Drawn(20), 8), Streamed(Drawn(20)), Streamed(Drawn(20), endless=True)):
        fitted(data, MODELS["two-stage"](), steps=4, workers=0)
    assert counts == [40, 20, 20, 32]
    whole = fitted(Drawn(), MODELS["two-stage"](), workers=0)
    fitted(Drawn(), MODELS["two-stage"](), workers=0, out=tmp_path / "run", callbacks=[StopInSecond()])
    again = fitted(Drawn(), MODELS["two-stage"](), workers=0, out=tmp_path / "run", resume=True)
    assert torch.equal(weights(again), weights(whole))


def _counting(init, counts):
    def counted(self, posterior, labels=None):
        counts.append(len(posterior.mean))
        init(self, posterior, labels)
    return counted


class StopInSecond(Callback):
    def step(self, trainer):
        if trainer.stage.name == "stage2" and trainer.done == 4:
            trainer.stop()


def test_labels_are_asked_of_a_stream():
    class Labelled(Drawn):
        def __init__(self, label):
            super().__init__()
            self.label = label

        def __getitem__(self, i):
            return super().__getitem__(i)[0], self.label(i)

    for label, message in ((lambda i: None, "Labelled has no labels"), (lambda i: 5 * (i > 40), "a label is 5; this model has")):
        with pytest.raises(DataError, match=message):
            MODELS["biggan"]().fit(Labelled(label), epochs=1, batch_size=8, device="cpu", progress=False, workers=0)


# What cannot be read.


class Going(Streamed):
    """Gives `good` images, and then what `bad` gives."""

    def __init__(self, bad, good=24):
        self.bad, self.good, self.epochs = bad, good, []

    def __iter__(self):
        yield from pixels(self.good)
        yield from self.bad()


def fail():
    raise OSError("the disk is gone")


def spoiled(value):
    x = pixels(1)[0]
    x[0, 2, 3] = value
    return x


class Failing(Drawn):
    def __init__(self, what):
        super().__init__(random=False)
        self.what = what

    def __getitem__(self, i):
        return self.what() if i == 17 else self.images[i]


@pytest.mark.parametrize(("what", "message"), [
    (fail, "item 17 could not be read: OSError: the disk is gone"),
    (lambda: torch.rand(1, 8, 9), r"item 17 is an image \[C, H, W\] = \[1, 8, 9\], and the first is \[1, 8, 8\]"),
    (lambda: spoiled(float("nan")), "item 17 holds nan at channel 0, row 2, column 3; every value must be finite"),
    (lambda: spoiled(-0.5), r"item 17 holds -0.5 .* lie in \[0, 1\].* Or give value_range=\(-1, 1\)"),
    (lambda: (spoiled(0) * 255).to(torch.uint8), "item 17 is torch.uint8 and another of its batch|torch.float32"),
    (lambda: "text", "item 17 is a str"), (lambda: {"x": 1}, "item 17 has the keys"), (lambda: None, "item 17 is a NoneType")])
def test_a_bad_item_is_named_and_nothing_trained_is_lost(tmp_path, monkeypatch, what, message):
    monkeypatch.setattr("vaefast.data.stream.FIRST", 3)
    with pytest.raises(DataError, match=message) as found:
        fitted(Failing(what), steps=12, workers=0, out=tmp_path / "run", seed=3)
    assert "\n" not in str(found.value)
    newest = RunFolder.open(tmp_path / "run").checkpoints.newest()
    assert newest is not None and newest[1]["step"] > 0


def test_what_fails_in_a_worker_is_told_in_the_same_sentence(monkeypatch):
    monkeypatch.setattr("vaefast.data.stream.FIRST", 3)
    with pytest.raises(DataError, match="^the Failing cannot be used: item 17 could not be read: OSError: .*gone.$") as found:
        fitted(Failing(fail), workers=1)
    assert "in fail" in str(found.value.__cause__)  # where in the user's own code


def colours():  # not as lambdas: processes that are not forked have to find them
    return iter([torch.rand(3, 8, 8)] * 8)


def sevens():
    return iter([spoiled(7.0)] * 8)


@pytest.mark.parametrize(("bad", "message"), [
    (fail, "the Going cannot be used: it failed: OSError: the disk is gone"),
    (colours, r"image 24 is an image \[C, H, W\] = \[3, 8, 8\]"), (sevens, "image 24 holds 7")])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_that_goes_bad(tmp_path, bad, message, workers, monkeypatch):
    monkeypatch.setattr("vaefast.data.stream.FIRST", 8)
    with pytest.raises(DataError, match=message):
        fitted(Going(bad), workers=workers, out=tmp_path / "run")
    assert RunFolder.open(tmp_path / "run").checkpoints.newest()[1]["step"] == 3


def test_a_refusal_before_the_first_step_leaves_no_folder(tmp_path):
    with pytest.raises(DataError, match="ended after 5 images, without one whole batch of 8; lower batch_size"):
        fitted(Streamed(Drawn(5)), out=tmp_path / "run", workers=0)
    assert not (tmp_path / "run").exists()


class Batches:
    """Batches of these sizes, in the place of a Dataset, for DataLoader(batch_size=None)."""

    def __init__(self, *sizes, shape=SHAPE):
        self.sizes, self.shape = sizes, shape

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, i):
        if i >= len(self.sizes):
            raise IndexError
        return pixels(self.sizes[i]) if i < 2 else torch.rand(self.sizes[i], *self.shape)


@pytest.mark.parametrize(("data", "message"), [
    (Batches(8, 8, 7, 8), "batch 3 of the DataLoader has 7 images and is not the last, and the others have 8"),
    (Batches(8, 8, 9, 8), "batch 3 of the DataLoader has 9 images, and the others have 8"),
    (Batches(8, 8, 8, shape=(1, 8, 9)), r"batch 3 of the DataLoader cannot be used: its images have shape \[1, 8, 9\]")])
def test_batches_of_other_sizes(data, message):
    with pytest.raises(DataError, match=message):
        fitted(DataLoader(data, batch_size=None))
    assert len(_seen(DataLoader(Batches(8, 8, 3), batch_size=None), steps=5)) == 5  # a smaller last one is left out


def test_a_loader_that_ends_early():
    class Short(torch.utils.data.Sampler):
        def __iter__(self):
            return iter(range(16))

        def __len__(self):
            return 48

    with pytest.raises(DataError, match="the DataLoader ended after 2 batches, where its length says 6"):
        fitted(DataLoader(Drawn(), 8, sampler=Short()))


class Dying(Drawn):
    def __getitem__(self, i):
        if i == 30 and torch.utils.data.get_worker_info() is not None:
            os._exit(1)
        return super().__getitem__(i)


def test_a_worker_that_dies():
    with pytest.raises(DataError, match="a worker process that reads the data died .*workers=0"):
        fitted(Dying(), workers=1)
    loader = DataLoader(Dying(), 8, num_workers=1, persistent_workers=True)
    for _ in range(2):  # it can be iterated again
        with pytest.raises(DataError, match="a worker process that reads the data died"):
            fitted(loader)
    subprocess.run([sys.executable, "-c", ""], check=True)  # torch is silent at the end of another process


@pytest.mark.parametrize(("data", "error", "message"), [
    ({"train": 1, "test": 2}, ArgumentError, r"data is a dict of 'train', 'test'; give one of its entries, such as data\['train"),
    ((x for x in pixels()), ArgumentError, "generator, which can be read once alone"), (iter([1]), ArgumentError, "read once"),
    (Torch([]), DataError, "Torch ended without giving anything"), (Drawn(0), DataError, "Drawn is empty"),
    (Torch([pixels(8)]), DataError, r"gives whole batches; give DataLoader\(data, batch_size=None\)"),
    (DataLoader(["a", "b"], 2), DataError, "a DataLoader|a str"), (Torch([1, 2]), DataError, "item 0 is a int"),
    (DataLoader(Torch([]), 2), DataError, "ended without giving anything"), (3, ArgumentError, "int"),
    (Drawn(5), ArgumentError, "only 5 examples")])
def test_what_cannot_be_a_stream(data, error, message):
    with pytest.raises(error, match=message):
        fitted(data)


@pytest.mark.parametrize(("options", "message"), [
    ({"workers": -1}, "workers is -1"), ({"workers": True}, "workers is True"), ({"materialize": 1}, "materialize is 1"),
    ({"value_range": 7}, "value_range is 7"), ({"augment": "spin"}, "augment is 'spin'")])
def test_options_that_cannot_be(options, message):
    with pytest.raises(ArgumentError, match=message):
        fitted(pixels(), **options)


def test_options_of_images_are_refused_by_what_has_none():
    for options in ({"value_range": (0, 1)}, {"workers": 1}, {"materialize": True}, {"augment": "flip"}):
        with pytest.raises(ArgumentError, match="is for images alone"):
            vaefast.SecondStage(2, width=8, depth=1).fit(torch.randn(64, 2), steps=1, device="cpu", progress=False, **options)


def test_processes_take_their_parts_of_a_dataset():
    from vaefast.training.distributed import World
    from vaefast.training.stream import StreamBatches, StreamSource

    cpu = torch.device("cpu")
    stream = ImageStream(Drawn(random=False), workers=0)
    rows = []
    for group in (World(0, 1), World(0, 2), World(1, 2)):
        batches = StreamBatches(StreamSource(stream, cpu), 8 // group.size, 1, seed=0, stage=0, name="x", device=cpu,
                                group=replace(group), total=None)
        batches.seek(0)
        rows.append(next(iter(batches.iterate()))[0].clone())
        assert torch.equal(rows[-1], batches.at(0)[0][0]) and not torch.equal(rows[-1], batches.at(1)[0][0])
        assert batches.per_epoch == 6
        batches.close()
    assert torch.equal(rows[0], torch.cat(rows[1:]))
