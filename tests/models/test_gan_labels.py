"""GANs of classes against the same losses of networks that are called with the labels by hand."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models import GAN
from vaefast.models.gan_losses import LOSSES
from vaefast.models.gradient_penalty import PENALTIES, gradient_penalty
from vaefast.nets import InfoGANDiscriminator, InfoGANGenerator
from vaefast.training import Stage, StageSettings, Trainer
from vaefast.training.sources import ImageSource

K, CLASSES, SHAPE = 3, 4, (1, 2, 3)
DOUBLE = torch.float64
CLASSED = [name for name, loss in LOSSES.items() if not loss.reconstructs]


class Labelled(nn.Module):
    """Its input beside the one-hot labels through two layers."""

    def __init__(self, inputs: int, out: tuple[int, ...]) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(inputs + CLASSES, 5), out
        self.last = nn.Linear(5, int(torch.tensor(out).prod()))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        both = torch.cat([x.flatten(1), F.one_hot(labels, CLASSES).to(x.dtype)], 1)
        return self.last(F.softplus(self.first(both))).view(-1, *self.out)


def gan(loss: str = "ns", **options) -> GAN:
    torch.manual_seed(2)
    generator = Labelled(K, SHAPE)
    generator.output = "logits"
    return GAN(generator, Labelled(6, (1,)), image_shape=SHAPE, latent_dim=K, loss=loss, classes=CLASSES, **options).double()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(7, *SHAPE, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def z() -> Tensor:
    return 2 * torch.rand(7, K, dtype=DOUBLE, generator=torch.Generator().manual_seed(3)) - 1


LABELS = torch.tensor([3, 0, 1, 1, 2, 0, 3])


@pytest.mark.parametrize("rowwise", [False, True])
@pytest.mark.parametrize("loss", CLASSED)
def test_a_fake_has_the_label_of_the_image_beside_it(loss, rowwise, x, z):
    model = gan(loss, penalty="none")
    model.discriminator.rowwise = rowwise
    a = model.discriminator(x, LABELS).flatten()
    b = model.discriminator(model.generator(z, LABELS).sigmoid(), LABELS).flatten()
    formula = LOSSES[loss]
    torch.testing.assert_close(model.discriminator_loss(x, z, LABELS)["loss"], formula.discriminator(a, b))
    expected = formula.generator(a, b) if formula.paired else formula.generator(b)
    torch.testing.assert_close(model.generator_loss(x, z, labels=LABELS)["loss"], expected)


@pytest.mark.parametrize("penalty", [name for name in PENALTIES if name != "none"])
def test_what_is_penalised_has_the_label_of_the_real_image_beside_it(penalty, x, z):
    model = gan("ns", penalty=penalty)
    torch.manual_seed(5)
    term = model.discriminator_loss(x, z, LABELS)["penalty"]
    fake = model.generator(z, LABELS).sigmoid()

    def penalised(labels: Tensor) -> Tensor:
        torch.manual_seed(5)
        return gradient_penalty(penalty, lambda points: model.discriminator(points, labels).flatten(), x, fake).detach()

    torch.testing.assert_close(term, penalised(LABELS))
    assert not torch.allclose(term, penalised(LABELS.roll(1)), rtol=1e-6)


def test_one_pass_of_batches_with_statistics_of_their_own_is_two(x, z):
    def terms(rowwise: bool) -> dict[str, Tensor]:
        torch.manual_seed(0)
        model = GAN(InfoGANGenerator((1, 4, 8), K, classes=CLASSES), InfoGANDiscriminator((1, 4, 8), classes=CLASSES),
                    image_shape=(1, 4, 8), latent_dim=K, classes=CLASSES).double()
        model.discriminator.rowwise = rowwise
        images = torch.rand(7, 1, 4, 8, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
        return model.discriminator_loss(images, z, LABELS)

    for a, b in zip(terms(True).values(), terms(False).values()):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("options", [
    {"loss": "ns"}, {"loss": "wgan-gp", "disc_iters": 3}, {"loss": "hinge", "order": "dgd"},
    {"loss": "relativistic", "same_z": False}])
def test_training_is_that_of_a_plain_loop(options, x):
    model, own = gan(**options), gan(**options)
    images, labels = x.repeat(2, 1, 1, 1), LABELS.repeat(2)
    seen: list[tuple[Tensor, Tensor]] = []
    terms = model.discriminator_terms
    model.discriminator_terms = lambda x, *a, **k: seen.append((x, model._labels)) or terms(x, *a, **k)
    settings = StageSettings(steps=5, batch_size=7, lr=0.01, betas=(0.5, 0.9), schedule="constant")
    stage = Stage("gan", model, lambda: ImageSource(images, torch.device("cpu"), labels=labels, scale=False), settings)
    Trainer(model, [stage], device="cpu", precision="fp32").fit()
    d, g = (torch.optim.Adam(m.parameters(), lr=0.01, betas=(0.5, 0.9)) for m in (own.discriminator, own.generator))
    own.train()
    torch.manual_seed(0)

    def step(optimizer: torch.optim.Optimizer, terms: dict[str, Tensor]) -> None:
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()

    batches = iter(seen)
    for i in range(5):
        batch, of_batch = next(batches)
        for image, label in zip(batch, of_batch):
            assert label in LABELS[[torch.equal(image, other) for other in x]]
        z = own.codes_for(batch)
        step(d, own.discriminator_loss(batch, z, of_batch))
        if i % options.get("disc_iters", 1) == 0:
            step(g, own.generator_loss(batch, z if own.same_z else own.codes_for(batch), of_batch))
            if options.get("order") == "dgd":
                again, same = next(batches)
                assert torch.equal(same, of_batch)
                step(d, own.discriminator_loss(again, labels=same))
    assert next(batches, None) is None and model._labels is None
    for (name, a), b in zip(model.named_parameters(), own.parameters()):
        torch.testing.assert_close(a, b, msg=name)


@pytest.mark.parametrize("loss", ["ns", "wgan-gp"])
def test_compiled_turns_take_labels_too(loss, x, monkeypatch):
    monkeypatch.setattr("vaefast.models.gan.COMPILED", {"fullgraph": True, "backend": "eager"})
    model = gan(loss)
    for player in model.players():
        found = []
        for call in (player.loss, player.compiled()):
            torch.manual_seed(4)
            found.append(call(x, LABELS)["loss"])
            model.finish_iteration(x, LABELS)
        torch.testing.assert_close(*found)


def test_samples_are_of_the_classes_in_turn_or_asked_for(z):
    model = gan().eval()
    expected = model.generator(z, torch.arange(7) % CLASSES).sigmoid()
    torch.testing.assert_close(model.decode(z), expected)
    torch.testing.assert_close(model.decode(z, LABELS), model.generator(z, LABELS).sigmoid())
    assert model.sample(3, labels=LABELS[:3]).shape == (3, *SHAPE) and model.sample(0).shape == (0, *SHAPE)
    assert gan()._labels is None and copy.deepcopy(model).classes == CLASSES


@pytest.mark.parametrize("call, words", [
    (lambda m, x: m.discriminator_loss(x), "has 4 classes; give it the labels"),
    (lambda m, x: m.generator_loss(x), "has 4 classes; give it the labels"),
    (lambda m, x: m.discriminator_loss(x, labels=LABELS + 1), "labels holds the classes 1 to 4; this model knows 0 to 3"),
    (lambda m, x: m.generator_loss(x, labels=LABELS - 1), "labels holds the classes -1 to 2"),
    (lambda m, x: m.generator_loss(x, labels=LABELS[:3]), "expected a class from 0 to 3, or 7 of them"),
    (lambda m, x: m.generator_loss(x, labels=LABELS.double()), "expected a class from 0 to 3"),
    (lambda m, x: m.decode(x.flatten(1)[:, :K], LABELS + 4), "this model knows 0 to 3"),
    (lambda m, x: gan("began"), "BEGAN's discriminator, an autoencoder, says nothing of classes"),
])
def test_what_cannot_be_labels_is_refused_in_a_sentence(call, words, x):
    with pytest.raises(ArgumentError, match=words):
        call(gan(), x)


@pytest.mark.parametrize("classes", [0, -1, True, 2.5, "ten"])
def test_what_cannot_be_classes_is_refused_in_a_sentence(classes):
    with pytest.raises(ArgumentError, match=f"classes is {classes!r}; expected a whole number above 0"):
        GAN(Labelled(K, SHAPE), Labelled(6, (1,)), image_shape=SHAPE, latent_dim=K, classes=classes)


def test_labels_of_a_model_without_classes_are_refused(x):
    model = GAN(nn.Linear(K, 6), nn.Linear(6, 1), image_shape=SHAPE, latent_dim=K)
    for call in (model.discriminator_loss, model.generator_loss):
        with pytest.raises(ArgumentError, match="has no classes, but labels were given"):
            call(x, labels=LABELS)
    with pytest.raises(ArgumentError, match="has no classes, but labels were given"):
        model.decode(torch.zeros(7, K), LABELS)
