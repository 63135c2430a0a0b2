"""Covariance operators: what a contrastive loss does to the weights of one layer (T3–T6)."""

from ssl_theory.operators.dense import (
    between_variance,
    covariance_operator,
    expected_loss,
    leading_operator,
    residue,
    within_variance,
)
from ssl_theory.operators.modules import module_operator
from ssl_theory.operators.networks import WeightOperator, linear_operator
from ssl_theory.operators.spectra import gram_spectrum, top_eigenvalues

__all__ = [
    "WeightOperator",
    "between_variance",
    "covariance_operator",
    "expected_loss",
    "gram_spectrum",
    "leading_operator",
    "linear_operator",
    "module_operator",
    "residue",
    "top_eigenvalues",
    "within_variance",
]
