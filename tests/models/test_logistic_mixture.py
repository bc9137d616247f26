"""Likelihoods of pixels' levels against plain sums of their definition, in float64."""

from __future__ import annotations

import math

import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.models import categorical
from vaefast.models.logistic_mixture import mean, nll, raw_channels, sample

LEVELS = torch.arange(256, dtype=torch.uint8)


def sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v)) if v > -700 else 0.0


def by_definition(levels: list[int], raw: list[float], components: int) -> float:
    """The probability of one pixel's levels, number by number: weights, then means, log scales and slopes by component."""
    c = len(levels)
    pairs = c * (c - 1) // 2
    m = components
    weights = [math.exp(w) for w in raw[:m]]
    x = [2 * v / 255 - 1 for v in levels]
    total = 0.0
    for k in range(m):
        means = raw[m + k * c:m + (k + 1) * c]
        scales = [math.exp(max(-7, v)) for v in raw[m + m * c + k * c:m + m * c + (k + 1) * c]]
        slopes = [math.tanh(v) for v in raw[m + 2 * m * c + k * pairs:m + 2 * m * c + (k + 1) * pairs]]
        p = weights[k] / sum(weights)
        for n in range(c):
            centre = means[n] + sum(slopes[n * (n - 1) // 2 + i] * x[i] for i in range(n))
            upper = 1.0 if levels[n] == 255 else sigmoid((x[n] + 1 / 255 - centre) / scales[n])
            lower = 0.0 if levels[n] == 0 else sigmoid((x[n] - 1 / 255 - centre) / scales[n])
            p *= upper - lower
        total += p
    return total


def random_raw(batch: int, channels: int, components: int, *space: int) -> torch.Tensor:
    raw = torch.randn(batch, raw_channels(channels, components), *space).double()
    raw[:, components * (1 + channels):components * (1 + 2 * channels)] -= 2  # scales of some levels
    return raw


@pytest.mark.parametrize("channels, components", [(1, 1), (1, 10), (2, 3), (3, 10)])
def test_against_the_definition(channels, components):
    raw = random_raw(6, channels, components, 1, 1)
    x = torch.randint(256, (6, channels, 1, 1), dtype=torch.uint8)
    x[0], x[1] = 0, 255
    expected = [-math.log(by_definition(p.flatten().tolist(), r.flatten().tolist(), components)) for p, r in zip(x, raw)]
    torch.testing.assert_close(nll(x, raw), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(nll(x.double() / 255, raw), nll(x, raw), rtol=1e-9, atol=1e-9)
    assert raw_channels(3, 10) == 100 and raw_channels(1, 10) == 30


def test_probabilities_add_up_to_one():
    raw = random_raw(1, 1, 4, 1)
    total = torch.exp(-nll(LEVELS.view(256, 1, 1), raw.expand(256, -1, -1))).sum()
    assert float(total) == pytest.approx(1, abs=1e-12)
    raw = random_raw(1, 2, 3, 1)
    pairs = torch.cartesian_prod(LEVELS, LEVELS)[..., None]
    p = torch.exp(-nll(pairs, raw.expand(len(pairs), -1, -1))).view(256, 256)
    assert float(p.sum()) == pytest.approx(1, abs=1e-10)
    given = p / p.sum(1, keepdim=True)
    assert (given[40] - given[200]).abs().max() > 1e-4  # the second channel depends on the first


def test_sums_over_pixels_and_channels():
    raw, x = random_raw(3, 3, 2, 4, 5), torch.randint(256, (3, 3, 4, 5), dtype=torch.uint8)
    singly = sum(nll(x[:, :, i, j, None], raw[:, :, i, j, None]) for i in range(4) for j in range(5))
    torch.testing.assert_close(nll(x, raw), singly)


def test_samples_are_by_inversion():
    raw = random_raw(1, 1, 3, 1)
    n = 512
    u = (torch.arange(n).double() + 0.5) / n
    grid = torch.cartesian_prod(u, u)[..., None]
    drawn = sample(raw.expand(len(grid), -1, -1), grid)
    counts = torch.bincount((drawn * 255).round().long().flatten(), minlength=256) / len(grid)
    p = torch.exp(-nll(LEVELS.view(256, 1, 1), raw.expand(256, -1, -1)))
    torch.testing.assert_close(counts.double(), p, rtol=0, atol=0.01)
    # not the level's edges alone: the whole distribution, to a step of the grid for each component
    assert (counts.double().cumsum(0) - p.cumsum(0)).abs().max() < 3 / n


def test_colours_are_drawn_given_each_other():
    raw = random_raw(1, 3, 2, 1)
    u = torch.rand(60_000, 4, 1).double()
    drawn = sample(raw.expand(len(u), -1, -1), u)
    assert drawn.shape == (60_000, 3, 1) and 0 <= drawn.min() and drawn.max() <= 1
    # the mean probability of what is drawn is the sum of squared probabilities
    p = torch.exp(-nll(drawn[:, :2], marginal_of_two(raw).expand(len(u), -1, -1)))
    pairs = torch.cartesian_prod(LEVELS, LEVELS)[..., None]
    exact = torch.exp(-nll(pairs, marginal_of_two(raw).expand(len(pairs), -1, -1)))
    assert float(p.mean()) == pytest.approx(float(exact.square().sum()), rel=0.05)
    third = by_chain(raw, drawn)
    assert float(third.mean()) == pytest.approx(0.5, abs=0.03) and float(third.var()) == pytest.approx(1 / 12, rel=0.08)


def marginal_of_two(raw: torch.Tensor) -> torch.Tensor:
    """The mixture of the first two of three channels, of 2 components."""
    weights, means, scales, slopes = raw.split([2, 6, 6, 6], 1)
    two = [t.unflatten(1, (2, 3))[:, :, :2].flatten(1, 2) for t in (means, scales)]
    return torch.cat([weights, *two, slopes.unflatten(1, (2, 3))[:, :, :1].flatten(1, 2)], 1)


def by_chain(raw: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Where the third channel lies in its distribution given the first two, anywhere within its level: uniform."""
    table = torch.stack([torch.exp(-nll(torch.cat([drawn[:2000, :2], torch.full((2000, 1, 1), v / 255.0).double()], 1),
                                        raw.expand(2000, -1, -1))) for v in range(256)], 1)
    table = table / table.sum(1, keepdim=True)
    level = (drawn[:2000, 2] * 255).round().long()
    return (table.cumsum(1).gather(1, level) - torch.rand(2000, 1) * table.gather(1, level))[:, 0]


def test_extreme_parameters_stay_finite():
    raw = random_raw(4, 3, 5, 2, 2).mul(50).float().requires_grad_()
    x = torch.randint(256, (4, 3, 2, 2), dtype=torch.uint8)
    value = nll(x, raw)
    value.sum().backward()
    assert torch.isfinite(value).all() and torch.isfinite(raw.grad).all()
    assert nll(x, raw.detach().bfloat16()).dtype == torch.float32
    for u in (torch.zeros(4, 4, 2, 2), torch.full((4, 4, 2, 2), 1 - 2.0**-24)):
        assert torch.isfinite(sample(raw.detach(), u)).all()


def test_gradients():
    raw = random_raw(2, 3, 2, 1).requires_grad_()
    x = torch.tensor([[[0], [255], [7]], [[128], [3], [200]]], dtype=torch.uint8)
    assert torch.autograd.gradcheck(lambda r: nll(x, r), (raw,))


def test_the_mean_is_that_of_the_levels():
    raw = random_raw(1, 1, 3, 1)
    p = torch.exp(-nll(LEVELS.view(256, 1, 1), raw.expand(256, -1, -1)))
    assert float(mean(raw, 1)) == pytest.approx(float((p * LEVELS / 255).sum()), abs=1e-4)
    colours = 0.3 * random_raw(1, 3, 3, 1)  # hardly ever out of range, where the mean is an approximation
    colours[:, 12:21] -= 2
    drawn = sample(colours.expand(40_000, -1, -1), torch.rand(40_000, 4, 1).double())
    torch.testing.assert_close(mean(colours, 3)[0], drawn.mean(0), rtol=0, atol=0.02)


@pytest.mark.parametrize("call", [
    lambda: nll(torch.zeros(2, 3, 4, 4), torch.zeros(2, 99, 4, 4)),
    lambda: nll(torch.zeros(2, 1, 4, 4), torch.zeros(2, 30, 4, 5)),
    lambda: sample(torch.zeros(2, 31), torch.zeros(2, 2)), lambda: categorical.nll(torch.zeros(2, 3, 4), torch.zeros(2, 5, 4))])
def test_errors(call):
    with pytest.raises(ArgumentError):
        call()


def test_levels_with_a_probability_each():
    raw = torch.randn(3, 6, 2, 2).double()
    p = torch.softmax(raw, 1)
    x = torch.randint(6, (3, 1, 2, 2))
    expected = -p.gather(1, x).log().sum((1, 2, 3))
    torch.testing.assert_close(categorical.nll(x.double() / 5, raw), expected)
    torch.testing.assert_close(categorical.nll((x * 51).to(torch.uint8), raw), expected)
    values = torch.arange(6).double().view(1, 6, 1, 1) / 5
    torch.testing.assert_close(categorical.mean(raw), (p * values).sum(1, keepdim=True))


@pytest.mark.parametrize("log_scale", [-100.0, -7.0, 0.0, 5.5, 20.0, 84.0, 100.0, 1e4])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_extreme_scales_agree_with_float64(log_scale, level):
    x = torch.full((1, 1, 1, 1), level, dtype=torch.uint8)
    found = []
    for dtype in (torch.float32, torch.float64):
        raw = torch.tensor([0.0, 0.3, log_scale], dtype=dtype).view(1, 3, 1, 1).requires_grad_()
        value = nll(x, raw)
        found.append((value.detach().double(), torch.autograd.grad(value.sum(), raw)[0].double(), mean(raw, 1).double()))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)
    if log_scale >= 20 and level == 128:  # the density of a wide logistic: slope 1 in its log scale
        assert found[0][0].item() == pytest.approx(math.log(4 * 255 / 2) + log_scale, rel=1e-5)
        assert found[0][1][0, 2].item() == pytest.approx(1, abs=1e-5)
    drawn = sample(raw.float(), torch.full((1, 2, 1, 1), 0.5))
    assert torch.isfinite(drawn).all()


def test_a_component_without_weight_says_nothing():
    x = torch.full((1, 1, 1, 1), 77, dtype=torch.uint8)
    alone = torch.tensor([0.0, 0.2, -1.0]).view(1, 3, 1, 1)
    for other in (0.0, 90.0, 200.0):
        raw = torch.tensor([0.0, -math.inf, 0.2, 5.0, -1.0, other]).view(1, 6, 1, 1).requires_grad_()
        value = nll(x, raw)
        torch.testing.assert_close(value, nll(x, alone))
        assert torch.isfinite(torch.autograd.grad(value.sum(), raw)[0]).all()
        torch.testing.assert_close(mean(raw, 1), mean(alone, 1))
