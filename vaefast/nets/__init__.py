
"""Architectures as `nn.Module`s: tensors in, tensors out; no losses, no sampling.

An encoder returns `(mu, raw)` and says in its attribute `scale_param` how `raw` gives the posterior's standard
deviation s ("logvar", "logstd" or "softplus": s = 1e-6 + softplus(raw)); with `deterministic=True` it has one head and
returns mu alone. A decoder says in its attribute `output` what it returns: "logits" (the image is their sigmoid), "image"
or "linear". An autoregressive decoder (`autoregressive = True`) is called with the image, too, and draws one by `generate`.

A generator is a decoder; its attribute `image_range` says where its images lie, (0, 1) or (-1, 1). A discriminator returns
a logit [B, 1]; one that looks at every image by itself, but for layers `BatchNorm`, says so with an attribute `rowwise = True`,
which lets real and fake images pass it together.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from vaefast.nets.adversary import LatentAdversary
from vaefast.nets.biggan import BigGANDiscriminator, BigGANEncoder, BigGANGenerator, biggan_decoder
from vaefast.nets.conditional import ConditionalDecoder, ConditionalEncoder, told_codes, told_shape
from vaefast.nets.flows import FLOWS, Flow, InverseAutoregressiveFlow, PlanarFlow, RadialFlow
from vaefast.nets.gamix import GAMIXDecoder, GAMIXEncoder
from vaefast.nets.gan import BEGANDiscriminator, InfoGANDiscriminator, InfoGANGenerator
from vaefast.nets.global_batch import use_global_batch
from vaefast.nets.hinrichsen_vae import HinrichsenDecoder, HinrichsenEncoder
from vaefast.nets.infogan import InfoGANDecoder, InfoGANEncoder
from vaefast.nets.layers import BatchNorm
from vaefast.nets.patchgan import PatchGAN
from vaefast.nets.pixelcnn import GatedPixelCNN, PixelCNNPlusPlus
from vaefast.nets.residual import ResidualDecoder, ResidualEncoder
from vaefast.nets.residual_grids import ResidualGridDecoder, ResidualGridEncoder
from vaefast.nets.residual_vectors import ResidualVectorDecoder, ResidualVectorEncoder
from vaefast.nets.resnet import ResNetDecoder, ResNetEncoder
from vaefast.nets.same import SameConv2d, SameConvTranspose2d
from vaefast.nets.second_stage import SecondStageDecoder, SecondStageEncoder
from vaefast.nets.sequential import LatentPredictor, SequentialDecoder, SequentialEncoder
from vaefast.nets.stacked import StackedDecoder, StackedEncoder
from vaefast.nets.velocity import VelocityNet
from vaefast.nets.velocity_maps import VelocityMaps
from vaefast.nets.wae import WAEDecoder, WAEEncoder, stride2_decoder, stride2_encoder
from vaefast.nets.weight_norm import initialise_from_data
from vaefast.nets.zhao import ZhaoEncoder, zhao_cifar_encoder

__all__ = ["FLOWS", "NETS", "SPATIAL", "BEGANDiscriminator", "BatchNorm", "BigGANDiscriminator", "BigGANEncoder",
           "BigGANGenerator", "ConditionalDecoder", "ConditionalEncoder", "Flow", "GAMIXDecoder", "GAMIXEncoder", "GatedPixelCNN",
           "HinrichsenDecoder", "HinrichsenEncoder", "InfoGANDecoder", "InfoGANDiscriminator", "InfoGANEncoder",
           "InfoGANGenerator", "InverseAutoregressiveFlow", "LatentAdversary", "LatentPredictor", "PatchGAN", "PixelCNNPlusPlus",
           "PlanarFlow", "RadialFlow", "ResNetDecoder", "ResNetEncoder", "ResidualDecoder", "ResidualEncoder",
           "ResidualGridDecoder", "ResidualGridEncoder", "ResidualVectorDecoder", "ResidualVectorEncoder", "SameConv2d",
           "SameConvTranspose2d", "SecondStageDecoder", "SecondStageEncoder", "SequentialDecoder", "SequentialEncoder",
           "StackedDecoder", "StackedEncoder", "VelocityMaps", "VelocityNet", "WAEDecoder", "WAEEncoder", "ZhaoEncoder",
           "initialise_from_data", "nets_for", "told_codes", "told_shape", "use_global_batch", "zhao_cifar_encoder"]

NetsName = Literal["infogan", "infogan-stacked", "wae", "wae-stride2", "resnet", "biggan", "biggan-deep", "hinrichsen", "gamix",
                   "residual"]
NETS = {"infogan": (InfoGANEncoder, InfoGANDecoder), "infogan-stacked": (StackedEncoder, StackedDecoder),
        "wae": (WAEEncoder, WAEDecoder),
        "wae-stride2": (stride2_encoder, stride2_decoder), "resnet": (ResNetEncoder, ResNetDecoder),
        "biggan": (partial(BigGANEncoder, arch="normal"), partial(biggan_decoder, arch="normal")),
        "biggan-deep": (BigGANEncoder, biggan_decoder), "hinrichsen": (HinrichsenEncoder, HinrichsenDecoder),
        "gamix": (GAMIXEncoder, GAMIXDecoder), "residual": (ResidualEncoder, ResidualDecoder)}
"""Encoder and decoder by name; each is built from (image_shape, latent_dim) and takes its own options by name.

Every encoder knows `deterministic`. "infogan-stacked" is "infogan" with the second stage's networks on it. "wae" is Dai & Wipf's
version of the WAE networks, "wae-stride2" Tolstikhin et al.'s own. "biggan" and "biggan-deep" are BigGAN's discriminator and
generator as encoder and decoder, "hinrichsen" Hinrichsen's own VAE.
"""
SPATIAL = ("residual",)
"""Those that take a latent_dim of (c, h, w), too: maps of codes, which are flat outside."""
_GRIDS = {"residual": (ResidualGridEncoder, ResidualGridDecoder)}
_OTHERS: dict[int, Mapping[str, Any]] = {
    1: {"residual": (ResidualVectorEncoder, ResidualVectorDecoder)}, 2: _GRIDS, 4: _GRIDS}
"""Networks by name for examples of so many sizes: vectors, sequences and volumes."""


def nets_for(shape: tuple[int, ...]) -> Mapping[str, Any]:
    """Encoder and decoder by name for examples of a shape: `NETS` of images (C, H, W), "residual" of vectors (D,), sequences
    (C, L) and volumes (C, D, H, W), and none of other shapes."""
    return NETS if len(shape) == 3 else _OTHERS.get(len(shape), {})
