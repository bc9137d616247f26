"""Objectives: what is minimised and how samples are drawn. No files, and no optimizers but the WAE encoder's pretraining."""

from vaefast.models.biggan import BigGAN
from vaefast.models.gan import GAN
from vaefast.models.infusion import InfusionChain
from vaefast.models.latents import Latents, as_latents
from vaefast.models.player import Player
from vaefast.models.posterior import DiagonalGaussian, FlowPosterior, PointMass
from vaefast.models.samplers import Mixture, Prior, Sampler
from vaefast.models.sequential import SequentialVAE
from vaefast.models.two_stage import TwoStageVAE
from vaefast.models.vae import VAE
from vaefast.models.wae import WAE
from vaefast.models.wae_pretrain import pretrain_encoder

__all__ = ["GAN", "VAE", "WAE", "BigGAN", "DiagonalGaussian", "FlowPosterior", "InfusionChain", "Latents", "Mixture", "Player",
           "PointMass", "Prior", "Sampler", "SequentialVAE", "TwoStageVAE", "as_latents", "pretrain_encoder"]
