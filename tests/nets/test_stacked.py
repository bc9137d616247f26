"""The neutral networks with the second stage's stacked on them."""

from __future__ import annotations

import pytest
import torch

from vaefast.nets import NETS, InfoGANDecoder, InfoGANEncoder, SecondStageDecoder, SecondStageEncoder


def count(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_parameters_are_those_of_both_stages_but_for_the_head_that_no_code_is_drawn_by():
    shape, k = (1, 28, 28), 64
    encoder, decoder = (build(shape, k) for build in NETS["infogan-stacked"])
    assert count(encoder) == count(InfoGANEncoder(shape, k), SecondStageEncoder(k, k)) - 1025 * k
    assert count(decoder) == count(InfoGANDecoder(shape, k), SecondStageDecoder(k, k))


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_second_stages_networks_go_on_from_the_firsts_without_noise(deterministic):
    torch.manual_seed(0)
    build_encoder, build_decoder = NETS["infogan-stacked"]
    encoder = build_encoder((3, 8, 12), 5, deterministic=deterministic, width=7, depth=2).double().eval()
    decoder = build_decoder((3, 8, 12), 5, width=7, depth=2).double().eval()
    x, u = torch.rand(4, 3, 8, 12, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    h = z = encoder.first(x)
    for layer in encoder.second.trunk.layers:
        h = torch.relu(layer(h))
    mean = encoder.second.mean(torch.cat([z, h], 1))
    if deterministic:
        torch.testing.assert_close(encoder(x), mean)
        assert encoder.second.logstd is None
    else:
        torch.testing.assert_close(encoder(x), (mean, encoder.second.logstd(torch.cat([z, h], 1))))
    torch.testing.assert_close(decoder(u), decoder.first(decoder.second(u)))
    assert decoder(u).shape == x.shape and len(decoder.second.trunk.layers) == 2
