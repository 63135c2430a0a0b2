"""Contrastive losses, how they weight pairs of views, and the covariance loss (T2, T4, T5)."""

from ssl_theory.losses.contrastive import (
    ContrastiveLoss,
    InfoNCE,
    SimpleContrastive,
    SoftTriplet,
    half_squared_distances,
)
from ssl_theory.losses.covariance import covariance_loss, two_view_covariance_loss
from ssl_theory.losses.in_batch import nt_xent
from ssl_theory.losses.weights import leading_weights, mean_loss, mean_pair_weights

__all__ = [
    "ContrastiveLoss",
    "InfoNCE",
    "SimpleContrastive",
    "SoftTriplet",
    "covariance_loss",
    "half_squared_distances",
    "leading_weights",
    "mean_loss",
    "mean_pair_weights",
    "nt_xent",
    "two_view_covariance_loss",
]
