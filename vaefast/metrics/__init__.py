"""Scores: samples or latents in, numbers out. Tensors on any device; accumulation in float64."""

from .classifier import (
    RECIPE,
    FeatureClassifier,
    classifier_accuracy,
    classifier_features,
    classifier_statistics,
    train_classifier,
)
from .classifier_cache import classifier_for, exemplar_network_for
from .disentanglement import Dci, dci, mutual_information_gap, separated_attribute_predictability
from .exemplars import EXEMPLAR_RECIPE, train_exemplar_network
from .features import extract_features
from .fid import FrechetInception, FrechetInceptionDistance, fid, image_statistics
from .frechet import GaussianStatistics, frechet_distance, frechet_from_statistics
from .inception import Inception
from .inception_score import InceptionScore, InceptionScoreValue, inception_score
from .kernel_inception import KernelInception, KernelInceptionDistance, kernel_inception_distance, kid
from .kl_decomposition import KlDecomposition, kl_decomposition
from .latents import active_dimensions, posterior_spectrum, reconstruction_error, singular_values
from .likelihood_bound import LikelihoodBound, bits_per_dimension, importance_weighted_bound
from .mmd import latent_mmd, mmd2_imq
from .mutual_information import MutualInformation, mutual_information
from .named_extractor import NamedExtractor, named_extractor
from .neighbours import Coverage, precision_recall_density_coverage
from .pixel_variance import PixelVariance, pixel_variance, square_grid
from .sharpness import sharpness
from .sliced_wasserstein import sliced_wasserstein
from .statistics_file import read_statistics, write_statistics
from .tables import ImputationError, association_error, associations, column_distances, imputation_error, wasserstein1
from .two_sample import TwoSampleTest, classifier_test

__all__ = [
    "Coverage",
    "Dci",
    "EXEMPLAR_RECIPE",
    "FeatureClassifier",
    "FrechetInception",
    "FrechetInceptionDistance",
    "GaussianStatistics",
    "ImputationError",
    "Inception",
    "InceptionScore",
    "InceptionScoreValue",
    "KernelInception",
    "KernelInceptionDistance",
    "KlDecomposition",
    "LikelihoodBound",
    "MutualInformation",
    "NamedExtractor",
    "PixelVariance",
    "RECIPE",
    "TwoSampleTest",
    "active_dimensions",
    "association_error",
    "associations",
    "bits_per_dimension",
    "classifier_accuracy",
    "classifier_features",
    "classifier_for",
    "classifier_statistics",
    "classifier_test",
    "column_distances",
    "dci",
    "exemplar_network_for",
    "extract_features",
    "fid",
    "frechet_distance",
    "frechet_from_statistics",
    "image_statistics",
    "importance_weighted_bound",
    "imputation_error",
    "inception_score",
    "kernel_inception_distance",
    "kid",
    "kl_decomposition",
    "latent_mmd",
    "mmd2_imq",
    "mutual_information",
    "mutual_information_gap",
    "named_extractor",
    "pixel_variance",
    "posterior_spectrum",
    "precision_recall_density_coverage",
    "read_statistics",
    "reconstruction_error",
    "separated_attribute_predictability",
    "sharpness",
    "singular_values",
    "sliced_wasserstein",
    "square_grid",
    "train_classifier",
    "train_exemplar_network",
    "wasserstein1",
    "write_statistics",
]
