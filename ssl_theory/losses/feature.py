"""Losses of the covariance of features: VICReg and Barlow Twins (T13).

Both compare two views whose features are centred view by view. They are sums of a function of the joint
covariance of both views' features and, in VICReg, of a mean squared distance.

Sources: VICReg, Bardes, Ponce and LeCun, arXiv:2105.04906, equations (1) to (6); Barlow Twins, Zbontar, Jing,
Misra, LeCun and Deny, arXiv:2103.03230, equations (1) and (2). Where the published programs normalise
differently, the functions say so.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.validation import (
    require_float_tensor,
    require_integer,
    require_outputs,
    require_real,
    require_two_views,
)

__all__ = [
    "barlow_twins",
    "cross_correlation_penalty",
    "feature_covariance",
    "invariance_penalty",
    "off_diagonal_penalty",
    "variance_penalty",
    "vicreg",
    "vicreg_penalty",
]

Joint = Float[Tensor, "d d"]


def feature_covariance(
    outputs: Float[Tensor, "N A n_L"], *, branches: bool = False
) -> Float[Tensor, "features features"]:
    """Return the covariance of the features, divided by their number: no correction for the mean.

    Args:
        outputs: f_L of every view, shape (N, A, n_L).
        branches: False for the covariance over all N·A views, (n_L, n_L); True for that over objects of the
            features of all views side by side, (A·n_L, A·n_L), each view centred by itself.

    Returns:
        The covariance.

    Raises:
        TypeError: If the outputs are no float tensor.
        ValueError: If they have not three dimensions, or one of them is 0.

    Example:
        >>> feature_covariance(torch.tensor([[[1.0], [3.0]], [[3.0], [5.0]]]), branches=True)
        tensor([[1., 1.],
                [1., 1.]])
    """
    require_outputs("outputs", outputs)
    rows = outputs.flatten(1) if branches else outputs.flatten(0, 1)
    centred = rows - rows.mean(0)
    return centred.mT @ centred / len(rows)


def variance_penalty(
    covariance: Float[Tensor, "n n"], target: float = 1.0, epsilon: float = 1e-4
) -> Float[Tensor, ""]:
    """Return VICReg's variance term, (1/n) Σ_j max(0, γ − √(C_jj + ε)): equations (1) and (2).

    Args:
        covariance: C, shape (n, n).
        target: γ.
        epsilon: ε, not negative.

    Returns:
        A scalar.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If C is not square, or ε is negative.

    Example:
        >>> float(variance_penalty(torch.diag(torch.tensor([0.25, 4.0])), epsilon=0.0))
        0.25
    """
    _require_square(covariance)
    target, epsilon = require_real("target", target), _require_epsilon(epsilon)
    return (target - (covariance.diagonal() + epsilon).sqrt()).clamp(min=0).mean()


def off_diagonal_penalty(covariance: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Return VICReg's covariance term, (1/n) Σ_{i≠j} C_ij²: equation (4).

    Args:
        covariance: C, shape (n, n).

    Returns:
        A scalar.

    Raises:
        TypeError: If C is no float tensor.
        ValueError: If it is not square.

    Example:
        >>> float(off_diagonal_penalty(torch.tensor([[9.0, 2.0], [2.0, 9.0]])))
        4.0
    """
    _require_square(covariance)
    return _without_diagonal(covariance).square().sum() / len(covariance)


def invariance_penalty(outputs: Float[Tensor, "N 2 n_L"]) -> Float[Tensor, ""]:
    """Return VICReg's invariance term, the mean of ‖f − g‖² over objects with views f and g: equation (5).

    Args:
        outputs: f_L of two views of each object, shape (N, 2, n_L).

    Returns:
        A scalar.

    Raises:
        TypeError: If the outputs are no float tensor.
        ValueError: If their shape is another.
    """
    require_float_tensor("outputs", outputs)
    if outputs.ndim != 3 or outputs.shape[1] != 2 or 0 in outputs.shape:
        raise ValueError(f"outputs must have shape (N, 2, n_L) without zeros, got {tuple(outputs.shape)}")
    return (outputs[:, 0] - outputs[:, 1]).square().sum(-1).mean()


def vicreg_penalty(
    covariance: Joint,
    size: int,
    *,
    variance: float = 25.0,
    cross: float = 1.0,
    target: float = 1.0,
    epsilon: float = 1e-4,
) -> Float[Tensor, ""]:
    """Return the part of `vicreg` that depends on the covariance of the features.

    Args:
        covariance: Of both views side by side, shape (2n, 2n), divided by B.
        size: B, at least 2; VICReg divides by B − 1.
        variance: μ, weight of the variance terms.
        cross: ν, weight of the covariance terms.
        target: γ.
        epsilon: ε, not negative.

    Returns:
        A scalar.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If C is not square with an even number of rows, or a number is out of range.
    """
    size = require_integer("size", size, 2)
    variance, cross = require_real("variance", variance), require_real("cross", cross)
    (first, _), (_, second) = _branches(covariance * (size / (size - 1)))
    spreads = variance_penalty(first, target, epsilon) + variance_penalty(second, target, epsilon)
    return variance * spreads + cross * (off_diagonal_penalty(first) + off_diagonal_penalty(second))


