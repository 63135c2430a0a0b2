"""How alike two networks' features are, and how alike two vectors are of which only noisy copies are known.

Sources: CKA, Kornblith, Norouzi, Lee and Hinton, arXiv:1905.00414; its unbiased estimate of HSIC, Song and
others, Journal of Machine Learning Research 13 (2012).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.validation import (
    require_finite,
    require_float_tensor,
    require_integer,
    require_rank,
    require_same_kind,
)

__all__ = ["Agreement", "linear_cka", "split_agreement", "subspace_similarity"]


def linear_cka(first: Float[Tensor, "N n"], second: Float[Tensor, "N m"]) -> float:
    """Return linear CKA of two networks' features of the same objects, from unbiased estimates of HSIC.

    Without them independent features would have a CKA that grows with their width over N.

    Args:
        first: Features of N ≥ 4 objects drawn independently.
        second: Features of the same objects, of any width.

    Returns:
        1 for features that agree up to a rotation, a shift and a scale, and near 0, from either side, for
        features that are independent; NaN where all features of a network agree.

    Raises:
        TypeError: If the features are no float tensors of one dtype.
        ValueError: If they have not two dimensions, their numbers of objects or devices differ, there are
            fewer than four objects, or a feature is not finite.

    Example:
        >>> x = torch.arange(12.0).reshape(6, 2) ** 2
        >>> round(linear_cka(x, 3 * x.flip(1) + 1), 6)
        1.0
    """
    one, other = _checked(first, second, least=4)
    grams = [z @ z.mT for z in (one, other)]
    for gram in grams:
        gram.fill_diagonal_(0.0)
    own = _hsic(grams[0], grams[0]), _hsic(grams[1], grams[1])
    if min(own) <= 0:
        return math.nan
    return _hsic(*grams) / math.sqrt(own[0] * own[1])


def subspace_similarity(first: Float[Tensor, "N n"], second: Float[Tensor, "N m"], k: int) -> float:
    """Return the mean squared cosine of the angles between the leading k principal subspaces of features.

    The subspaces are those of the objects, spanned by the k leading principal components of either network.

    Args:
        first: Features of N ≥ 2 objects.
        second: Features of the same objects, of any width.
        k: Principal components, at most the rank of either.

    Returns:
        1 if the subspaces agree; k/(N − 1) is expected of two random ones.

    Raises:
        TypeError: If the features are no float tensors of one dtype, or k is no integer.
        ValueError: If shapes or devices do not fit, a feature is not finite, or k is out of range.

    Example:
        >>> x = torch.eye(4, 2)
        >>> round(subspace_similarity(x, x @ torch.tensor([[1.0, 2.0], [0.0, 1.0]]), 2), 6)
        1.0
    """
    values = _checked(first, second, least=2)
    bases = []
    for z in values:
        u, s, _ = torch.linalg.svd(z, full_matrices=False)
        rank = int((s > 1e-6 * s[0]).sum())
        bases.append(u[:, : require_integer("k", k, 1, rank)])
    return float((bases[0].mT @ bases[1]).square().sum() / k)


class Agreement(NamedTuple):
    """How alike two vectors are.

    Attributes:
        cosine: Of the angle between them.
        length: Of the second over that of the first.
    """

    cosine: float
    length: float


def split_agreement(first: Float[Tensor, "2 D"], second: Float[Tensor, "2 D"]) -> Agreement:
    """Return cosine and relative length of two vectors u and a from two noisy copies of each.

    Copies u_1, u_2, a_1, a_2 with independent noise of mean 0 have E u_i·a_j = u·a, E u_1·u_2 = ‖u‖² and
    E a_1·a_2 = ‖a‖²: noise makes none of the products larger or smaller. Their ratios are biased, of second
    order in the standard errors over the products, and a cosine can come out above 1.

    Args:
        first: u_1 and u_2.
        second: a_1 and a_2.

    Returns:
        u·a/‖u‖‖a‖ and ‖a‖/‖u‖; NaN where an estimate of a square is not positive: the noise is too large.

    Raises:
        TypeError: If the copies are no float tensors of one dtype.
        ValueError: If shapes or devices differ, or there are not two copies.

    Example:
        >>> u, noise = torch.tensor([3.0, 4.0, 0.0]), torch.tensor([0.0, 0.0, 9.0])
        >>> split_agreement(torch.stack([u + noise, u]), torch.stack([2 * u, 2 * u]))
        Agreement(cosine=1.0, length=2.0)
    """
    require_float_tensor("first", first)
    require_float_tensor("second", second)
    require_same_kind("second", second, "first", first)
    if first.ndim != 2 or len(first) != 2 or first.shape != second.shape:
        shapes = tuple(first.shape), tuple(second.shape)
        raise ValueError(f"first and second must both have shape (2, D), got {shapes[0]} and {shapes[1]}")
    u, a = first.double(), second.double()
    squares = float(u[0] @ u[1]), float(a[0] @ a[1])
    if min(squares) <= 0:
        return Agreement(math.nan, math.nan)
    product = float((u @ a.mT).mean())
    return Agreement(product / math.sqrt(squares[0] * squares[1]), math.sqrt(squares[1] / squares[0]))


def _hsic(one: Tensor, other: Tensor) -> float:
    """Return the unbiased estimate of HSIC from Gram matrices with 0 on the diagonal, up to N(N − 3)."""
    n = len(one)
    whole = one.sum() * other.sum() / ((n - 1) * (n - 2))
    return float((one * other).sum() + whole - 2.0 / (n - 2) * (one.sum(0) @ other.sum(0)))


def _checked(first: Tensor, second: Tensor, *, least: int) -> tuple[Tensor, Tensor]:
    """Return the features centred, in float64, after checking them."""
    for name, features in (("first", first), ("second", second)):
        require_float_tensor(name, features)
        require_rank(name, features, 2, "(N, n)")
        require_finite(name, features)
    require_same_kind("second", second, "first", first)
    if len(first) != len(second) or len(first) < least:
        raise ValueError(
            f"first and second must hold the same objects, at least {least}, "
            f"got {len(first)} and {len(second)}"
        )
    one, other = (z.double() - z.double().mean(0) for z in (first, second))
    return one, other
