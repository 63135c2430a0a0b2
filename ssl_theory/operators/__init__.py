"""Covariance operators: what a loss of outputs does to the weights of one layer (T3–T6, T12, T13)."""

from ssl_theory.operators.interface import (
    Eigenpairs,
    WeightOperator,
    between_variance,
    covariance_operator,
    expected_loss,
    leading_operator,
    operator,
    residue,
    within_variance,
)
from ssl_theory.operators.linearised import Linearised, linearise
from ssl_theory.operators.modules import operator_layers, refused_layers
from ssl_theory.operators.output_losses import OutputLoss, feature_weights, sample_weights
from ssl_theory.operators.overlap import (
    Explained,
    cosine,
    explained_update,
    overlap,
    predicted_overlap,
    random_target,
)

__all__ = [
    "Eigenpairs",
    "Explained",
    "Linearised",
    "OutputLoss",
    "WeightOperator",
    "between_variance",
    "cosine",
    "covariance_operator",
    "expected_loss",
    "explained_update",
    "feature_weights",
    "leading_operator",
    "linearise",
    "operator",
    "operator_layers",
    "overlap",
    "predicted_overlap",
    "random_target",
    "refused_layers",
    "residue",
    "sample_weights",
    "within_variance",
]
