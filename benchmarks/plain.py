"""The training loops that vaefast is held against: what a good user writes in plain PyTorch, and pythae's trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

LATENT = 64
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Encoder(nn.Module):
    """The neutral encoder of torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            spectral_norm(nn.Conv2d(1, 64, 4, 2, 1)), nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(64, 128, 4, 2, 1)), nn.BatchNorm2d(128), nn.LeakyReLU(0.2), nn.Flatten(),
            spectral_norm(nn.Linear(128 * 7 * 7, 1024)), nn.BatchNorm1d(1024), nn.LeakyReLU(0.2))
        self.mean, self.raw = spectral_norm(nn.Linear(1024, LATENT)), spectral_norm(nn.Linear(1024, LATENT))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.features(x)
        return self.mean(h), 1e-6 + nn.functional.softplus(self.raw(h))


def decoder() -> nn.Module:
    """The neutral decoder of torch's own layers."""
    return nn.Sequential(
        nn.Linear(LATENT, 1024), nn.BatchNorm1d(1024), nn.ReLU(),
        nn.Linear(1024, 128 * 7 * 7), nn.BatchNorm1d(128 * 7 * 7), nn.ReLU(),
        nn.Unflatten(1, (128, 7, 7)), nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 4, 2, 1), nn.Sigmoid())


class Dense(nn.Module):
    """A second stage's trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(LATENT, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024),
                                    nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], 1)


class SecondEncoder(nn.Module):
    """The second stage's encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.mean, self.logstd = Dense(), nn.Linear(LATENT + 1024, LATENT), nn.Linear(LATENT + 1024, LATENT)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(z)
        return self.mean(h), self.logstd(h).exp()


def loss_of(x: Tensor, x_hat: Tensor, mean: Tensor, std: Tensor, log_gamma: Tensor) -> Tensor:
    """Negative ELBO of a batch, as the papers write it."""
    d = x[0].numel()
    nll = ((x - x_hat) / log_gamma.exp()).square().flatten(1).sum(1) / 2 + d * (log_gamma + HALF_LOG_2PI)
    kl = (mean.square() + std.square() - 1 - 2 * std.log()).sum(1) / 2
    return (nll + kl).mean()


def endless(loader: DataLoader) -> Iterator[list[Tensor]]:
    """Batches of one epoch after the other."""
    while True:
        yield from loader


def batches_of(tensors: tuple[Tensor, ...], batch_size: int, device: torch.device, resident: bool) -> Callable[[], list[Tensor]]:
    """The next batch on the device: of a DataLoader, or gathered there from data that lie there."""
    if not resident:
        loader = endless(DataLoader(TensorDataset(*tensors), batch_size, shuffle=True, drop_last=True,
                                    pin_memory=device.type == "cuda"))
        return lambda: [t.to(device, non_blocking=True) for t in next(loader)]
    held = [t.to(device) for t in tensors]

    def orders() -> Iterator[Tensor]:
        while True:
            yield from torch.randperm(len(held[0]), device=device).split(batch_size)[:len(held[0]) // batch_size]

    order = orders()

    def gathered() -> list[Tensor]:
        index = next(order)
        return [t[index] for t in held]

    return gathered


def first_stage(images: Tensor, batch_size: int, device: torch.device, *, precision: str = "fp32", compile: bool = False,
                resident: bool = False) -> Callable[[], None]:
    """One step of a plain loop on uint8 images: DataLoader, Adam, loss read every step for the bar; in bf16 with autocast
    and NHWC, compiled, and with the images on the device, where these are asked for."""
    encoder, decode = Encoder().to(device), decoder().to(device)
    if precision == "bf16":
        encoder, decode = (m.to(memory_format=torch.channels_last) for m in (encoder, decode))
    log_gamma = torch.zeros((), device=device, requires_grad=True)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decode.parameters(), log_gamma], lr=1e-4)
    following = batches_of((images.float() / 255,), batch_size, device, resident)

    def forward(x: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            mean, std = encoder(x)
            x_hat = decode(mean + std * torch.randn_like(std))
        return loss_of(x, x_hat.float(), mean.float(), std.float(), log_gamma)

    forward = torch.compile(forward) if compile else forward

    def step() -> None:
        loss = forward(*following())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def second_stage(mean: Tensor, std: Tensor, batch_size: int, device: torch.device, *, precision: str = "fp32",
                 compile: bool = False, resident: bool = False) -> Callable[[], None]:
    """One step of a plain second stage on posteriors [N, k]: a fresh draw of each code every batch. Options as `first_stage`."""
    encoder, trunk, head = SecondEncoder().to(device), Dense().to(device), nn.Linear(LATENT + 1024, LATENT).to(device)
    log_gamma = torch.zeros((), device=device, requires_grad=True)
    optimizer = torch.optim.Adam([*encoder.parameters(), *trunk.parameters(), *head.parameters(), log_gamma], lr=1e-4)
    following = batches_of((mean, std), batch_size, device, resident)

    def forward(m: Tensor, s: Tensor) -> Tensor:
        z = m + s * torch.randn_like(s)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            u_mean, u_std = encoder(z)
            z_hat = head(trunk(u_mean + u_std * torch.randn_like(u_std)))
        return loss_of(z, z_hat.float(), u_mean.float(), u_std.float(), log_gamma)

    forward = torch.compile(forward) if compile else forward

    def step() -> None:
        loss = forward(*following())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def pythae_step(images: Tensor, batch_size: int, device: torch.device) -> Callable[[], None] | None:
    """One step of pythae's own trainer on the same networks without spectral norm; None where pythae is not installed."""
    try:
        from pythae.data.datasets import BaseDataset
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.trainers import BaseTrainer, BaseTrainerConfig
    except ImportError:
        return None
    import tempfile

    class PythaeEncoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(64, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
                nn.Flatten(), nn.Linear(128 * 7 * 7, 1024), nn.BatchNorm1d(1024), nn.LeakyReLU(0.2))
            self.mean, self.logvar = nn.Linear(1024, LATENT), nn.Linear(1024, LATENT)

        def forward(self, x: Tensor) -> ModelOutput:
            h = self.features(x)
            return ModelOutput(embedding=self.mean(h), log_covariance=self.logvar(h))

    class PythaeDecoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = decoder()

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.layers(z))

    model = VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT), encoder=PythaeEncoder(), decoder=PythaeDecoder())
    data = images.float() / 255
    config = BaseTrainerConfig(output_dir=tempfile.mkdtemp(), per_device_train_batch_size=batch_size, learning_rate=1e-4,
                               num_epochs=1)
    trainer = BaseTrainer(model, BaseDataset(data, torch.zeros(len(data))), training_config=config)
    trainer.prepare_training()
    batches = endless(trainer.train_loader)
    model.train()

    def step() -> None:
        inputs = trainer._set_inputs_to_device(next(batches))
        with trainer.amp_context:
            output = model(inputs, epoch=1, dataset_size=len(data), uses_ddp=False)
        trainer._optimizers_step(output)
        output.loss.item()

    return step
