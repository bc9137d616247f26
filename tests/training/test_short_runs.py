"""That a model of a short training is evaluated as what it has learned."""

import torch.nn.functional as F

import vaefast
from vaefast import data


def test_reconstructions_are_as_near_in_eval_mode_as_while_training():
    """With the published decay of 0.999 for a training of 100 steps they were not: batch norms averaged over all of it."""
    images = F.avg_pool2d(data.load("digits", None, "train").images.float() / 255, 2)
    model = vaefast.VAE((1, 16, 16), 8, gamma="optimal")
    history = model.fit(images, steps=100, batch_size=64, lr=1e-3, schedule="cosine", device="cpu", precision="fp32",
                        progress=False)
    error = (model.reconstruct(images) - images).square().mean().item()
    assert error < history.last("stage1")["gamma"] ** 2  # of drawn codes, which costs more
