"""What a user writes, for type checkers; `assert_type` lines say what they have to find. Nothing runs it."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import assert_type

import vaefast
from vaefast import data, models
from vaefast.api import ImageModel, Model
from vaefast.models import Posterior

images = torch.zeros(100, 1, 28, 28, dtype=torch.uint8)
model = vaefast.TwoStageVAE(image_shape=(1, 28, 28), latent_dim=64, gamma="optimal", likelihood="gaussian")
history = model.fit(images, epochs=(2, 4), batch_size=32, out="runs/mnist", resume="auto", precision="bf16")
assert_type(history, vaefast.History)
assert_type(model.sample(64), Tensor)
assert_type(model.encode(images), Posterior)
assert_type(model.encode(images).sample(), Tensor)
assert_type(model.reconstruct(images), Tensor)
assert_type(model.first, models.VAE)
assert_type(data.load("mnist", "data"), data.ImageSet)

vae = vaefast.VAE((1, 28, 28), flow="iaf", beta=2.0, adversary="patchgan")
assert_type(vae(images), dict[str, Tensor])
told = vaefast.VAE((1, 28, 28), classes=10)
assert_type(told(images, torch.zeros(100, dtype=torch.long)), dict[str, Tensor])
assert_type(told.sample(3, condition=7), Tensor)
assert_type(told.encode(images, condition=[7] * 100), Posterior)
assert_type(vaefast.TwoStageVAE((1, 28, 28), second="flow", classes=10, conditioned="both").sample(3, condition=7), Tensor)
assert_type(vaefast.load("runs/mnist"), Model)
second = vaefast.SecondStage(latent_dim=8)
assert_type(second(torch.zeros(3, 8)), dict[str, Tensor])
assert_type(vaefast.GAN((1, 28, 28), "wgan-gp").sample(3), Tensor)
assert_type(vaefast.GAN((1, 28, 28), classes=10).sample(3, condition=7), Tensor)
assert_type(vaefast.SequentialVAE((3, 64, 64)).steps(4), Tensor)
table = vaefast.TableVAE(likelihood={"age": "gaussian"})
assert_type(table.fit({"age": [1.5, 2.5]}), vaefast.History)
assert_type(table.anomaly_score({"age": [1.5]}), Tensor)
loaded = vaefast.load("runs/mnist", device="cuda")
if isinstance(loaded, ImageModel):
    assert_type(loaded.sample(16), Tensor)
assert_type(vaefast.export(model, "served", to=["onnx", "torch-export"], what="sampler").largest_difference, float)
assert_type(model.push_to_hub("me/mnist"), str)
assert_type(vaefast.from_pretrained("me/mnist@v1").source, str | None)
trainer = vaefast.Trainer(vae, [], compile="on", checkpoint_seconds=30.0)
assert_type(trainer.fit(), vaefast.History)
settings = vaefast.StageSettings(epochs=3, schedule="cosine", optimizer="adamw")

vaefast.VAE((1, 28, 28), likelihood="gausian")  # type: ignore[arg-type]
vaefast.GAN((1, 28, 28), loss="wgan-pg")  # type: ignore[arg-type]
vaefast.export(model, "served", to="onyx")  # type: ignore[arg-type]
vaefast.StageSettings(epochs=3, schedule="cosin")  # type: ignore[arg-type]
vae.fit(images, precision="fp17")  # type: ignore[arg-type]
vaefast.GAMIXVAE((3, 64, 64), width="wide")  # type: ignore[arg-type]
