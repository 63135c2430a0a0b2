"""What can be read off the outputs alone: ranks, decay, variances, and how the loss sees pairs (T5, T12).

Where a published definition adds a constant ε to every share of a spectrum, it is left out: 0·log 0 = 0 needs
none, and with it a rank would count directions that are not there. All are invariant under permutations of
objects and of views, rotations and a common scale of the outputs.

Sources: RankMe, Garrido, Balestriero, Najman and LeCun, arXiv:2210.02885, equation (1); effective rank, Roy
and Vetterli, EUSIPCO 2007, pages 606-610; α-ReQ, Agrawal, Mondal, Ghosh and Richards, NeurIPS 2022; LiDAR,
Thilak and others, arXiv:2312.04000, the section that defines it.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.losses import half_squared_distances
from ssl_theory.validation import require_finite, require_float_tensor, require_rank, require_real

__all__ = [
    "alpha_req",
    "effective_rank",
    "lidar",
    "negatives_in_use",
    "overlap_of_distances",
    "rankme",
    "unbiased_variances",
]

_NOTHING = 1e-12  # a variance this small beside the mean square is rounding


def rankme(features: Float[Tensor, "N n"]) -> float:
    """Return RankMe, e^H with H the entropy of the features' singular values, normalised to sum 1.

    The features are not centred, so that features which all agree count as one direction.

    Args:
        features: Shape (N ≥ 2, n).

    Returns:
        From 1 to min(N, n); 0 if all features are 0.

    Raises:
        TypeError: If the features are no float tensor.
        ValueError: If they have not two dimensions, there are fewer than two rows, or one is not finite.

    Example:
        >>> round(rankme(torch.eye(3)), 9)
        3.0
    """
    _check(features)
    spectrum = torch.linalg.svdvals(features.double())
    return _exponential_entropy(spectrum) if spectrum.any() else 0.0


def effective_rank(features: Float[Tensor, "N n"]) -> float:
    """Return e^H with H the entropy of the spectrum of the features' covariance, normalised to sum 1.

    It is Roy and Vetterli's effective rank of the covariance matrix.

    Args:
        features: Shape (N ≥ 2, n).

    Returns:
        From 1, where all features lie on a line, to n; 0 where they are all the same: collapse.

    Raises:
        TypeError: If the features are no float tensor.
        ValueError: If they have not two dimensions, there are fewer than two rows, or one is not finite.
    """
    _check(features)
    spectrum = _spectrum(features)
    return _exponential_entropy(spectrum) if spectrum.any() else 0.0


def alpha_req(features: Float[Tensor, "N n"]) -> float:
    """Return α of the power law λ_j ∝ j^(−α) that fits the eigenvalues of the features' covariance.

    The fit is by least squares of log λ_j on log j, over all eigenvalues above rounding: the publication
    leaves the range of the fit open, programs take some middle part.

    Args:
        features: Shape (N ≥ 2, n).

    Returns:
        α; NaN if fewer than three eigenvalues are above rounding.

    Raises:
        TypeError: If the features are no float tensor.
        ValueError: If they have not two dimensions, there are fewer than two rows, or one is not finite.
    """
    _check(features)
    spectrum = _spectrum(features)
    floor = (torch.finfo(features.dtype).eps * max(features.shape)) ** 2 * features.double().square().sum()
    spectrum = spectrum[spectrum > floor]
    if len(spectrum) < 3:
        return math.nan
    x = torch.arange(1, len(spectrum) + 1, device=spectrum.device).double().log()
    x, y = x - x.mean(), spectrum.log()
    return float(-(x @ y) / (x @ x))


def lidar(features: Float[Tensor, "N A n"], delta: float = 1e-4) -> float:
    """Return LiDAR, e^H with H the entropy of the spectrum of Σ_w^(−1/2) Σ_b Σ_w^(−1/2), normalised to sum 1.

    Σ_b is the covariance of the means of objects, Σ_w the mean covariance of the views of an object plus
    δ·tr(Σ_w)/n on the diagonal. The publication adds δ itself, which depends on the scale of the features.

    Args:
        features: Of A ≥ 2 views of N ≥ 2 objects.
        delta: δ, positive.

    Returns:
        From 1 to min(N − 1, n); 0 if the means agree, NaN if all views of each object agree.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If there are fewer than two objects or views, a feature is not finite, or δ is not
            positive.
    """
    _check_views(features)
    delta = require_real("delta", delta, above=0.0)
    values = features.double()
    means = values.mean(1)
    inner = (values - means.unsqueeze(1)).flatten(0, 1)
    outer = means - means.mean(0)
    size = values.square().sum(-1).mean()
    if outer.square().sum(-1).mean() <= _NOTHING * size:
        return 0.0
    if inner.square().sum(-1).mean() <= _NOTHING * size:
        return math.nan
    within = inner.mT @ inner / len(inner)
    within = within + delta * within.trace() / len(within) * torch.eye(len(within)).to(within)
    scale, basis = torch.linalg.eigh(within)
    whitened = outer @ (basis * scale.rsqrt())
    return _exponential_entropy(torch.linalg.svdvals(whitened).square())


def unbiased_variances(values: Float[Tensor, "N A n"]) -> tuple[float, float]:
    """Return unbiased estimates of V_x, between objects, and V_a, within them, from A views of N objects.

    Args:
        values: Of A ≥ 2 independent views of each of N ≥ 2 objects drawn independently.

    Returns:
        tr V_x[f̄] and E_x tr V_aug[f]; the former can come out negative where it is small.

    Raises:
        TypeError: If the values are no float tensor.
        ValueError: If there are fewer than two objects or views, or a value is not finite.

    Example:
        >>> unbiased_variances(torch.tensor([[[0.0], [2.0]], [[4.0], [6.0]]]))
        (7.0, 2.0)
    """
    _check_views(values)
    values = values.double()
    within = float(values.var(1).sum(-1).mean())
    return float(values.mean(1).var(0).sum()) - within / values.shape[1], within


def pair_distances(
    outputs: Float[Tensor, "N A n"],
) -> tuple[Float[Tensor, "views others"], Float[Tensor, "views negatives"]]:
    """Return r = ½‖f − f'‖² of each view to the other views of its object, and to those of other objects.

    Args:
        outputs: Of A ≥ 2 views of N ≥ 2 objects.

    Returns:
        Shapes (N·A, A − 1) and (N·A, (N − 1)·A).

    Raises:
        TypeError: If the outputs are no float tensor.
        ValueError: If there are fewer than two objects or views, or an output is not finite.
    """
    _check_views(outputs)
    n, a, _ = outputs.shape
    flat = outputs.flatten(0, 1)
    distances = half_squared_distances(flat, flat)
    own = torch.arange(n, device=flat.device).repeat_interleave(a)
    same = own.unsqueeze(1) == own
    itself = torch.eye(n * a, dtype=torch.bool, device=flat.device)
    return distances[same & ~itself].view(n * a, a - 1), distances[~same].view(n * a, -1)


def overlap_of_distances(
    positives: Float[Tensor, "views others"], negatives: Float[Tensor, "views negatives"]
) -> float:
    """Return the chance that a negative is nearer than a positive of the same anchor; a tie counts half.

    Args:
        positives: Distances of each anchor to its positives.
        negatives: Distances of each anchor to its negatives.

    Returns:
        0 if all positives are nearer than all negatives, ½ if nothing tells them apart.

    Example:
        >>> overlap_of_distances(torch.tensor([[1.0]]), torch.tensor([[0.5, 1.0, 2.0, 3.0]]))
        0.375
    """
    ordered = negatives.sort(1).values
    below = torch.searchsorted(ordered, positives.contiguous())
    upto = torch.searchsorted(ordered, positives.contiguous(), right=True)
    return float((below + upto).double().mean() / (2 * negatives.shape[1]))


def negatives_in_use(weights: Float[Tensor, "views views"], copies: int) -> Float[Tensor, " views"]:
    """Return (Σ_v |s_uv|)²/Σ_v s_uv² over the views of other objects: as many equal negatives act alike.

    Args:
        weights: s_uv, how strongly the loss pushes views u and v apart; views of an object follow each other.
        copies: A, views of an object.

    Returns:
        From 1 to (N − 1)·A for each view; 0 where nothing pushes.
    """
    count = len(weights)
    own = torch.arange(count, device=weights.device) // copies
    pushes = weights.abs().masked_fill(own.unsqueeze(1) == own, 0.0).double()
    pushes = pushes / pushes.amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    square = pushes.square().sum(1)
    return torch.where(square > 0, pushes.sum(1).square() / square.where(square > 0, 1.0), 0.0)


def _spectrum(features: Tensor) -> Tensor:
    """Return N times the eigenvalues of the covariance, descending; zeros if all is rounding."""
    values = features.double()
    spectrum = torch.linalg.svdvals(values - values.mean(0)).square()
    rounding = bool(spectrum.sum() <= _NOTHING * values.square().sum())
    return torch.zeros_like(spectrum) if rounding else spectrum


def _exponential_entropy(spectrum: Tensor) -> float:
    return float(torch.special.entr(spectrum / spectrum.sum()).sum().exp())


def _check(features: Tensor) -> None:
    require_float_tensor("features", features)
    require_rank("features", features, 2, "(N, n)")
    if len(features) < 2:
        raise ValueError(f"features must hold at least two rows, got {len(features)}")
    require_finite("features", features)


def _check_views(values: Tensor) -> None:
    require_float_tensor("values", values)
    require_rank("values", values, 3, "(N objects, A views, n)")
    if min(values.shape[:2]) < 2:
        raise ValueError(
            f"values must hold at least two views of each of two objects, got {tuple(values.shape)}"
        )
    require_finite("values", values)
