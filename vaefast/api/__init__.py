"""The models as users meet them: built from a few arguments, with fit, save and load."""

from vaefast.api.base import Model
from vaefast.api.general import GeneralVAE
from vaefast.api.images import ImageModel
from vaefast.api.load import MODELS, load
from vaefast.api.second_stage import SecondStage
from vaefast.api.two_stage import TwoStageVAE
from vaefast.api.vae import VAE
from vaefast.api.wae import WAE

__all__ = ["MODELS", "VAE", "WAE", "GeneralVAE", "ImageModel", "Model", "SecondStage", "TwoStageVAE", "load"]
