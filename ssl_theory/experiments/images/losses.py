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

BatchLoss = Callable[[Tensor, Tensor], Tensor]


def batch_loss(experiment: ImageExperiment) -> BatchLoss:
    """Return the loss of a batch: (B, n_L), (B, n_L) -> scalar, the outputs of two views of each image."""
    make = LOSSES[experiment.loss]
    plain, beta = make(experiment), experiment.beta
    if beta == 0:
        return plain

    def extended(first: Tensor, second: Tensor) -> Tensor:
        one, two = (first, second) if experiment.loss == "covariance-plain" else _unit(first, second)
        return plain(first, second) + beta * 0.5 * (one - two).square().sum(1).mean()

    return extended


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
