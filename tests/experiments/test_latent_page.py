"""The latents of a run: numbers against their definitions, and the page of a deterministic, a flow and a usual encoder."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

import vaefast
from vaefast.experiments.pictures.report import write_report
from vaefast.experiments.scoring.latent_page import latent_space, latent_summary, posteriors, traversal, write_latents
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
    assert "Codes and posteriors of 30 images" in page and "all posteriors&#x27; mean and variance" in page


def test_a_report_without_latents_says_how_to_get_them(tmp_path):
    assert "No latents" in write_report(tmp_path).read_text()


def test_posteriors_are_spread_over_the_set():
    model, x = vaefast.VAE(SHAPE, 3).eval(), images()
    torch.testing.assert_close(posteriors(model, x, limit=3).mean, model.encode(x[[0, 14, 29]]).mean)


@pytest.mark.parametrize(("n", "k"), [(57, 7), (9, 3), (31, 1), (23, 2500)])
def test_principal_directions_are_those_of_a_singular_value_decomposition(n, k):
    g = torch.Generator().manual_seed(2)
    mean = torch.randn(n, k, generator=g, dtype=torch.float64) * torch.linspace(2, 0.1, k, dtype=torch.float64) + 3
    logvar = torch.randn(n, k, generator=g, dtype=torch.float64) - 2
    space = latent_space(mean, logvar)
    x = mean.numpy() - mean.numpy().mean(0)
    u, s, v = np.linalg.svd(x, full_matrices=False)
    m = len(space.directions)
    assert m == min(5, k) and np.allclose(np.abs(space.directions.numpy() @ v[:m].T), np.eye(m), atol=1e-6)
    assert np.allclose(np.abs(space.points.numpy()), np.abs(u[:, :m] * s[:m]), atol=1e-6)
    rank = min(n - 1, k)
    assert np.allclose(space.of_means[:rank].numpy(), s[:rank] ** 2 / n)
    if k < 2000:
        total = x.T @ x / n + np.diag(np.exp(logvar.numpy()).mean(0))
        assert np.allclose(space.eigenvalues.numpy(), np.linalg.eigvalsh(total)[::-1])


def test_a_traversal_goes_through_the_mean_code():
    model = vaefast.VAE(SHAPE, 3).eval()
    q = posteriors(model, images())
    rows = traversal(model, latent_space(q.mean, 2 * q.raw.double()))
    side, pad = 8 * 8, 2
    assert rows.shape == (3 * (side + pad) + pad, 11 * (side + pad) + pad, 1)
    middle = (model.decode(q.mean.mean(0, keepdim=True))[0, 0] * 255).round()
    left = pad + 5 * (side + pad)
    for row in range(3):
        top = pad + row * (side + pad)
        found = torch.from_numpy(rows[top:top + side:8, left:left + side:8, 0].astype(np.int64))
        assert (found - middle.long()).abs().max() <= 1


@pytest.mark.parametrize(("shape", "labels"), [((3, 8, 8), 10), ((1, 8, 12), 2), ((1, 8, 8), 40), ((2, 8, 8), None)])
def test_a_picture_of_the_latent_space_for_any_images_and_labels(shape, labels, tmp_path):
    model = vaefast.VAE(shape, 1 if labels == 2 else 4).eval()
    x = torch.rand(25, *shape)
    write_latents(model, x, tmp_path, labels=None if labels is None else torch.arange(25) % labels)
    height = Image.open(tmp_path / "latents.png").size[1]
    assert (height > 450) == (shape[0] in (1, 3))  # images of 2 channels cannot be shown
