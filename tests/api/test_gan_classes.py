"""`vaefast.GAN` of classes: it draws the class asked for; fit, resume, save, load and its doors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import vaefast
from vaefast.data import ImageSet
from vaefast.errors import ArgumentError, DataError

SHAPE, LEVELS = (1, 4, 8), torch.tensor([0.1, 0.5, 0.9])
LABELS = torch.arange(90) % 3
X = (LEVELS[LABELS].view(-1, 1, 1, 1) + 0.05 * torch.randn(90, 1, 1, 1, generator=torch.Generator().manual_seed(0))).clamp(
    0, 1).expand(-1, *SHAPE).contiguous()
DATA = ImageSet((255 * X).round().to(torch.uint8), LABELS)
FAST = {"steps": 4, "batch_size": 16, "device": "cpu", "progress": False, "log_every": 2}


def make(loss: str = "ns", **options) -> vaefast.GAN:
    torch.manual_seed(0)
    return vaefast.GAN(SHAPE, loss, 4, **{"classes": 3, **options})


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(*pair) for pair in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_it_draws_the_class_asked_for():
    torch.manual_seed(0)
    model = vaefast.GAN((1, 4, 4), "ns", 4, classes=3, penalty="r1", lambda_=1.0, batch_norm=False)
    model.fit(X[..., :4], condition=LABELS.numpy(), **{**FAST, "steps": 90}, lr=2e-3)
    assert model.classes == 3

    def read(**asked) -> Tensor:
        means = model.sample(60, torch.Generator().manual_seed(1), **asked).mean((1, 2, 3))
        return (means[:, None] - LEVELS).abs().argmin(1)

    in_turn = torch.arange(60) % 3
    for asked, expected in ((0, 0), (2, 2), (in_turn.flip(0), in_turn.flip(0)), (None, in_turn)):
        assert (read(condition=asked) == expected).float().mean() > 0.85
    z = model.sample_codes(3)
    torch.testing.assert_close(model.decode(z, torch.tensor([0, 1, 2])), model.decode(z))


@pytest.mark.parametrize("options", [{"loss": "wgan"}, {"loss": "dragan"}, {"loss": "hinge", "spectral_norm": True}],
                         ids=lambda o: o["loss"])
def test_save_load_and_resume(options, tmp_path, stop_at):
    whole = make(**options)
    whole.fit(DATA, out=tmp_path / "whole", **FAST)
    loaded = vaefast.load(tmp_path / "whole")
    assert loaded.config() == whole.config() and loaded.config()["classes"] == 3 and equal(loaded, whole)
    draws = [m.sample(5, torch.Generator().manual_seed(1), condition=[0, 0, 1, 2, 1]) for m in (whole, loaded)]
    assert torch.equal(*draws) and 0 <= draws[0].min() and draws[0].max() <= 1
    with pytest.raises(KeyboardInterrupt):
        make(**options).fit(DATA, out=tmp_path / "cut", callbacks=[stop_at(3)], **FAST)
    again = make(**options)
    again.fit(DATA, out=tmp_path / "cut", resume=True, **FAST)
    assert equal(again, whole)


class Read(Dataset):
    """Images with labels, read as training goes."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.images[i], int(self.labels[i])


def test_labels_come_with_a_dataset_or_beside_the_images():
    models = [make() for _ in range(3)]
    models[0].fit(DATA, **FAST)
    models[1].fit(DATA.images, condition=LABELS, **FAST)
    models[2].fit(DATA.images, condition=LABELS.roll(1), **FAST)
    assert equal(models[0], models[1]) and not equal(models[0], models[2])
    streamed = [make() for _ in range(2)]
    for model, labels in zip(streamed, (LABELS, LABELS.roll(1))):
        model.fit(Read(DATA.images, labels), **FAST, workers=0)
    assert not equal(*streamed)
    with pytest.raises(DataError, match="a label is 3; this model has"):
        make().fit(Read(DATA.images, LABELS + (torch.arange(90) > 60)), **FAST, workers=0)


