"""pythae's samplers of codes, on a first stage that vaefast trained."""

from __future__ import annotations

import logging
import tempfile
import time
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.models import VAE

# as in its own examples for MNIST-size codes; the trained ones get as many epochs as fit into the time
NAMES = ("TwoStageVAESampler", "GaussianMixtureSampler", "MAFSampler", "IAFSampler")
COMPONENTS = 10
"""Of its mixture: its default."""
LR, BATCH = 1e-3, 512


def wrapped(first: VAE) -> Any:
    """The first stage as a pythae VAE: the same encoder and decoder."""
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.first = first

        def forward(self, x: Tensor) -> Any:
            posterior = self.first.encode(x)
            return ModelOutput(embedding=posterior.mean, log_covariance=2 * posterior.std.log())

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.first = first

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.first.decode(z))

    config = VAEConfig(input_dim=first.data_shape, latent_dim=first.latent_dim)
    model = PythaeVAE(config, encoder=Encoder(), decoder=Decoder())
    return model.eval()


def fitted(name: str, first: VAE, images: Tensor, seconds: float) -> dict[str, Any]:
    """Fit one of them to float images [N, C, H, W] in about `seconds`: it, the seconds it took, and its settings.

    What is trained is first trained for one epoch and for four, to see how many the time allows; those are not counted.
    """
    from pythae import samplers
    from pythae.trainers import BaseTrainerConfig

    logging.disable(logging.INFO)
    kind, of = getattr(samplers, name), getattr(samplers, f"{name}Config")
    config = of(n_components=COMPONENTS) if name == "GaussianMixtureSampler" else of()

    def fit(epochs: int) -> tuple[Any, float]:
        torch.manual_seed(0)
        sampler, start = kind(wrapped(first), config), time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            training = BaseTrainerConfig(output_dir=folder, num_epochs=epochs, learning_rate=LR, no_cuda=True,
                                         per_device_train_batch_size=BATCH)
            if name == "GaussianMixtureSampler":
                sampler.fit(images)
            else:
                sampler.fit(images, training_config=training)
        return sampler, time.perf_counter() - start

    if name == "GaussianMixtureSampler":
        sampler, took = fit(0)
        return {"draw": sampler, "seconds": took, "settings": f"{COMPONENTS} components, its default"}
    _, once = fit(1)
    _, four = fit(4)
    epoch = max((four - once) / 3, once / 10)  # on a busy machine the difference can be nothing
    epochs = max(1, int((seconds - once) / epoch) + 1)
    sampler, took = fit(epochs)
    return {"draw": sampler, "seconds": took, "settings": f"default networks, {epochs} epochs, Adam {LR:g}, batches of {BATCH}"}


@torch.no_grad()
def images_of(sampler: nn.Module, n: int) -> Tensor:
    """n images, float [n, C, H, W]."""
    torch.manual_seed(1)
    return sampler.sample(num_samples=n, batch_size=1000, return_gen=True).float().cpu()
