"""How a loss weights pairs, averaged over everything that is drawn (T4, T5)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.losses.contrastive import ContrastiveLoss, half_squared_distances, require_loss
from ssl_theory.validation import require_integer, require_outputs

__all__ = [
    "leading_weights",
    "mean_loss",
    "mean_pair_weights",
]

_MAX_EVALUATIONS = 2**29
_CHUNK = 2**21


def leading_weights(
    outputs: Float[Tensor, "N A n_L"], loss: ContrastiveLoss, negatives: int = 1
) -> Float[Tensor, "N N"]:
    """Return the weights of pairs of objects: E[Σ_k ξ̄_k; x'_k = j]/N, with ξ̄ at r+ = 0 and r- = r̄.

    Args:
        outputs: f_L of every view, shape (N, A, n_L).
        loss: The loss whose ξ is used.
        negatives: H, how many negatives an anchor has.

    Returns:
        Shape (N, N).

    Raises:
        TypeError: If the outputs are no float tensor, or the loss is none.
        ValueError: If the outputs have not three dimensions, or there are too many tuples to enumerate.
    """
    require_outputs("outputs", outputs)
    means = outputs.mean(1)
    r_neg = half_squared_distances(means, means)
    _, neg = mean_pair_weights(loss, torch.zeros_like(r_neg[:, :1]), r_neg, negatives)
    return neg / means.shape[0]


def mean_loss(
    outputs: Float[Tensor, "N A n_L"], loss: ContrastiveLoss, negatives: int = 1
) -> Float[Tensor, ""]:
    """Return E[L(r+, r-_1 … r-_H)] over all objects and views, differentiable in their outputs.

    Args:
        outputs: f_L of every view, shape (N, A, n_L).
        loss: The loss.
        negatives: H, all (N·A)^H tuples are enumerated.

    Returns:
        A scalar.

    Raises:
        TypeError: If the outputs are no float tensor, or `negatives` is not an integer.
        ValueError: If the outputs have not three dimensions, or there are too many tuples to enumerate.
    """
    require_outputs("outputs", outputs)
    r_pos, r_neg = view_distances(outputs)
    tuples = _negative_tuples(r_pos, r_neg, negatives)
    sums = [loss(pos, neg).sum() for _, pos, neg in _enumerate_losses(r_pos, r_neg, tuples)]
    return torch.stack(sums).sum() / (r_pos.numel() * tuples.shape[0])


def mean_pair_weights(
    loss: ContrastiveLoss, r_pos: Float[Tensor, "P A"], r_neg: Float[Tensor, "P Q"], negatives: int = 1
) -> tuple[Float[Tensor, "P A"], Float[Tensor, "P Q"]]:
    """Average the pair weights over everything drawn: the positive, and H independent negatives out of Q.

    Args:
        loss: The loss whose ξ is averaged.
        r_pos: Distance from each of P anchors to each of its A possible positives.
        r_neg: Distance from each anchor to each of the Q possible negatives.
        negatives: H, all Q^H tuples are enumerated.

    Returns:
        E[Σ_k ξ_k; positive = b], shape (P, A), and E[Σ_k ξ_k; x-_k = q], shape (P, Q): per anchor,
        each sums to E Σ_k ξ_k.

    Raises:
        TypeError: If the loss is none.
        ValueError: If the enumeration would take more than 2^29 evaluations.
    """
    require_loss(loss)
    pos, neg = torch.zeros_like(r_pos), torch.zeros_like(r_neg)
    tuples = _negative_tuples(r_pos, r_neg, negatives)
    for anchors, flat_pos, flat_neg in _enumerate_losses(r_pos, r_neg, tuples):
        xi = loss.pair_weights(flat_pos, flat_neg).reshape(-1, r_pos.shape[1], *tuples.shape)
        pos[anchors] = xi.sum((-1, -2))
        for k in range(tuples.shape[1]):
            neg[anchors] = neg[anchors].index_add(1, tuples[:, k], xi[..., k].sum(1))
    count = r_pos.shape[1] * tuples.shape[0]
    return pos / count, neg / count


def _negative_tuples(r_pos: Tensor, r_neg: Tensor, negatives: int) -> Tensor:
    """Return all tuples of H indices into Q negatives, shape (Q^H, H).

    Raises:
        TypeError: If `negatives` is not an integer.
        ValueError: If it is less than 1, or P·A·Q^H·H exceeds 2^29.
    """
    negatives = require_integer("negatives", negatives, 1)
    evaluations = r_pos.numel() * r_neg.shape[1] ** negatives * negatives
    if evaluations > _MAX_EVALUATIONS:
        raise ValueError(
            f"negatives = {negatives} would take {evaluations:.1e} evaluations of the loss, more than "
            f"{_MAX_EVALUATIONS:.1e}: use fewer negatives, objects or views"
        )
    choices = torch.arange(r_neg.shape[1], device=r_neg.device)
    return torch.cartesian_prod(*[choices] * negatives).reshape(-1, negatives)


def _enumerate_losses(r_pos: Tensor, r_neg: Tensor, tuples: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield all (anchor, positive, negatives), in chunks of anchors, flattened for a loss.

    Args:
        r_pos: Shape (P, A).
        r_neg: Shape (P, Q).
        tuples: Indices into the Q negatives, shape (T, H).

    Yields:
        The anchors of the chunk, the positive's distances (B,), the negatives' distances (B, H), where B
        runs over the chunk's anchors, positives and tuples in this order.
    """
    per_anchor = r_pos.shape[1] * tuples.numel()
    step = max(1, _CHUNK // per_anchor)
    for start in range(0, r_pos.shape[0], step):
        anchors = slice(start, start + step)
        neg = r_neg[anchors][:, tuples].unsqueeze(1)
        pos = r_pos[anchors].unsqueeze(-1)
        shape = (pos.shape[0], pos.shape[1], tuples.shape[0])
        yield anchors, pos.expand(shape).flatten(), neg.expand(*shape, tuples.shape[1]).flatten(0, 2)


def view_distances(outputs: Float[Tensor, "N A n_L"]) -> tuple[Tensor, Tensor]:
    """Return r from each view to the views of its own object, (N·A, A), and to all views, (N·A, N·A)."""
    flat = outputs.flatten(0, 1)
    return half_squared_distances(outputs, outputs).flatten(0, 1), half_squared_distances(flat, flat)
