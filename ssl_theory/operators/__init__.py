"""Covariance operators: what a contrastive loss does to the weights of one layer (T3–T6)."""

from ssl_theory.operators.dense import (
    between_variance,
    covariance_operator,
    expected_loss,
    leading_operator,
    residue,
    within_variance,
)

__all__ = [
    "between_variance",
    "covariance_operator",
    "expected_loss",
    "leading_operator",
    "residue",
    "within_variance",
]
