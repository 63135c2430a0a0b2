"""Losses of a batch of triples, for all seeds at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ssl_theory.experiments.trees.settings import LossName
from ssl_theory.losses import ContrastiveLoss, InfoNCE, SimpleContrastive

EnsembleLoss = Callable[[Tensor, Tensor], Tensor]


def ensemble_loss(name: LossName, temperature: float) -> EnsembleLoss:
    """Return the function (r+, r-) -> loss of each seed.

    Args:
        name: Of the loss.
        temperature: τ.

    Returns:
        Maps (S, B) and (S, B), or (S, H, B) for H negatives, to (S,).
    """
    return partial(LOSSES[name], temperature)


def leading_loss(name: LossName, temperature: float) -> ContrastiveLoss:
    """Return the loss whose ξ̄ scales the operators; 1 where the loss has no leading part of its own."""
    return InfoNCE(temperature) if name == "infonce" else SimpleContrastive()


def _infonce(temperature: float, r_pos: Tensor, r_neg: Tensor) -> Tensor:
    return -logsigmoid((_as_one(r_neg, temperature) - r_pos) / temperature).mean(1)


def _as_one(r_neg: Tensor, temperature: float) -> Tensor:
    """Return the distance at which one negative counts as much as all of dimension 1; of one, its own."""
    if r_neg.ndim == 2:  # in few kernels
        return r_neg
    return -temperature * torch.logsumexp(-r_neg / temperature, 1)


def _mean_of(values: Tensor) -> Tensor:
    """Return the mean over negatives, (S, B) of (S, B) or (S, H, B)."""
    return values if values.ndim == 2 else values.mean(1)


def _simple(temperature: float, r_pos: Tensor, r_neg: Tensor) -> Tensor:
    return (r_pos - _mean_of(r_neg)).mean(1)


def _positives(temperature: float, r_pos: Tensor, r_neg: Tensor) -> Tensor:
    return r_pos.mean(1)


def _shared_weight(temperature: float, r_pos: Tensor, r_neg: Tensor) -> Tensor:
    one = _as_one(r_neg.mean(-1, keepdim=True), temperature).mean(1)
    return -torch.sigmoid((one - r_pos.mean(1)) / temperature)


def _spectral(temperature: float, r_pos: Tensor, r_neg: Tensor) -> Tensor:
    # −2 f·f_+ + (f·f_-)², for on the unit sphere an inner product is 1 − r
    return (_mean_of((1.0 - r_neg).square()) - 2.0 * (1.0 - r_pos)).mean(1)


LOSSES: dict[LossName, Callable[[float, Tensor, Tensor], Tensor]] = {
    "infonce": _infonce,
    "simple": _simple,
    "positives": _positives,
    "shared-weight": _shared_weight,
    "spectral": _spectral,
}
