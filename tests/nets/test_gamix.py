"""GAMIX's networks and PatchGAN: published sizes, shapes, normalisers, recomputation, the patch a logit sees."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vaefast.errors import ArgumentError, CheckpointError
from vaefast.nets import NETS, BatchNorm, GAMIXDecoder, GAMIXEncoder, PatchGAN
from vaefast.training.checkpoint import load_weights


def count(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize("norm", ["batch", "affine", "group"])
def test_parameter_counts(norm):
    shape = (3, 256, 256)
    with torch.device("meta"):
        encoder, decoder = GAMIXEncoder(shape, 512, norm=norm), GAMIXDecoder(shape, 512, norm=norm)
        critic = PatchGAN(3, norm=norm)
    heads = count(encoder.mean, encoder.logvar)
    assert heads == 1_049_600
    assert count(encoder, decoder) - heads == 9_908_140
    assert count(critic) == 411_075
    if norm == "batch":
        def statistics(*modules: torch.nn.Module) -> int:
            return sum(2 * m.features for module in modules for m in module.modules() if isinstance(m, BatchNorm))
        assert 9_908_140 + statistics(encoder, decoder) == 9_932_466
        assert 411_075 + statistics(critic) == 412_101


@pytest.mark.parametrize("side", [8, 32, 64])
@pytest.mark.parametrize("norm", ["batch", "affine", "group"])
def test_shapes(side, norm):
    shape = (1 if side == 32 else 3, side, side)
    encoder, decoder = (build(shape, 5, width=6, norm=norm) for build in NETS["gamix"])
    mu, logvar = encoder(torch.rand(2, *shape))
    assert mu.shape == logvar.shape == (2, 5) and encoder.scale_param == "logvar"
    assert decoder(mu).shape == (2, *shape) and decoder.output == "image"
    assert GAMIXEncoder(shape, 5, width=6, norm=norm, deterministic=True)(torch.rand(2, *shape)).shape == (2, 5)
    assert len(encoder.stages) == len(decoder.stages) == int(math.log2(side // 4))


def test_a_512_pixel_image_takes_seven_halvings():
    with torch.device("meta"):
        encoder, decoder = GAMIXEncoder((3, 512, 512), 16), GAMIXDecoder((3, 512, 512), 16)
    assert len(encoder.stages) == len(decoder.stages) == 7
    assert decoder(encoder(torch.rand(1, 3, 512, 512, device="meta"))[0]).shape == (1, 3, 512, 512)


@pytest.mark.parametrize("shape", [(3, 48, 48), (3, 64, 32), (1, 28, 28), (3, 4, 4)])
def test_sides_that_cannot_be_halved_to_4_are_refused(shape):
    with pytest.raises(ArgumentError, match="image_shape is .* 8, 16, 32"):
        GAMIXEncoder(shape, 4)


def test_bad_settings_are_refused():
    for options, message in (({"width": 7}, "width is 7"), ({"norm": "layer"}, "norm is 'layer'")):
        with pytest.raises(ArgumentError, match=message):
            GAMIXDecoder((3, 32, 32), 4, **options)
    with pytest.raises(ArgumentError, match="dropout is 1"):
        PatchGAN(3, dropout=1.0)


def test_affine_is_batch_norm_with_its_first_statistics():
    encoder, other = (GAMIXEncoder((1, 8, 8), 3, width=4, norm=n).double() for n in ("batch", "affine"))
    missing = other.load_state_dict(encoder.state_dict(), strict=False)
    assert not missing.missing_keys
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(other.train()(x), encoder.eval()(x), rtol=1e-12, atol=0)


def test_the_input_is_normalised_channel_by_channel():
    encoder = GAMIXEncoder((3, 8, 8), 3, width=4, norm="affine").double()
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    scale = torch.tensor([1e3, 7e3, 3e4], dtype=torch.float64).view(3, 1, 1)  # large, so that eps 1e-3 does not count
    for a, b in zip(encoder(1e4 * x), encoder(scale * x - 5e3)):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)
    seen = []
    encoder.first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(x)
    centred = x - x.mean((2, 3), keepdim=True)
    torch.testing.assert_close(seen[0], centred / (centred.square().mean((2, 3), keepdim=True) + 1e-3).sqrt())


def test_without_the_input_norm_colours_are_seen():
    with_, without = (GAMIXEncoder((3, 8, 8), 3, width=4, norm="affine", input_norm=n) for n in (True, False))
    assert {n for n, _ in with_.named_parameters()} - {n for n, _ in without.named_parameters()} == {"weight", "bias"}
    x = torch.rand(2, 3, 8, 8)
    darker = 0.5 * x
    assert (without(x)[0] - without(darker)[0]).abs().max() > 1e-2 and with_(x)[0].isfinite().all()


@pytest.mark.parametrize("norm", ["batch", "affine", "group"])
def test_recomputation_changes_nothing(norm):
    def run(checkpoint: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        encoder, decoder = (build((3, 16, 16), 4, width=4, norm=norm, checkpoint=checkpoint) for build in NETS["gamix"])
        x = torch.rand(3, 3, 16, 16)
        for _ in range(2):
            loss = (decoder(encoder(x)[0]) - x).abs().mean()
            loss.backward()
        modules = [encoder, decoder]
        return [loss, *(b for m in modules for b in m.buffers()), *(p.grad for m in modules for p in m.parameters() if
                                                                     p.grad is not None)]

    for a, b in zip(run(False), run(True), strict=True):
        assert torch.equal(a, b)


def test_recomputation_keeps_less():
    def kept(checkpoint: bool) -> int:
        encoder = GAMIXEncoder((3, 32, 32), 4, width=8, checkpoint=checkpoint)
        total = 0

        def note(t: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += t.nbytes
            return t

        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            encoder(torch.rand(4, 3, 32, 32))
        return total

    assert kept(True) < 0.4 * kept(False)


def test_patchgan_gives_a_logit_for_a_patch():
    critic = PatchGAN(3)
    with torch.device("meta"):
        assert PatchGAN(3)(torch.rand(2, 3, 256, 256)).shape == (2, 1, 32, 32)
    assert critic(torch.rand(1, 3, 45, 28)).shape == (1, 1, 6, 4)


def test_the_receptive_field_is_63_pixels():
    critic = PatchGAN(1, norm="affine").double()
    for conv in critic.convs:
        conv.weight.data.abs_()  # so that no path cancels another
    x = torch.rand(1, 1, 128, 128, dtype=torch.float64, requires_grad=True)
    critic(x)[0, 0, 8, 8].backward()
    for axis in (2, 3):
        seen = x.grad.abs().sum([d for d in range(4) if d != axis]).nonzero().flatten()
        assert seen[-1] - seen[0] + 1 == 63


def test_patchgan_by_hand():
    critic = PatchGAN(2, width=4, norm="affine").double()
    x = torch.randn(2, 2, 16, 16, dtype=torch.float64)
    h = x
    for i, conv in enumerate(critic.convs):
        if conv.stride == (2, 2):  # TensorFlow pads an even side at its end alone
            h = F.conv2d(F.pad(h, (0, 1, 0, 1)), conv.weight, conv.bias, 2)
        else:
            h = F.conv2d(h, conv.weight, conv.bias, padding=1)
        h = h / math.sqrt(1.001)
        h = torch.where(h > 0, h, 0.3 * h) if i < 5 else h
    torch.testing.assert_close(critic(x), h)


def test_dropout_is_there_in_training_alone_and_not_with_affine():
    x = torch.rand(4, 3, 32, 32)
    critic = PatchGAN(3, norm="batch")
    logits = critic(x)
    share = (logits == 0).float().mean()  # the logits are dropped, too
    assert 0.05 < share < 0.5 and not torch.equal(logits, critic(x))
    critic.eval()
    assert torch.equal(critic(x), critic(x))
    assert PatchGAN(3, norm="affine").dropout == 0


def test_patchgan_can_tell_blurred_images_in_passes_of_their_own():
    """As released; with a norm over a pass's logits both have the same mean, and the loss cannot fall below that of chance."""
    def loss_of(critic: PatchGAN) -> torch.Tensor:
        sharp = torch.rand(16, 1, 16, 16) * 2 - 1
        blurred = F.avg_pool2d(F.pad(sharp, (1, 1, 1, 1)), 3, 1)
        return F.softplus(-critic(sharp)).mean() + F.softplus(critic(blurred)).mean()

    torch.manual_seed(0)
    critic = PatchGAN(1, width=8)
    optimizer = torch.optim.Adam(critic.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = loss_of(critic)
        loss.backward()
        optimizer.step()
    assert loss < 0.5
    for norm in ("batch", "group"):
        critic = PatchGAN(1, width=8, norm=norm, dropout=0.0)
        critic.norms[-1].weight.data.fill_(0.3)
        assert loss_of(critic) >= 2 * math.log(2) - 1e-6


def test_patchgan_takes_weights_that_were_saved_with_batch_norm(tmp_path):
    old, again = PatchGAN(3, width=4, norm="batch").state_dict(), nn.Sequential(PatchGAN(3, width=4))
    load_weights(again, {f"0.{name}": tensor for name, tensor in old.items()}, tmp_path)
    same = PatchGAN(3, width=4)
    same.load_state_dict(old)
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(again(x), same(x))
    with pytest.raises(CheckpointError, match="norms.5.other is unknown"):
        load_weights(again, {**{f"0.{name}": tensor for name, tensor in old.items()}, "0.norms.5.other": x}, tmp_path)
