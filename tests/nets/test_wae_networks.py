"""The WAE networks: the two published versions, their sizes, noise and outputs."""

from __future__ import annotations

import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.nets import NETS, LatentAdversary, WAEDecoder, WAEEncoder
from vaefast.nets.wae import truncated_normal


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts():
    shape = (3, 64, 64)
    with torch.device("meta"):
        assert count(WAEEncoder(shape, 64)) == 25_607_296
        assert count(WAEDecoder(shape, 64)) == count(NETS["wae-stride2"][1](shape, 64)) == 21_475_331
        assert count(NETS["wae-stride2"][0](shape, 64, deterministic=True)) == 18_267_200
        assert count(LatentAdversary(64)) == 3_216_385


@pytest.mark.parametrize("name", ["wae", "wae-stride2"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 24, 40), (2, 32, 16)])
def test_shapes(name, shape):
    build_encoder, build_decoder = NETS[name]
    x = torch.rand(3, *shape)
    encoder, decoder = build_encoder(shape, 5, width=4), build_decoder(shape, 5, width=4)
    mu, raw = encoder(x)
    assert mu.shape == raw.shape == (3, 5)
    assert encoder.scale_param == ("logstd" if name == "wae" else "logvar")
    assert decoder(mu).shape == x.shape and decoder.output == "logits"
    assert build_encoder(shape, 5, width=4, deterministic=True)(x).shape == (3, 5)


def test_statistics_and_initial_weights_of_the_two_versions():
    for name, decay in (("wae", 0.999), ("wae-stride2", 0.9)):
        for module in (build((1, 16, 16), 4, width=16) for build in NETS[name]):
            assert {norm.decay for norm in module.norms} == {decay} and {norm.eps for norm in module.norms} == {1e-5}
    encoder, decoder = (build((1, 16, 16), 4, width=16) for build in NETS["wae-stride2"])
    assert encoder.convs[2].weight.abs().max() <= 2 * 0.01 and abs(encoder.convs[2].weight.std() - 0.0088) < 2e-4
    assert abs(decoder.ups[0].weight.std() - 0.01) < 2e-4 and not decoder.fc.bias.any()


def test_input_noise_is_there_in_training_alone():
    shape = (1, 8, 8)
    encoder = NETS["wae-stride2"][0](shape, 3, width=4, deterministic=True)
    x = torch.rand(6, *shape)
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))
    noise = truncated_normal(torch.Size((200_000,)), 0.01, x.device, torch.float32)
    assert noise.abs().max() <= 0.02 * (1 + 1e-5)
    assert noise.std().item() == pytest.approx(0.01 * 0.8796, rel=0.01) and abs(noise.mean().item()) < 1e-4


def test_log_variances_are_clipped_and_keep_a_floor():
    encoder = NETS["wae-stride2"][0]((1, 8, 8), 3, width=4).double()
    with torch.no_grad():
        encoder.raw.weight.zero_()
        encoder.raw.bias.copy_(torch.tensor([-300.0, -2.0, 300.0]))
    variance = encoder(torch.rand(2, 1, 8, 8, dtype=torch.float64))[1].exp()[0]
    expected = 1e-8 + torch.tensor([-50.0, -2.0, 50.0], dtype=torch.float64).exp()
    torch.testing.assert_close(variance, expected)


def test_the_tanh_decoder_doubles_the_logits():
    torch.manual_seed(1)
    a = WAEDecoder((1, 8, 8), 3, width=4).eval()
    b = WAEDecoder((1, 8, 8), 3, width=4, activation="tanh").eval()
    b.load_state_dict(a.state_dict())
    z = torch.randn(2, 3)
    torch.testing.assert_close(2 * b(z).sigmoid() - 1, torch.tanh(a(z)))


def test_the_decoders_dense_layer_has_no_batch_norm_and_the_encoders_first_stride_counts():
    assert len(WAEDecoder((1, 8, 8), 3, width=4).norms) == 3
    for stride, side in ((1, 2), (2, 1)):
        assert WAEEncoder((1, 16, 16), 3, width=4, first_stride=stride).mean.in_features == 32 * side * side


@pytest.mark.parametrize(("shape", "options", "message"), [
    ((1, 28, 28), {}, "multiples of 8"), ((1, 64, 60), {}, "multiples of 8"), ((64, 64), {}, "image_shape"),
    ((1, 16, 16), {"first_stride": 3}, "first_stride"), ((1, 16, 16), {"scale_param": "softplus"}, "scale_param"),
    ((1, 16, 16), {"input_noise": -1.0}, "input_noise")])
def test_what_cannot_work_is_refused(shape, options, message):
    with pytest.raises(ArgumentError, match=message):
        WAEEncoder(shape, 4, width=4, **options)
    if not options:
        with pytest.raises(ArgumentError, match=message):
            WAEDecoder(shape, 4, width=4)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ArgumentError, match="activation"):
        WAEDecoder((1, 8, 8), 3, activation="relu")


def test_compiled_in_one_graph_noise_included():
    encoder = NETS["wae-stride2"][0]((1, 16, 16), 3, width=4)
    decoder = NETS["wae-stride2"][1]((1, 16, 16), 3, width=4)
    x = torch.rand(4, 1, 16, 16)

    def through(x: torch.Tensor) -> torch.Tensor:
        return decoder(encoder(x)[0])

    results = []
    for call in (through, torch.compile(through, fullgraph=True, backend="aot_eager")):
        torch.manual_seed(1)
        results.append(call(x))
    torch.testing.assert_close(*results)
