"""The covariance loss: a loss whose update is exactly the leading operator (T5).

    L_cov = −½ Σ_k E[ stopgrad(ξ̄_k) · ½‖f̄_L(x) − f̄_L(x'_k)‖² ]
    −∂L_cov/∂vec(W_l) = leading_operator · vec(W_l)

Training with it instead of InfoNCE isolates what the leading operator alone does: the full shared-weight
update of the original loss is twice that plus twice the residue.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.losses.contrastive import ContrastiveLoss, half_squared_distances, require_loss
from ssl_theory.losses.weights import leading_weights
from ssl_theory.validation import require_float_tensor, require_same_kind, require_two_views

__all__ = [
    "covariance_loss",
    "two_view_covariance_loss",
]


def covariance_loss(
    outputs: Float[Tensor, "N A n_L"], loss: ContrastiveLoss, negatives: int = 1
) -> Float[Tensor, ""]:
    """Return L_cov on a finite view set, exactly.

    Args:
        outputs: f_L of every view, shape (N, A, n_L), differentiable.
        loss: The loss whose ξ̄ is used.
        negatives: H, how many negatives an anchor has.

    Returns:
        A scalar; its gradient does not flow through ξ̄.

    Raises:
        TypeError: If the outputs are no float tensor, or the loss is none.
        ValueError: If the outputs have not three dimensions, or there are too many tuples to enumerate.
    """
    require_float_tensor("outputs", outputs)
    weights = leading_weights(outputs.detach(), loss, negatives)
    means = outputs.mean(1)
    return -0.5 * (weights * half_squared_distances(means, means)).sum()


def two_view_covariance_loss(
    first: Float[Tensor, "B n_L"],
    second: Float[Tensor, "B n_L"],
    loss: ContrastiveLoss | None = None,
    *,
    weights: Float[Tensor, "B B"] | None = None,
    in_batch: bool = False,
) -> Float[Tensor, ""]:
    """Return an estimate of L_cov for a batch with two independent views of each object.

    ‖f̄ − f̄'‖² is estimated by (f(x1) − f(x1'))·(f(x2) − f(x2')). With the exact ξ̄ in `weights` value and
    gradient are unbiased; with ξ̄ estimated from the means of the same two views both are biased, of
    second order in the strength of the augmentation.

    Args:
        first: f_L of one view of B ≥ 2 objects drawn independently.
        second: f_L of another view of the same objects.
        loss: The loss whose ξ̄ is estimated from the batch; not used if `weights` are given.
        weights: ξ̄(x_i, x_j) for all pairs, shape (B, B); the diagonal is not used.
        in_batch: Whether the other B − 1 objects of the batch serve as the H negatives of each anchor,
            as in practice, instead of one negative at a time.

    Returns:
        A scalar: the mean over anchors of −½ Σ_k ξ̄_k r̄_k, H = B − 1 if `in_batch`, else H = 1. Its
        gradient does not flow through ξ̄.

    Raises:
        TypeError: If an argument is no float tensor, dtypes differ, or the loss is none.
        ValueError: If shapes or devices differ, B < 2, or neither or both of `loss` and `weights` are given.
    """
    _check_batch(first, second, loss, weights)
    size = first.shape[0]
    others = 1.0 - torch.eye(size, dtype=first.dtype, device=first.device)
    if weights is None and loss is not None:
        weights = estimated_weights(first, second, loss, in_batch=in_batch)
    assert weights is not None
    inner = first @ second.mT
    own = inner.diagonal()
    r_bar = 0.5 * (own.unsqueeze(1) + own.unsqueeze(0) - inner - inner.mT)
    total = (weights.detach() * others * r_bar).sum() / size
    return -0.5 * total / (1 if in_batch else size - 1)


def estimated_weights(
    first: Float[Tensor, "B n_L"], second: Float[Tensor, "B n_L"], loss: ContrastiveLoss, *, in_batch: bool
) -> Float[Tensor, "B B"]:
    """Return ξ̄ as `two_view_covariance_loss` estimates it: from the distances of the means of two views.

    Args:
        first: f_L of one view of B ≥ 2 objects.
        second: f_L of another view of the same objects.
        loss: The loss whose ξ̄ is estimated.
        in_batch: Whether the other B − 1 objects are the negatives of each, instead of one at a time.

    Returns:
        ξ̄(x_i, x_j), 0 on the diagonal; no gradient flows through it.
    """
    means = 0.5 * (first + second).detach()
    size = means.shape[0]
    others = ~torch.eye(size, dtype=torch.bool, device=means.device)
    r_neg = half_squared_distances(means, means)[others].reshape(size, size - 1)
    rows = r_neg if in_batch else r_neg.reshape(-1, 1)
    xi = loss.pair_weights(torch.zeros_like(rows[:, 0]), rows)
    weights = means.new_zeros(size, size)
    weights[others] = xi.flatten()
    return weights


def _check_batch(first: Tensor, second: Tensor, loss: ContrastiveLoss | None, weights: Tensor | None) -> None:
    require_two_views(first, second)
    if (loss is None) == (weights is None):
        raise ValueError("give exactly one of loss and weights")
    if loss is not None:
        require_loss(loss)
    if weights is not None:
        require_float_tensor("weights", weights)
        require_same_kind("weights", weights, "first", first)
    if weights is not None and weights.shape != (first.shape[0],) * 2:
        raise ValueError(f"weights must have shape {(first.shape[0],) * 2}, got {tuple(weights.shape)}")
