"""Objectives: what is minimised and how samples are drawn. No optimizers, no files."""

from vaefast.models.latents import Latents, as_latents
from vaefast.models.player import Player
from vaefast.models.posterior import DiagonalGaussian
from vaefast.models.samplers import Mixture, Prior, Sampler
from vaefast.models.two_stage import TwoStageVAE
from vaefast.models.vae import VAE

__all__ = ["VAE", "DiagonalGaussian", "Latents", "Mixture", "Player", "Prior", "Sampler", "TwoStageVAE", "as_latents"]
