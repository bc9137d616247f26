"""Generator and discriminators of the GANs: sizes, shapes, first weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vaefast.errors import ArgumentError
from vaefast.nets import BatchNorm, BEGANDiscriminator, InfoGANDiscriminator, InfoGANGenerator

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64)]


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("shape", "generator", "discriminator", "began"), [
    ((1, 28, 28), 6_642_241, 6_559_169, 1_073_601),
    ((3, 32, 32), 8_616_131, 8_527_297, 1_325_379),
    ((3, 64, 64), 33_855_683, 33_693_121, 4_495_683)])
def test_parameter_counts_are_the_sources(shape, generator, discriminator, began):
    assert _size(InfoGANGenerator(shape)) == generator
    assert _size(InfoGANDiscriminator(shape)) == discriminator
    assert _size(BEGANDiscriminator(shape)) == began
    batch_norm = 2 * (128 + 1024)
    assert _size(InfoGANDiscriminator(shape, batch_norm=False)) == discriminator - batch_norm
    assert _size(InfoGANDiscriminator(shape, spectral_norm=True)) == discriminator


def test_shapes():
    for shape in ((1, 12, 8), (2, 8, 20)):
        z, x = torch.randn(3, 7), torch.rand(3, *shape)
        assert InfoGANGenerator(shape, 7)(z).shape == x.shape
        for options in ({}, {"batch_norm": False}, {"spectral_norm": True}):
            assert InfoGANDiscriminator(shape, **options)(x).shape == (3, 1)
        for batch_norm in (False, True):
            y = BEGANDiscriminator(shape, batch_norm=batch_norm)(x)
            assert y.shape == x.shape and 0 < y.min() and y.max() < 1


def test_first_weights_and_batch_norm_are_the_sources():
    torch.manual_seed(0)
    for module in (*InfoGANGenerator((1, 28, 28)).modules(), *InfoGANDiscriminator((1, 28, 28)).modules(),
                   *BEGANDiscriminator((1, 28, 28), batch_norm=True).modules()):
        if isinstance(module, BatchNorm):
            assert module.eps == 1e-3 and module.decay == 0.999
        elif isinstance(module, (nn.Linear, nn.ConvTranspose2d)):
            assert abs(float(module.weight.detach().std()) - 0.02) < 2e-3 and not module.bias.any()
        elif isinstance(module, nn.Conv2d):
            assert float(module.weight.detach().abs().max()) <= 0.04 and abs(float(module.weight.detach().std()) - 0.0176) < 2e-3


def test_the_generator_is_leaky_where_the_decoder_is_not():
    torch.manual_seed(0)
    generator = InfoGANGenerator((1, 8, 8), 3).eval().double()
    assert torch.equal(generator.activate(torch.tensor([-1.0, 2.0])), torch.tensor([-0.2, 2.0]))
    z = torch.randn(2, 3, dtype=torch.float64)
    h = nn.functional.leaky_relu(generator.norm1(generator.fc1(z)), 0.2)
    h = nn.functional.leaky_relu(generator.norm2(generator.fc2(h)), 0.2).view(2, 128, 2, 2)
    h = nn.functional.leaky_relu(generator.norm3(generator.up3(h)), 0.2)
    torch.testing.assert_close(generator(z), generator.up4(h))


def test_other_sizes_are_refused():
    for build in (InfoGANGenerator, InfoGANDiscriminator, BEGANDiscriminator):
        with pytest.raises(ArgumentError, match="multiples of 4"):
            build((1, 30, 30))


# Classes.


def test_without_classes_no_key_is_another():
    assert set(InfoGANGenerator((1, 8, 4), 3).state_dict()) == {
        f"{layer}.{part}" for layer in ("fc1", "fc2", "up3", "up4", "norm1", "norm2", "norm3") for part in ("weight", "bias")} | {
        f"norm{i}.{part}" for i in (1, 2, 3) for part in ("running_mean", "running_var", "num_batches_tracked")}
    assert not any("embedding" in key for key in InfoGANDiscriminator((1, 8, 4)).state_dict())


@pytest.mark.parametrize("training", [True, False])
def test_a_classs_batch_norm_is_a_plain_one_with_its_gain_and_bias(training):
    torch.manual_seed(0)
    plain, classed = InfoGANGenerator((2, 4, 8), 3).double(), InfoGANGenerator((2, 4, 8), 3, classes=4).double()
    z, label = torch.randn(7, 3, dtype=torch.float64), 2
    own = classed.state_dict()
    weights = {name: own[name] for name in plain.state_dict() if name in own}
    for name in ("norm1", "norm2", "norm3"):
        norm = getattr(classed, name)
        for table in (norm.gain, norm.bias):
            assert not table.weight.any()  # at first all classes are alike
            nn.init.normal_(table.weight)
        weights |= {f"{name}.weight": 1 + norm.gain.weight[label].detach(), f"{name}.bias": norm.bias.weight[label].detach()}
        weights |= {f"{name}.{buffer}": own[f"{name}.norm.{buffer}"] for buffer in ("running_mean", "running_var",
                                                                                    "num_batches_tracked")}
    plain.load_state_dict(weights)
    for module in (plain, classed):
        module.train(training)
    torch.testing.assert_close(classed(z, torch.full((7,), label)), plain(z))
    assert classed.norm2.norm.eps == plain.norm2.eps and classed.norm2.norm.decay == plain.norm2.decay
    mixed = classed.eval()(z, torch.tensor([0, 1, 2, 3, 2, 1, 0]))
    torch.testing.assert_close(mixed[4], classed(z, torch.full((7,), label))[4])


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_the_projection_is_the_formulas(spectral_norm):
    torch.manual_seed(0)
    net = InfoGANDiscriminator((3, 4, 8), batch_norm=False, spectral_norm=spectral_norm, classes=5).double().eval()
    x, labels = torch.rand(6, 3, 4, 8, dtype=torch.float64), torch.tensor([4, 0, 1, 1, 3, 2])
    assert abs(float(net.embedding.weight.detach().std()) - 0.02) < 2e-3
    table = net.embedding.weight / (net.embedding.sigma() if spectral_norm else 1)
    h = net.features(x)
    expected = net.head(h)[:, 0] + torch.stack([torch.dot(table[y], row) for y, row in zip(labels.tolist(), h)])
    torch.testing.assert_close(net(x, labels)[:, 0], expected)


@pytest.mark.parametrize(("build", "shape"), [
    (lambda **options: InfoGANGenerator((1, 4, 4), 3, **options), (3,)),
    (lambda **options: InfoGANDiscriminator((1, 4, 4), **options), (1, 4, 4))], ids=["generator", "discriminator"])
def test_networks_of_classes_take_labels_and_no_others_do(build, shape):
    x, labels = torch.rand(2, *shape), torch.tensor([0, 1])
    with pytest.raises(ArgumentError, match="not conditioned on classes"):
        build()(x, labels)
    with pytest.raises(ArgumentError, match="conditioned on 2 classes; give it the labels"):
        build(classes=2)(x)
    for classes in (0, -1, True, 2.0):
        with pytest.raises(ArgumentError, match=f"classes is {classes}; expected a whole number above 0"):
            build(classes=classes)
    compiled = torch.compile(build(classes=2), fullgraph=True, backend="eager")  # what there is to break is in Python
    assert compiled(x, labels).isfinite().all()
