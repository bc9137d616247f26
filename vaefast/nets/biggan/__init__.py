"""BigGAN and BigGAN-deep, as Hinrichsen built them for small images and as Brock et al. did; encoders and decoders of them."""

from vaefast.nets.biggan.discriminator import BigGANDiscriminator, BigGANEncoder
from vaefast.nets.biggan.generator import BigGANGenerator, biggan_decoder

__all__ = ["BigGANDiscriminator", "BigGANEncoder", "BigGANGenerator", "biggan_decoder"]
