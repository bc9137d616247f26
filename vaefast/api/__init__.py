"""The models as users meet them: built from a few arguments, with fit, save and load."""

from vaefast.api.base import Model
from vaefast.api.biggan import BigGAN, BigGANVAE
from vaefast.api.gamix import GAMIXVAE
from vaefast.api.gan import GAN
from vaefast.api.general import GeneralVAE
from vaefast.api.images import ImageAutoencoder, ImageModel
from vaefast.api.loading import MODELS, from_pretrained, load
from vaefast.api.second_stage import SecondStage
from vaefast.api.sequential import SequentialVAE
from vaefast.api.table import TableVAE
from vaefast.api.two_stage import TwoStageVAE
from vaefast.api.vae import VAE
from vaefast.api.wae import WAE

__all__ = ["GAMIXVAE", "GAN", "MODELS", "VAE", "WAE", "BigGAN", "BigGANVAE", "GeneralVAE", "ImageAutoencoder", "ImageModel",
           "Model", "SecondStage", "SequentialVAE", "TableVAE", "TwoStageVAE", "from_pretrained", "load"]
