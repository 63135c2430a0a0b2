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
PLAIN: tuple[LossName, ...] = ("infonce-plain", "covariance-plain")  # on outputs as they are
ORIGINALS: LossName = "released-originals"


def batch_loss(experiment: ImageExperiment, originals: Float[Tensor, "B n"] | None = None) -> BatchLoss:
    """Return the loss of a batch: (B, n_L), (B, n_L) -> scalar, the outputs of two views of each image.

    Args:
        experiment: Names the loss, temperature, margin, β and its convention.
        originals: Outputs of the images without augmentation, for the loss that weighs pairs by them.

    Returns:
        The loss.

    Raises:
        ValueError: If the loss needs the originals and has none, or has no use for them.
    """
    if (originals is not None) != (experiment.loss == ORIGINALS):
        asked = "be given" if originals is None else "be None"
        raise ValueError(f"originals must {asked} with loss {experiment.loss!r}")
    plain: BatchLoss
    if originals is not None:
        plain = partial(exact_covariance_option, temperature=experiment.temperature, originals=originals)
    else:
        plain = LOSSES[experiment.loss](experiment)
    if experiment.beta == 0:
        return plain
    total = 1.0 + experiment.beta if _released(experiment) and experiment.loss == "infonce" else 1.0

    def extended(first: Tensor, second: Tensor) -> Tensor:
        return (plain(first, second) + extra_pull(experiment, first, second, originals)) / total

    return extended


def extra_pull(
    experiment: ImageExperiment,
    first: Float[Tensor, "B n"],
    second: Float[Tensor, "B n"],
    originals: Float[Tensor, "B n"] | None = None,
) -> Tensor:
    """Return what β adds to the loss of a batch, in either convention.

    In the book's, β E r_+. The authors' program adds (β/τ) E r_+ to InfoNCE. Its covariance loss weights both
    distances of a pair, Σ_k w_k (r_+ − r_-k) with w of no gradient, and β multiplies the former once more:
    β Σ_k w_k r_+. That loss is −Σ_k w_k r̄_k in expectation, twice the book's, hence ½ β Σ_k ξ̄_k r_+ here
    with the book's, and β Σ_k w_k r_+ with the option itself.
    Source: facebookresearch/luckmatters at b692c9c, ssl/real-dataset/loss/nt_xent.py.

    Args:
        experiment: Names loss, temperature, β and its convention.
        first: Outputs of one view of B ≥ 2 objects.
        second: Outputs of another view of the same objects.
        originals: As for `batch_loss`.

    Returns:
        A scalar; on normalised outputs but for the losses on plain ones.
    """
    if experiment.loss not in PLAIN:
        first, second = _unit(first, second)
    r_pos, beta = 0.5 * (first - second).square().sum(1), experiment.beta
    if not _released(experiment):
        return beta * r_pos.mean()
    if experiment.loss == "infonce":
        return beta / experiment.temperature * r_pos.mean()
    if experiment.loss in ("released-views", ORIGINALS):
        seen = _both(first, second) if originals is None else _both(originals, originals)
        total = _option_weights(seen, experiment.temperature).sum(1)
        return beta * (total * r_pos.repeat(2)).mean()
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
    return loss(*_distances(_both(first, second))).mean()


def one_at_a_time(loss: ContrastiveLoss, first: Float[Tensor, "B n"], second: Float[Tensor, "B n"]) -> Tensor:
    """Return the mean loss over the 2B anchors and their 2B − 2 in-batch negatives, one negative at a time.

    Args:
        loss: A loss of distances r = ½‖f − f′‖² of the outputs as they are.
        first: Outputs of one view of B ≥ 2 objects.
        second: Outputs of another view of the same objects.

    Returns:
        A scalar.
    """
    views = torch.cat([first, second])
    views = views - views.detach().mean(0)  # no distance changes, and none is lost in rounding
    square = 0.5 * views.square().sum(1)
    distances = square.unsqueeze(1) + square - views @ views.mT
    away = distances[_others(len(views)).to(views.device)].view(len(views), -1)
    together = 0.5 * (first - second).square().sum(1).repeat(2)
    return loss(together.unsqueeze(1).expand_as(away).flatten(), away.flatten().unsqueeze(1)).mean()


def exact_covariance_option(
    first: Float[Tensor, "B n"],
    second: Float[Tensor, "B n"],
    temperature: float,
    originals: Float[Tensor, "B n"] | None = None,
) -> Tensor:
    """Return E Σ_k w_k (r_+ − r_-k), the exact-covariance option of the authors' program (R4).

    The weights, w_k = e^{−r_k/τ} / (1 + e^{−r_k/τ}) / (τH) of the H = 2B − 2 negatives, carry no gradient.
    Source: facebookresearch/luckmatters at b692c9c, ssl/real-dataset/loss/nt_xent.py; no line is taken.

    Args:
        first: Outputs of one view of B ≥ 2 objects.
        second: Outputs of another view of the same objects.
        temperature: τ.
        originals: Outputs of the objects without augmentation, whose distances then are in the weights; None
            for those of the views.

    Returns:
        The mean over the 2B anchors, on normalised outputs.
    """
    views = _both(first, second)
    r_pos, r_neg = _distances(views)
    weights = _option_weights(views if originals is None else _both(originals, originals), temperature)
    return (weights * (r_pos.unsqueeze(1) - r_neg)).sum(1).mean()


def _option_weights(views: Tensor, temperature: float) -> Tensor:
    r_neg = _distances(views.detach())[1]
    return torch.sigmoid(-r_neg / temperature) / (temperature * r_neg.shape[1])


def _both(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat(_unit(first, second))


def _others(count: int) -> Tensor:
    """Return which of 2B views are of different objects, object i being shown by the views i and B + i."""
    own = torch.arange(count) % (count // 2)
    return own.unsqueeze(1) != own


def _distances(views: Float[Tensor, "V n"]) -> tuple[Float[Tensor, " V"], Float[Tensor, "V H"]]:
    """Return r_+ and r_- of 2B normalised views."""
    distances = 1.0 - views @ views.mT
    others = _others(len(views)).to(views.device)
    return distances.diagonal(len(views) // 2).repeat(2), distances[others].view(len(views), -1)


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


def _infonce_plain(e: ImageExperiment) -> BatchLoss:
    return partial(one_at_a_time, InfoNCE(e.temperature))


def _released_views(e: ImageExperiment) -> BatchLoss:
    return partial(exact_covariance_option, temperature=e.temperature)


def _covariance_plain(e: ImageExperiment) -> BatchLoss:
    return partial(two_view_covariance_loss, loss=InfoNCE(e.temperature))


LOSSES: dict[LossName, Callable[[ImageExperiment], BatchLoss]] = {
    "infonce": _infonce,
    "simple": _simple,
    "triplet": _triplet,
    "covariance": _covariance,
    "infonce-plain": _infonce_plain,
    "covariance-plain": _covariance_plain,
    "released-views": _released_views,
}
