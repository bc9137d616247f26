"""Objectives: what is minimised and how samples are drawn. No files, and no optimizers but the WAE encoder's pretraining."""

from vaefast.models.adversarial import ImageAdversary
from vaefast.models.biggan import BigGAN
from vaefast.models.chains import chain
from vaefast.models.column_likelihoods import ColumnLikelihoods
from vaefast.models.copula import GaussianCopula
from vaefast.models.families import FAMILIES, Family, make_family
from vaefast.models.flow_matching import FlowMatching
from vaefast.models.gamix import GAMIXVAE
from vaefast.models.gan import GAN
from vaefast.models.general import GeneralVAE
from vaefast.models.global_moments import GlobalMoments
from vaefast.models.infusion import InfusionChain
from vaefast.models.latents import Latents, as_latents
from vaefast.models.perceptual import PerceptualLoss
from vaefast.models.player import Player
from vaefast.models.posterior import DiagonalGaussian, FlowPosterior, PointMass, Posterior
from vaefast.models.regularizers import REGULARIZERS, Regularizer, make_regularizer
from vaefast.models.samplers import Mixture, Prior, Sampler
from vaefast.models.sequential import SequentialVAE
from vaefast.models.standardiser import Standardiser
from vaefast.models.table_vae import TableVAE
from vaefast.models.two_stage import TwoStageVAE
from vaefast.models.vae import VAE
from vaefast.models.wae import WAE
from vaefast.models.wae_pretrain import pretrain_encoder
from vaefast.models.weighted_term import WeightedTerm

__all__ = ["FAMILIES", "GAMIXVAE", "GAN", "REGULARIZERS", "VAE", "WAE", "BigGAN", "ColumnLikelihoods", "DiagonalGaussian",
           "Family", "FlowMatching", "FlowPosterior", "GaussianCopula", "GeneralVAE", "GlobalMoments", "ImageAdversary",
           "InfusionChain", "Latents", "Mixture", "PerceptualLoss", "Player", "PointMass", "Posterior", "Prior", "Regularizer",
           "Sampler", "SequentialVAE", "Standardiser", "TableVAE", "TwoStageVAE", "as_latents", "chain", "make_family",
           "make_regularizer", "pretrain_encoder", "WeightedTerm"]
