"""Objectives: what is minimised and how samples are drawn. No optimizers, no files."""

from vaefast.models.player import Player
from vaefast.models.posterior import DiagonalGaussian
from vaefast.models.two_stage import TwoStageVAE
from vaefast.models.vae import VAE

__all__ = ["VAE", "DiagonalGaussian", "Player", "TwoStageVAE"]
