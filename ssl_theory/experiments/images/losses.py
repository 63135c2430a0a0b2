"""Losses of a batch: two views of each image, the other images as negatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_theory.experiments.images.settings import ImageExperiment, LossName
from ssl_theory.losses import (
    ContrastiveLoss,
    InfoNCE,
    SimpleContrastive,
    SoftTriplet,
    half_squared_distances,
    nt_xent,
    two_view_covariance_loss,
)
from ssl_theory.losses.covariance import estimated_weights

BatchLoss = Callable[[Tensor, Tensor], Tensor]


def batch_loss(experiment: ImageExperiment) -> BatchLoss:
    """Return the loss of a batch: (B, n_L), (B, n_L) -> scalar, the outputs of two views of each image."""
    plain = LOSSES[experiment.loss](experiment)
    if experiment.beta == 0:
        return plain
    total = 1.0 + experiment.beta if _released(experiment) and experiment.loss == "infonce" else 1.0
    return lambda first, second: (plain(first, second) + extra_pull(experiment, first, second)) / total


def extra_pull(
    experiment: ImageExperiment, first: Float[Tensor, "B n"], second: Float[Tensor, "B n"]
) -> Tensor:
    """Return what β adds to the loss of a batch, in either convention.

    In the book's, β E r_+. The authors' program adds (β/τ) E r_+ to InfoNCE. Its covariance loss weights both
    distances of a pair, Σ_k w_k (r_+ − r_-k) with w of no gradient, and β multiplies the former once more:
    β Σ_k w_k r_+. That loss is −Σ_k w_k r̄_k in expectation, twice the book's, hence ½ β Σ_k ξ̄_k r_+ here.
    Source: facebookresearch/luckmatters at b692c9c, ssl/real-dataset/loss/nt_xent.py.

    Args:
        experiment: Names loss, temperature, β and its convention.
        first: Outputs of one view of B ≥ 2 objects.
        second: Outputs of another view of the same objects.

    Returns:
        A scalar; on normalised outputs but for "covariance-plain".
    """
    if experiment.loss != "covariance-plain":
        first, second = _unit(first, second)
    r_pos, beta = 0.5 * (first - second).square().sum(1), experiment.beta
    if not _released(experiment):
        return beta * r_pos.mean()
    if experiment.loss == "infonce":
        return beta / experiment.temperature * r_pos.mean()
    in_batch = experiment.loss == "covariance"
    xi = estimated_weights(first, second, InfoNCE(experiment.temperature), in_batch=in_batch)
    total = xi.sum(1) if in_batch else xi.sum(1) / (len(xi) - 1)
    return 0.5 * beta * (total * r_pos).mean()


def _released(experiment: ImageExperiment) -> bool:
    return experiment.beta_convention == "released"


def in_batch(loss: ContrastiveLoss, first: Float[Tensor, "B n"], second: Float[Tensor, "B n"]) -> Tensor:
    """Return the mean loss over the 2B anchors on normalised outputs, with the 2B − 2 in-batch negatives.

    Args:
        loss: A loss of distances r = 1 − cosine.
        first: Outputs of one view of B ≥ 2 objects.
        second: Outputs of another view of the same objects.

    Returns:
        A scalar; for `InfoNCE` that of `nt_xent`.
    """
    size = len(first)
    unit = torch.cat(_unit(first, second))
    distances = 1.0 - unit @ unit.mT
    object_of = torch.arange(2 * size, device=unit.device) % size
    others = object_of.unsqueeze(1) != object_of
    return loss(distances.diagonal(size).repeat(2), distances[others].view(2 * size, -1)).mean()


def infonce_balance(first: Float[Tensor, "B n"], second: Float[Tensor, "B n"], temperature: float) -> float:
    """Return E Σ_k ξ_k (r_-k − r_+) / E r_+, the β at which β r_+ balances InfoNCE (T5).

    Args:
        first: Outputs of one view of B ≥ 2 objects.
        second: Outputs of another view of the same objects; the others serve as negatives.
        temperature: τ.

    Returns:
        The ratio; infinite if the views of every object agree.
    """
    r = half_squared_distances(first, second)
    others = ~torch.eye(len(first), dtype=torch.bool, device=first.device)
    r_pos, r_neg = r.diagonal(), r[others].view(len(first), -1)
    xi = InfoNCE(temperature).pair_weights(r_pos, r_neg)
    push, pull = (xi * (r_neg - r_pos.unsqueeze(1))).sum(1).mean(), r_pos.mean()
    return float(push / pull)


def _unit(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    return F.normalize(first), F.normalize(second)


def _infonce(e: ImageExperiment) -> BatchLoss:
    return partial(nt_xent, temperature=e.temperature)


def _simple(e: ImageExperiment) -> BatchLoss:
    return partial(in_batch, SimpleContrastive())


def _triplet(e: ImageExperiment) -> BatchLoss:
    return partial(in_batch, SoftTriplet(e.temperature, e.margin))


def _covariance(e: ImageExperiment) -> BatchLoss:
    loss = InfoNCE(e.temperature)
    return lambda first, second: two_view_covariance_loss(*_unit(first, second), loss, in_batch=True)


def _covariance_plain(e: ImageExperiment) -> BatchLoss:
    return partial(two_view_covariance_loss, loss=InfoNCE(e.temperature))


LOSSES: dict[LossName, Callable[[ImageExperiment], BatchLoss]] = {
    "infonce": _infonce,
    "simple": _simple,
    "triplet": _triplet,
    "covariance": _covariance,
    "covariance-plain": _covariance_plain,
}
