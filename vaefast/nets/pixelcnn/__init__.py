"""Autoregressive decoders: p(x|z) pixel by pixel, with fast sampling.

Each has `forward(z, x) -> raw`, for the likelihood of given images, and `generate(z, generator, uniforms) -> x`, which draws
new ones at the cost of one column of activations a pixel.
"""

from vaefast.nets.pixelcnn.gated import GatedPixelCNN
from vaefast.nets.pixelcnn.plus_plus import PixelCNNPlusPlus

__all__ = ["GatedPixelCNN", "PixelCNNPlusPlus"]
