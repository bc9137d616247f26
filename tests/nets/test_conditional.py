"""Networks that are told a condition, against their inputs put together by hand."""

import pytest
import torch
import torch.nn.functional as F

from vaefast.errors import ArgumentError
from vaefast.nets import NETS, ConditionalDecoder, ConditionalEncoder, nets_for, told_codes, told_shape

OPTIONS = {"gamix": {"input_norm": False, "width": 8}, "biggan": {"ch": 8}, "biggan-deep": {"ch": 8}}


def told(network, condition, size):
    """The condition's numbers, by the product with one-hot classes or vectors."""
    rows = F.one_hot(condition, size).double() if condition.ndim == 1 else condition.double()
    return rows @ network.embedding.detach()


@pytest.mark.parametrize(("given", "size"), [({"classes": 3}, 3), ({"condition_dim": 19}, 19)])
@pytest.mark.parametrize("shape", [(3, 13, 11), (7,), (2, 9), (1, 5, 6, 7)])
def test_the_condition_stands_beside_the_input(given, size, shape):
    torch.manual_seed(0)
    e, k = min(size, 16), 5
    build_encoder, build_decoder = nets_for(shape)["residual"]
    assert told_shape(shape, size) == (shape[0] + e, *shape[1:]) and told_codes(k, size) == k + e
    encoder = ConditionalEncoder(build_encoder(told_shape(shape, size), k), **given).double().eval()
    decoder = ConditionalDecoder(build_decoder(shape, told_codes(k, size)), **given).double().eval()
    x, z = torch.rand(4, *shape, dtype=torch.float64), torch.randn(4, k, dtype=torch.float64)
    condition = torch.tensor([2, 0, 1, 2]) if "classes" in given else torch.randn(4, size, dtype=torch.float64)
    numbers = told(encoder, condition, size)
    planes = torch.ones(4, e, *shape[1:], dtype=torch.float64) * numbers.view(4, e, *[1] * (len(shape) - 1))
    torch.testing.assert_close(encoder(x, condition), encoder.network(torch.cat([x, planes], 1)))
    beside = torch.cat([z, told(decoder, condition, size)], 1)
    torch.testing.assert_close(decoder(z, condition), decoder.network(beside))


def test_codes_that_are_maps_get_constant_maps():
    torch.manual_seed(0)
    build_encoder, build_decoder = NETS["residual"]
    codes = (2, 3, 5)
    assert told_codes(codes, 4) == (6, 3, 5)
    decoder = ConditionalDecoder(build_decoder((1, 12, 20), told_codes(codes, 4)), latent_dim=codes, classes=4).double().eval()
    z, labels = torch.randn(3, 30, dtype=torch.float64), torch.tensor([3, 0, 1])
    maps = torch.ones(3, 4, 3, 5, dtype=torch.float64) * told(decoder, labels, 4)[:, :, None, None]
    together = torch.cat([z.view(3, *codes), maps], 1)
    torch.testing.assert_close(decoder(z, labels), decoder.network(together.flatten(1)))


@pytest.mark.parametrize("nets", NETS)
def test_every_network_of_images_is_told(nets):
    torch.manual_seed(0)
    build_encoder, build_decoder = NETS[nets]
    shape, options = (1, 32, 32), OPTIONS.get(nets, {})
    of_decoder = {name: value for name, value in options.items() if name != "input_norm"}
    encoder = ConditionalEncoder(build_encoder(told_shape(shape, 10), 4, **options), classes=10).eval()
    decoder = ConditionalDecoder(build_decoder(shape, told_codes(4, 10), **of_decoder), classes=10).eval()
    assert (encoder.scale_param, decoder.output) == (encoder.network.scale_param, decoder.network.output)
    x, z, labels = torch.rand(2, *shape), torch.randn(2, 4), torch.tensor([1, 8])
    with torch.no_grad():
        assert not torch.allclose(encoder(x, labels)[0], encoder(x, labels.flip(0))[0])
        assert not torch.allclose(decoder(z, labels), decoder(z, labels.flip(0)))


def test_a_condition_is_one_of_two():
    for given, says in (({}, "neither classes nor condition_dim"), ({"classes": 2, "condition_dim": 2}, "one of the two"),
                        ({"classes": 0}, "classes is 0"), ({"condition_dim": 1.5}, "condition_dim is 1.5")):
        with pytest.raises(ArgumentError, match=says):
            ConditionalEncoder(torch.nn.Linear(3, 2), **given)
    with pytest.raises(ArgumentError, match="decoder is the class Linear"):
        ConditionalDecoder(torch.nn.Linear, classes=2)
