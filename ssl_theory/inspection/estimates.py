"""A number with its standard error, from leaving out one group of objects after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Estimate", "groups_of", "jackknife"]


class Estimate(NamedTuple):
    """A number and its standard error.

    Attributes:
        value: The number, NaN where it is not defined.
        error: Its standard error between objects, NaN where it is not known.
    """

    value: float
    error: float = math.nan


def groups_of(count: int, splits: int) -> list[Tensor]:
    """Return, for each of some groups of objects, the objects that are left without it.

    Args:
        count: N.
        splits: How many groups; object i is in group i modulo `splits`.

    Returns:
        Indices, one tensor for each group; none if fewer than two objects would be left.
    """
    splits = min(splits, count)
    group = torch.arange(count) % splits
    kept = [torch.nonzero(group != g).flatten() for g in range(splits)]
    return kept if splits > 1 and min(map(len, kept)) > 1 else []


def jackknife(whole: float, parts: Sequence[float]) -> Estimate:
    """Return a number with the standard error that the numbers without each of G groups tell.

    Args:
        whole: The number of all objects.
        parts: The numbers without each group.

    Returns:
        √((G − 1)/G Σ_g (θ_g − θ̄)²) beside the number; NaN for fewer than two groups.
    """
    if len(parts) < 2:
        return Estimate(whole)
    mean = sum(parts) / len(parts)
    square = sum((part - mean) ** 2 for part in parts) * (len(parts) - 1) / len(parts)
    return Estimate(whole, math.sqrt(square))


def over_objects(measure: Callable[[Tensor], float], values: Tensor, kept: Sequence[Tensor]) -> Estimate:
    """Return a measure of values, (N, ...), with its standard error."""
    return jackknife(measure(values), [measure(values[some.to(values.device)]) for some in kept])