def vicreg(
    first: Float[Tensor, "B n_L"],
    second: Float[Tensor, "B n_L"],
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    cross: float = 1.0,
    target: float = 1.0,
    epsilon: float = 1e-4,
) -> Float[Tensor, ""]:
    """Return VICReg of a batch of two views: equation (6), with the weights of the paper.

    Variances and covariances are divided by B − 1. The published program divides the invariance term by
    n_L as well, and halves the sum of the two variance terms: its value is this one with
    `invariance=25 / n_L` and `variance=12.5`.

    Args:
        first: f_L of one view of B ≥ 2 objects.
        second: f_L of another view of the same objects.
        invariance: λ, weight of the mean squared distance of the two views.
        variance: μ, weight of `variance_penalty`, for each view.
        cross: ν, weight of `off_diagonal_penalty`, for each view.
        target: γ, the standard deviation beyond which a feature is let alone.
        epsilon: ε, not negative.

    Returns:
        A scalar.

    Raises:
        TypeError: If an argument is of the wrong type, or dtypes differ.
        ValueError: If shapes or devices differ, B < 2, or a number is out of range.
    """
    size = require_two_views(first, second)
    outputs = torch.stack([first, second], 1)
    penalty = vicreg_penalty(
        feature_covariance(outputs, branches=True),
        size,
        variance=variance,
        cross=cross,
        target=target,
        epsilon=epsilon,
    )
    return require_real("invariance", invariance) * invariance_penalty(outputs) + penalty


def cross_correlation_penalty(
    covariance: Joint, weight: float = 5e-3, epsilon: float = 1e-5
) -> Float[Tensor, ""]:
    """Return Σ_i (1 − R_ii)² + λ Σ_{i≠j} R_ij², R the correlations of one view's features with the other's.

    Args:
        covariance: Of both views side by side, shape (2n, 2n); its scale cancels where ε = 0.
        weight: λ.
        epsilon: ε, not negative, added to each variance.

    Returns:
        A scalar.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If C is not square with an even number of rows, or ε is negative.
    """
    weight, epsilon = require_real("weight", weight), _require_epsilon(epsilon)
    (own, cross), (_, other) = _branches(covariance)
    scale = (own.diagonal() + epsilon).sqrt().unsqueeze(1) * (other.diagonal() + epsilon).sqrt()
    correlation = cross / scale
    on_diagonal = (1 - correlation.diagonal()).square().sum()
    return on_diagonal + weight * _without_diagonal(correlation).square().sum()


def barlow_twins(
    first: Float[Tensor, "B n_L"],
    second: Float[Tensor, "B n_L"],
    *,
    weight: float = 5e-3,
    epsilon: float = 1e-5,
) -> Float[Tensor, ""]:
    """Return the loss of Barlow Twins of a batch of two views: equations (1) and (2).

    The published program normalises by BatchNorm, which adds ε = 10⁻⁵ to each variance; in equation (2)
    ε = 0. The program's default λ is 5.1·10⁻³, the paper's 5·10⁻³.

    Args:
        first: f_L of one view of B ≥ 2 objects.
        second: f_L of another view of the same objects.
        weight: λ, weight of the correlations between different features.
        epsilon: ε, not negative.

    Returns:
        A scalar.

    Raises:
        TypeError: If an argument is of the wrong type, or dtypes differ.
        ValueError: If shapes or devices differ, B < 2, or ε is negative.
    """
    require_two_views(first, second)
    covariance = feature_covariance(torch.stack([first, second], 1), branches=True)
    return cross_correlation_penalty(covariance, weight, epsilon)


def _without_diagonal(matrix: Tensor) -> Tensor:
    return matrix - torch.diag(matrix.diagonal())


def _branches(covariance: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the four blocks of the covariance of two views side by side."""
    _require_square(covariance)
    if len(covariance) % 2:
        raise ValueError(f"covariance must have 2n rows, n for each view, got {len(covariance)}")
    (a, b), (c, d) = (half.chunk(2, 1) for half in covariance.chunk(2, 0))
    return (a, b), (c, d)


def _require_square(covariance: Tensor) -> None:
    require_float_tensor("covariance", covariance)
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1] or not len(covariance):
        raise ValueError(f"covariance must be a square matrix, got shape {tuple(covariance.shape)}")


def _require_epsilon(epsilon: float) -> float:
    value = require_real("epsilon", epsilon)
    if value < 0:
        raise ValueError(f"epsilon must not be negative, got {value}")
    return value
