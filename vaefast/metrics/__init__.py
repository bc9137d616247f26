"""Scores: samples or latents in, numbers out. Tensors on any device; accumulation in float64."""

from .classifier import (
    RECIPE,
    FeatureClassifier,
    classifier_accuracy,
    classifier_features,
    classifier_statistics,
    train_classifier,
)
from .frechet import GaussianStatistics, frechet_distance, frechet_from_statistics

__all__ = [
    "RECIPE",
    "FeatureClassifier",
    "GaussianStatistics",
    "classifier_accuracy",
    "classifier_features",
    "classifier_statistics",
    "frechet_distance",
    "frechet_from_statistics",
    "train_classifier",
]
