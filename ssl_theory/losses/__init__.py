"""Contrastive losses and their pair weights, losses of features and inner products (T2, T4, T5, T13)."""

from ssl_theory.losses.contrastive import (
    ContrastiveLoss,
    InfoNCE,
    SimpleContrastive,
    SoftTriplet,
    half_squared_distances,
)
from ssl_theory.losses.covariance import covariance_loss, two_view_covariance_loss
from ssl_theory.losses.feature import (
    barlow_twins,
    cross_correlation_penalty,
    feature_covariance,
    invariance_penalty,
    off_diagonal_penalty,
    variance_penalty,
    vicreg,
    vicreg_penalty,
)
from ssl_theory.losses.in_batch import nt_xent
from ssl_theory.losses.spectral import spectral_contrastive, two_view_spectral_contrastive
from ssl_theory.losses.temperature import (
    OutputMoments,
    augmentation_temperature,
    output_moments,
    own_temperature,
)
from ssl_theory.losses.weights import leading_weights, mean_loss, mean_pair_weights

__all__ = [
    "ContrastiveLoss",
    "InfoNCE",
    "OutputMoments",
    "SimpleContrastive",
    "SoftTriplet",
    "augmentation_temperature",
    "barlow_twins",
    "covariance_loss",
    "cross_correlation_penalty",
    "feature_covariance",
    "half_squared_distances",
    "invariance_penalty",
    "leading_weights",
    "mean_loss",
    "mean_pair_weights",
    "nt_xent",
    "off_diagonal_penalty",
    "output_moments",
    "own_temperature",
    "spectral_contrastive",
    "two_view_covariance_loss",
    "two_view_spectral_contrastive",
    "variance_penalty",
    "vicreg",
    "vicreg_penalty",
]
