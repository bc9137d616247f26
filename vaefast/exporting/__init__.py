"""Models as files that other programs run (ONNX, torch.export, safetensors), and in the place of diffusers' AutoencoderKL."""

from vaefast.exporting.autoencoder_kl import as_autoencoder_kl
from vaefast.exporting.job import Export, export

__all__ = ["Export", "as_autoencoder_kl", "export"]
