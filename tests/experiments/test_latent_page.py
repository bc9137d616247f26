"""The latents of a run: numbers against their definitions, and the page of a deterministic, a flow and a usual encoder."""

from __future__ import annotations

import json
import math

import pytest
import torch

import vaefast
from vaefast.experiments.latent_page import latent_summary, posteriors, write_latents
from vaefast.experiments.report import write_report
from vaefast.models.posterior import DiagonalGaussian

SHAPE = (1, 8, 8)


def images(n: int = 30) -> torch.Tensor:
    return torch.randint(0, 256, (n, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def test_numbers_of_a_half_collapsed_code():
    g = torch.Generator().manual_seed(1)
    mean, std = torch.zeros(400, 4), torch.ones(400, 4)
    mean[:, :2] = torch.randn(400, 2, generator=g)
    std[:, :2] = 1e-4
    found = latent_summary(DiagonalGaussian(mean, std.log(), "logstd"))
    assert (found["active_dimensions"], found["kl_dimensions"], found["latent_dim"]) == (2, 2, 4)
    assert found["mutual_information"] == pytest.approx(math.log(400), rel=1e-6)  # no two posteriors overlap
    assert found["kl_per_dimension"][2:] == pytest.approx([0, 0], abs=1e-6)
    variance = mean.double().var(0, correction=0)
    assert found["variance_of_means"] == pytest.approx(variance.tolist())
    assert found["global_variance"][2:] == pytest.approx([1, 1]) and sum(found["variance_histogram"]["counts"]) == 1600
    total = torch.tensor(found["global_variance"], dtype=torch.float64)
    kl = 0.5 * (mean.double().mean(0).square() + total - 1 - total.log()).sum()
    assert found["global_kl"] == pytest.approx(float(kl), rel=1e-9, abs=1e-12)
    assert found["kl"] == pytest.approx(sum(found["kl_per_dimension"]))


@pytest.mark.parametrize("model", [lambda: vaefast.VAE(SHAPE, 3), lambda: vaefast.VAE(SHAPE, 3, flow="planar", flow_depth=2),
                                   lambda: vaefast.WAE(SHAPE, 3), lambda: vaefast.TwoStageVAE(SHAPE, 3, second_width=8),
                                   lambda: vaefast.GAMIXVAE(SHAPE, 3, width=4)])
def test_every_model_has_a_page(model, tmp_path):
    model = model().eval()
    found = write_latents(model, images(), tmp_path)
    assert json.loads((tmp_path / "latents.json").read_text()) == json.loads(json.dumps(found))
    assert (tmp_path / "latents.png").read_bytes().startswith(b"\x89PNG")
    assert found["deterministic"] == isinstance(model, vaefast.WAE) and found["images"] == 30
    assert ("mutual_information" in found) != found["deterministic"]
    page = write_report(tmp_path).read_text()
    assert "Posteriors of 30 images" in page and "all posteriors&#x27; mean and variance" in page


def test_a_report_without_latents_says_how_to_get_them(tmp_path):
    assert "No latents" in write_report(tmp_path).read_text()


def test_posteriors_are_spread_over_the_set():
    model, x = vaefast.VAE(SHAPE, 3).eval(), images()
    torch.testing.assert_close(posteriors(model, x, limit=3).mean, model.encode(x[[0, 14, 29]]).mean)