def test_parts_of_a_batch_take_their_labels():
    model = make("hinge", order="dgd")
    settings = vaefast.training.StageSettings(steps=2, batch_size=16, accumulate=2)
    model.fit(DATA, settings=settings, device="cpu", progress=False)
    assert model.sample(3, condition=1).isfinite().all()


class Net(nn.Module):
    """Called with labels, as a model of classes does."""

    def __init__(self, inputs: int, outputs: tuple[int, ...]) -> None:
        super().__init__()
        self.linear, self.table, self.outputs = nn.Linear(inputs, outputs[-1]), nn.Embedding(3, outputs[-1]), outputs

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return torch.sigmoid(self.linear(x.flatten(1)) + self.table(labels)).view(-1, *self.outputs[:-1])


def test_own_networks_are_called_with_labels(tmp_path):
    def own() -> dict[str, nn.Module]:
        return {"generator": Net(4, (*SHAPE, 32)), "discriminator": Net(32, (1, 1))}

    torch.manual_seed(0)
    model = vaefast.GAN(SHAPE, "hinge", 4, classes=3, **own())
    model.fit(DATA, **FAST)
    model.save(tmp_path / "m")
    again = vaefast.load(tmp_path / "m", **own())
    assert torch.equal(*(m.sample(4, torch.Generator().manual_seed(1), condition=2) for m in (model, again)))


@pytest.mark.parametrize("call, error, words", [
    (lambda: make("began"), ArgumentError, "classes is 3; BEGAN's discriminator"),
    (lambda: make(classes=0), ArgumentError, "classes is 0; expected a whole number above 0"),
    (lambda: make(classes=-1), ArgumentError, "classes is -1; expected a whole number above 0"),
    (lambda: make(classes=True), ArgumentError, "classes is True; expected a whole number above 0"),
    (lambda: make().fit(DATA.images, **FAST), DataError, "conditioned on 3 classes, but .* has no labels"),
    (lambda: make(classes=2).fit(DATA, **FAST), DataError, "go from 0 to 2; this model has classes=2"),
    (lambda: make().fit(DATA.images, condition=LABELS[:9], **FAST), DataError, "one label"),
    (lambda: make(classes=None).fit(DATA.images, condition=LABELS, **FAST), ArgumentError, "condition is given, but this model"),
    (lambda: make(classes=None).sample(3, condition=1), ArgumentError, "knows no classes"),
    (lambda: make(classes=None).decode(torch.zeros(1, 4), torch.tensor([0])), ArgumentError, "has no classes, but labels"),
    (lambda: make().sample(3, condition=3), ArgumentError, "condition holds the classes 3 to 3; this model knows 0 to 2"),
    (lambda: make().sample(3, condition=[0, 1]), ArgumentError, "or 3 of them"),
    (lambda: make().decode(torch.zeros(2, 4), torch.tensor([0, 5])), ArgumentError, "labels holds the classes 0 to 5"),
])
def test_what_cannot_be_a_condition_is_refused_in_a_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("build", [
    lambda nets: vaefast.GAN(SHAPE, "ns", 4, classes=3, generator=nets[0], discriminator=nets[1]),
    lambda nets: vaefast.VAE(SHAPE, 4, classes=3, encoder=nets[1], decoder=nets[0]),
    lambda nets: vaefast.WAE(SHAPE, 4, condition_dim=3, encoder=nets[1], decoder=nets[0])])
def test_own_networks_that_take_no_condition_are_refused(build):
    pixels = 4 * 8
    nets = (nn.Sequential(nn.Linear(4, pixels), nn.Unflatten(1, SHAPE)), nn.Sequential(nn.Flatten(), nn.Linear(pixels, 8)))
    with pytest.raises(ArgumentError, match="the forward of this Sequential takes its input alone"):
        build(nets)
