"""Covariance operators: what a contrastive loss does to the weights of one layer (T3–T6, T12)."""

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
from ssl_theory.operators.modules import operator_layers
from ssl_theory.operators.overlap import Explained, explained_update, overlap, predicted_overlap

__all__ = [
    "Eigenpairs",
    "Explained",
    "WeightOperator",
    "between_variance",
    "covariance_operator",
    "expected_loss",
    "explained_update",
    "leading_operator",
    "operator",
    "operator_layers",
    "overlap",
    "predicted_overlap",
    "residue",
    "within_variance",
]
