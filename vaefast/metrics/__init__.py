"""Scores: samples or latents in, numbers out. Tensors on any device; accumulation in float64."""

from .classifier import (
    RECIPE,
    FeatureClassifier,
    classifier_accuracy,
    classifier_features,
    classifier_statistics,
    train_classifier,
)
from .classifier_cache import classifier_for
from .frechet import GaussianStatistics, frechet_distance, frechet_from_statistics
from .kernel_inception import KernelInceptionDistance, kid
from .latents import active_dimensions, reconstruction_error, singular_values
from .mmd import latent_mmd, mmd2_imq

__all__ = [
    "RECIPE",
    "FeatureClassifier",
    "GaussianStatistics",
    "KernelInceptionDistance",
    "active_dimensions",
    "classifier_accuracy",
    "classifier_features",
    "classifier_for",
    "classifier_statistics",
    "frechet_distance",
    "frechet_from_statistics",
    "kid",
    "latent_mmd",
    "mmd2_imq",
    "reconstruction_error",
    "singular_values",
    "train_classifier",
]
