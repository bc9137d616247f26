"""BigGAN's networks: counts of the published codes, shapes, and the parts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vaefast.errors import ArgumentError
from vaefast.nets import NETS, BatchNorm, BigGANDiscriminator, BigGANEncoder, BigGANGenerator
from vaefast.nets.biggan.attention import SelfAttention
from vaefast.nets.biggan.blocks import DeepDown, DeepUp, NormalDown, NormalUp
from vaefast.nets.biggan.conditional import ConditionalBatchNorm, SpectralEmbedding
from vaefast.nets.biggan.parts import Parts
from vaefast.nets.biggan.plan import discriminator_stages, generator_stages
from vaefast.nets.layers import SpectralLinear
from vaefast.training.checkpoint import load_weights

DOUBLE = torch.float64


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def build(network: type[nn.Module], *arguments, **options) -> nn.Module:
    """Without memory or random numbers: what only counts needs neither."""
    with torch.device("meta"):
        return network(*arguments, init="torch", **options)


@pytest.mark.parametrize(("ch", "side", "generator", "discriminator"), [
    (32, 32, 1_326_819, 633_307), (96, 32, 5_590_691, 5_641_595), (96, 45, 16_132_259, 5_648_507),
    (128, 32, 8_529_027, 10_016_587), (128, 45, 25_861_251, 10_025_803)])
def test_counts_of_hinrichsens_code(ch, side, generator, discriminator):
    # his counts hold parts that nothing uses: a 128-dimensional embedding of 10 classes, and a dense head of 10 classes
    assert count(build(BigGANGenerator, (3, side, side), ch=ch)) + 10 * 128 == generator
    assert count(build(BigGANDiscriminator, (3, side, side), ch=ch)) + 10 * (8 * ch + 1) == discriminator


@pytest.mark.parametrize(("arch", "side", "ch", "classes", "k", "attention", "embedding", "generator", "discriminator"), [
    ("normal", 32, 64, 10, 128, None, None, 4_304_387, 4_207_361), ("normal", 32, 64, 10, 128, None, 128, 4_373_251, 4_207_361),
    ("normal", 64, 64, 100, 120, 32, 128, 31_854_340, 19_650_242),
    ("normal", 128, 96, 1000, 120, 64, 128, 70_433_988, 87_982_370), ("deep", 32, 64, 10, 128, None, 128, 3_079_299, 651_649),
    ("deep", 64, 64, 100, 120, 32, 128, 16_784_260, 4_833_538), ("deep", 128, 96, 1000, 120, 64, 128, 31_436_196, 19_846_274)])
def test_counts_of_the_original(arch, side, ch, classes, k, attention, embedding, generator, discriminator):
    # those of BigGAN-PyTorch's networks; its CIFAR script is the first line
    options = {"arch": arch, "ch": ch, "rule": "original", "classes": classes, "attention": attention}
    hierarchical = embedding is not None
    found = build(BigGANGenerator, (3, side, side), k, embedding_dim=embedding, hierarchical=hierarchical, **options)
    assert count(found) == generator
    assert count(build(BigGANDiscriminator, (3, side, side), **options)) == discriminator


def test_sides():
    for rule in ("code", "paper"):
        assert [s.side for s in generator_stages(45, 8, rule)] == [8, 16, 32, 45]
    assert [s.side for s in discriminator_stages(45, 8, "code")] == [22, 11, 5]
    assert [s.side for s in discriminator_stages(45, 8, "paper")] == [22, 11, 5, 2, 1]
    assert [(s.inputs, s.outputs) for s in generator_stages(32, 8, "code")] == [(64, 32), (32, 16), (16, 8)]
    assert [(s.inputs, s.outputs) for s in generator_stages(32, 8, "paper")] == [(128, 64), (64, 32), (32, 16)]
    assert [s.outputs for s in discriminator_stages(128, 1, "code")] == [2, 4, 8, 16, 16]
    # the original halves 32x32 twice alone
    assert [s.side for s in discriminator_stages(32, 8, "original", 3)] == [16, 8, 8, 8]


@pytest.mark.parametrize("rule", ["code", "paper", "original"])
@pytest.mark.parametrize("arch", ["normal", "deep"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 28, 28), (3, 32, 32), (3, 45, 45), (3, 64, 64)])
def test_shapes_and_ranges(shape, arch, rule):
    options = {"arch": arch, "ch": 4, "rule": rule}
    generator, discriminator = BigGANGenerator(shape, 12, **options), BigGANDiscriminator(shape, **options)
    seen = []
    for stages in (generator.stages, discriminator.stages):
        for blocks in stages:
            blocks[-1].register_forward_hook(lambda module, inputs, output: seen.append(output.shape[-1]))
    images = generator(torch.randn(3, 12))
    assert images.shape == (3, *shape) and images.abs().max() <= 1
    assert generator.output == "image" and generator.image_range == (-1, 1)
    assert discriminator(images).shape == (3, 1)
    planned = [s.side for s in generator_stages(shape[1], 4, rule)]
    from_image = shape[0] if (arch, rule) == ("normal", "original") else None
    planned += [s.side for s in discriminator_stages(shape[1], 4, rule, from_image)]
    assert seen == planned


def test_logits_and_images_are_the_same_picture():
    image, logits = BigGANGenerator((3, 32, 32), 8, ch=4).eval(), BigGANGenerator((3, 32, 32), 8, ch=4, output="logits").eval()
    logits.load_state_dict(image.state_dict())
    z = torch.randn(2, 8)
    torch.testing.assert_close((image(z) + 1) / 2, torch.sigmoid(logits(z)))
    assert logits.image_range == (0, 1)


@pytest.mark.parametrize("name", ["biggan", "biggan-deep"])
def test_as_encoder_and_decoder(name):
    encoder, decoder = (build((1, 45, 45), 6, ch=4) for build in NETS[name])
    mu, raw = encoder(torch.rand(2, 1, 45, 45))
    assert mu.shape == raw.shape == (2, 6) and encoder.scale_param == "logvar"
    assert decoder(mu).shape == (2, 1, 45, 45) and decoder.output == "logits"
    assert NETS[name][0]((1, 45, 45), 6, ch=4, deterministic=True)(torch.rand(2, 1, 45, 45)).shape == (2, 6)
    # the trunk sees [-1, 1]
    x = torch.rand(2, 1, 45, 45)
    torch.testing.assert_close(encoder(x)[0], encoder.trunk(2 * x - 1)[:, :6])


# The blocks, against the formulas with convolution and pooling in the order of the sources.


def norm(module: ConditionalBatchNorm, x: torch.Tensor) -> torch.Tensor:
    own = module.norm
    return F.batch_norm(x, None, None, own.weight, own.bias, training=True, eps=1e-5)


def conv(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)


def up(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, size=(13, 13), mode="bilinear", align_corners=True)


def randomised(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for p in module.parameters():
            p.normal_()
    return module.double()


def test_normal_blocks():
    x = torch.randn(3, 4, 9, 9, dtype=DOUBLE)
    block = randomised(NormalUp(4, 6, 13, Parts()))
    h = conv(block.conv1, up(F.relu(norm(block.norm1, x))))
    h = conv(block.conv2, F.relu(norm(block.norm2, h)))
    torch.testing.assert_close(block(x), h + conv(block.skip, up(x)))
    for first in (False, True):
        down = randomised(NormalDown(4, 6, True, Parts(), preactivation=not first))
        h = conv(down.conv2, F.relu(conv(down.conv1, x if first else F.relu(x))))
        torch.testing.assert_close(down(x), F.avg_pool2d(h, 2) + F.avg_pool2d(conv(down.skip, x), 2))


def test_deep_blocks():
    x = torch.randn(3, 8, 9, 9, dtype=DOUBLE)
    block = randomised(DeepUp(8, 4, 13, Parts(bias=False)))
    h = x
    for i in range(4):
        h = F.relu(norm(block.norms[i], h))
        h = conv(block.convs[i], up(h) if i == 1 else h)
    torch.testing.assert_close(block(x), h + up(x[:, :4]))
    assert not any(name.endswith("bias") for name, _ in block.convs.named_parameters())
    down = randomised(DeepDown(8, 16, True, 4, Parts()))
    h = x
    for i in range(3):
        h = conv(down.convs[i], F.relu(h))
    pooled = F.avg_pool2d(x, 2)
    expected = conv(down.convs[3], F.avg_pool2d(F.relu(h), 2)) + torch.cat([pooled, conv(down.skip, pooled)], 1)
    torch.testing.assert_close(down(x), expected)


def test_blocks_leave_their_input_alone():
    for block in (NormalDown(4, 4, False, Parts()), DeepDown(4, 4, False, 2, Parts()), NormalUp(4, 4, None, Parts()),
                  DeepUp(4, 4, None, Parts())):
        x = torch.randn(2, 4, 5, 5)
        before = x.clone()
        block(x)
        assert torch.equal(x, before)


def test_leaky_relu_is_everywhere():
    for network in (BigGANGenerator, BigGANDiscriminator):
        module = network((1, 8, 8), ch=4, activation="leaky_relu")
        parts = [m.parts for m in module.modules() if isinstance(getattr(m, "parts", None), Parts)]
        assert len(parts) > 2 and {p.activation for p in parts} == {"leaky_relu"}
    x = torch.randn(5)
    torch.testing.assert_close(Parts("leaky_relu").act(x), torch.where(x > 0, x, 0.2 * x))


def test_conditional_batch_norm_adds_one_to_its_gain():
    layer = randomised(ConditionalBatchNorm(3, 2))
    x, c = torch.randn(4, 3, 5, 5, dtype=DOUBLE), torch.randn(4, 2, dtype=DOUBLE)
    plain = F.batch_norm(x, None, None, training=True, eps=1e-5)
    gain, bias = 1 + c @ layer.gain.weight.T, c @ layer.bias.weight.T
    torch.testing.assert_close(layer(x, c), plain * gain[..., None, None] + bias[..., None, None])
    torch.testing.assert_close(layer(x, 0 * c), plain)


def test_attention_against_its_formula():
    layer = SelfAttention(8, Parts(spectral_norm=False)).double()
    x = torch.randn(2, 8, 6, 4, dtype=DOUBLE)
    assert torch.equal(layer(x), x)  # gamma starts at 0
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    query = conv(layer.query, x).flatten(2)
    key, value = (F.max_pool2d(conv(part, x), 2).flatten(2) for part in (layer.key, layer.value))
    weights = torch.softmax(query.transpose(1, 2) @ key, 2)
    found = (value @ weights.transpose(1, 2)).view(2, 4, 6, 4)
    torch.testing.assert_close(layer(x), x + 0.7 * conv(layer.out, found))


def test_the_original_has_its_parts():
    options = {"ch": 8, "rule": "original", "classes": 5, "attention": 16}
    generator = BigGANGenerator((3, 32, 32), 16, arch="normal", hierarchical=True, embedding_dim=6, **options)
    discriminator = BigGANDiscriminator((3, 32, 32), arch="normal", **options)
    weights = [m for m in (*generator.modules(), *discriminator.modules()) if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert all(hasattr(m, "u") for m in weights) and isinstance(discriminator.embedding, SpectralEmbedding)
    for m in weights[:4]:
        flat = m.weight.flatten(1)
        gram = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
        torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-4, rtol=0)
    # z in 4 chunks of 4: the dense layer sees the first, each stage the label's 6 and one more
    assert generator.fc.in_features == 4 and generator.stages[0][0].norm1.gain.in_features == 10
    labels = torch.tensor([0, 4])
    z = torch.randn(2, 16)
    images = generator(z, labels)
    assert discriminator(images, labels).shape == (2, 1)
    assert not torch.allclose(images, generator(z, labels.flip(0)))
    deep = BigGANGenerator((3, 32, 32), 16, arch="deep", hierarchical=True, embedding_dim=6, **options)
    assert deep.fc.in_features == 22 and deep.stages[0][0].norms[0].gain.in_features == 22


def test_norms_own_classes_are_plain_tables(tmp_path):
    """Without a shared embedding, gains and biases are tables that spectral norm leaves alone; old weights act as they did."""
    options = {"arch": "normal", "ch": 8, "rule": "original", "classes": 5, "embedding_dim": None}
    generator = BigGANGenerator((3, 32, 32), 16, **options).eval()
    norm = generator.stages[0][0].norm1
    assert not hasattr(norm.gain, "u") and hasattr(generator.fc, "u") and hasattr(generator.stages[0][0].conv1, "u")
    labels = torch.tensor([4, 0, 2])
    condition = generator.embedding(labels)
    torch.testing.assert_close(norm.gain(condition), norm.gain.weight.T[labels])
    state, u = generator.state_dict(), torch.randn(5)
    old = SpectralLinear(5, norm.gain.out_features, bias=False).eval()
    old.load_state_dict({"weight": state["stages.0.0.norm1.gain.weight"], "u": u})
    again = BigGANGenerator((3, 32, 32), 16, **options).eval()
    for load in (again.load_state_dict, lambda saved: load_weights(again, saved, tmp_path)):  # torch's way, and a saved model's
        load({**state, "stages.0.0.norm1.gain.u": u})
        torch.testing.assert_close(again.stages[0][0].norm1.gain(condition), old(condition))


def test_projection():
    discriminator = BigGANDiscriminator((1, 8, 8), ch=4, classes=3, rule="paper").double()
    x, labels = torch.randn(2, 1, 8, 8, dtype=DOUBLE), torch.tensor([2, 1])
    h = discriminator.features(x)
    expected = discriminator.head(h) + torch.stack([h[i] @ discriminator.embedding.weight[labels[i]] for i in range(2)])[:, None]
    torch.testing.assert_close(discriminator(x, labels), expected)


@pytest.mark.parametrize("arch", ["normal", "deep"])
def test_double_precision_channels_last_and_gradients(arch):
    for network, x in ((BigGANGenerator((3, 45, 45), 8, arch=arch, ch=4), torch.randn(2, 8)),
                       (BigGANDiscriminator((3, 45, 45), arch=arch, ch=4), torch.randn(2, 3, 45, 45))):
        plain = network(x)
        twin = network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(twin(x), plain, atol=1e-5, rtol=1e-4)
        twin.double()(x.double()).sum().backward()
        assert all(p.grad is not None for p in network.parameters())


def test_refusals():
    for network in (BigGANGenerator, BigGANDiscriminator, BigGANEncoder):
        with pytest.raises(ArgumentError, match="square images of a side of 8 or more"):
            network((3, 32, 28))
        with pytest.raises(ArgumentError, match="arch is 'wide'"):
            network((3, 32, 32), arch="wide")
        with pytest.raises(ArgumentError, match="activation is 'gelu'"):
            network((3, 32, 32), ch=4, activation="gelu")
        with pytest.raises(ArgumentError, match="ch is 5; the deep blocks halve it"):
            network((3, 32, 32), ch=5)
        with pytest.raises(ArgumentError, match="attention is 7"):
            network((3, 32, 32), ch=8, attention=7)
    with pytest.raises(ArgumentError, match="a multiple of 4, such as 16"):
        BigGANGenerator((3, 32, 32), 15, ch=4, arch="normal", hierarchical=True)
    with pytest.raises(ArgumentError, match="rule is 'original'"):
        BigGANEncoder((3, 32, 32), ch=4, rule="original")
    with pytest.raises(ArgumentError, match="give it the labels"):
        BigGANGenerator((3, 32, 32), ch=4, classes=3)(torch.randn(2, 256))
    with pytest.raises(ArgumentError, match="without them"):
        BigGANDiscriminator((3, 32, 32), ch=4)(torch.randn(2, 3, 32, 32), torch.tensor([1, 2]))


def test_set_statistics():
    layer = BatchNorm(3, decay=0.9, affine=False)
    mean, var = torch.randn(3), torch.rand(3)
    layer.set_statistics(mean, var)
    for found, expected in zip(layer.moving_statistics(), (mean, var)):
        torch.testing.assert_close(found, expected)
    x = torch.randn(4, 3)
    torch.testing.assert_close(layer.eval()(x), (x - mean) / (var + 1e-5).sqrt())


@pytest.mark.parametrize("arch", ["normal", "deep"])
def test_blocks_a_stage(arch):
    options = {"arch": arch, "ch": 4}
    own = {"normal": 1, "deep": 2}[arch]
    generator = BigGANGenerator((3, 45, 45), 8, blocks=3, **options)
    discriminator = BigGANDiscriminator((3, 45, 45), blocks=3, **options)
    assert all(len(stage) == 3 for network in (generator, discriminator) for stage in network.stages)
    assert discriminator(generator(torch.randn(2, 8))).shape == (2, 1)
    for network, same in ((BigGANGenerator((3, 45, 45), 8, **options), BigGANGenerator((3, 45, 45), 8, blocks=own, **options)),
                          (BigGANDiscriminator((3, 45, 45), **options), BigGANDiscriminator((3, 45, 45), blocks=own, **options))):
        same.load_state_dict(network.state_dict())
    with pytest.raises(ArgumentError, match="blocks is 0"):
        BigGANGenerator((3, 45, 45), 8, blocks=0, **options)
