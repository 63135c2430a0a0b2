"""The contrastive losses and the pair weights through which they act (T2).

With r_pos = r(x1, x+) and r_neg[k] = r(x1, x-_k), squared distances of outputs (halved), every loss here
obeys ∂L/∂r_pos > 0, ∂L/∂r_neg_k < 0 and ∂L/∂r_pos + Σ_k ∂L/∂r_neg_k = 0: it acts on the weights of a
network only through ξ_k = −∂L/∂r_neg_k ≥ 0.

Sources: simple contrastive and soft triplet as in Tian et al., arXiv:2010.00578; InfoNCE of van den Oord
et al., arXiv:1807.03748, in the form used by SimCLR, Chen et al., arXiv:2002.05709.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_theory.validation import require_float_tensor, require_rank, require_real, require_same_kind

__all__ = [
    "ContrastiveLoss",
    "InfoNCE",
    "SimpleContrastive",
    "SoftTriplet",
    "half_squared_distances",
]

_ROOM = 2**22  # numbers in a block of differences


@runtime_checkable
class ContrastiveLoss(Protocol):
    """A loss of one positive and H ≥ 1 negative distances."""

    def __call__(self, r_pos: Float[Tensor, " B"], r_neg: Float[Tensor, "B H"]) -> Float[Tensor, " B"]:
        """Return the loss of each of B anchors."""

    def pair_weights(self, r_pos: Float[Tensor, " B"], r_neg: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """Return ξ_k = −∂L/∂r_neg_k for each anchor."""


@dataclass(frozen=True)
class SimpleContrastive:
    """L_simp = r_pos − mean_k r_neg_k, with ξ_k = 1/H."""

    def __call__(self, r_pos: Float[Tensor, " B"], r_neg: Float[Tensor, "B H"]) -> Float[Tensor, " B"]:
        """Return the loss of each of B anchors, shape (B,).

        Args:
            r_pos: Distances to the positive, shape (B,).
            r_neg: Distances to H ≥ 1 negatives, shape (B, H).

        Returns:
            Shape (B,), in the dtype of the inputs.
        """
        _check_distances(r_pos, r_neg)
        return r_pos - r_neg.mean(-1)

    def pair_weights(self, r_pos: Float[Tensor, " B"], r_neg: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """Return ξ_k = 1/H, shape (B, H)."""
        _check_distances(r_pos, r_neg)
        return torch.full_like(r_neg, 1.0 / r_neg.shape[-1])


@dataclass(frozen=True)
class SoftTriplet:
    """L_tri = mean_k τ log(1 + e^{(r_pos − r_neg_k + r_0)/τ}), a triplet loss with a soft hinge.

    Args:
        temperature: τ > 0; as τ → 0 the loss becomes max(0, r_pos − r_neg + r_0).
        margin: r_0, any finite number.

    Raises:
        TypeError: If an argument is not a real number.
        ValueError: If τ is not positive and finite, or the margin is not finite.
    """

    temperature: float
    margin: float = 0.0

    def __post_init__(self) -> None:
        require_real("temperature", self.temperature, above=0.0)
        require_real("margin", self.margin)

    def __call__(self, r_pos: Float[Tensor, " B"], r_neg: Float[Tensor, "B H"]) -> Float[Tensor, " B"]:
        """Return the loss of each of B anchors, shape (B,).

        Args:
            r_pos: Distances to the positive, shape (B,).
            r_neg: Distances to H ≥ 1 negatives, shape (B, H).

        Returns:
            Shape (B,), in the dtype of the inputs; finite for any finite distances over τ.
        """
        # −log σ(−z) is log(1 + e^z) without overflow; torch's softplus drops e^{-z} beyond z = 20.
        return self.temperature * -F.logsigmoid(-self._logits(r_pos, r_neg)).mean(-1)

    def pair_weights(self, r_pos: Float[Tensor, " B"], r_neg: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """Return ξ_k = σ((r_pos − r_neg_k + r_0)/τ)/H, shape (B, H)."""
        return torch.sigmoid(self._logits(r_pos, r_neg)) / r_neg.shape[-1]

    def _logits(self, r_pos: Tensor, r_neg: Tensor) -> Tensor:
        _check_distances(r_pos, r_neg)
        return (r_pos.unsqueeze(-1) - r_neg + self.margin) / self.temperature


@dataclass(frozen=True)
class InfoNCE:
    """L_nce = −log[e^{−r_pos/τ} / (e^{−r_pos/τ} + Σ_k e^{−r_neg_k/τ})].

    Args:
        temperature: τ > 0.

    Raises:
        TypeError: If τ is not a real number.
        ValueError: If τ is not positive and finite.
    """

    temperature: float

    def __post_init__(self) -> None:
        require_real("temperature", self.temperature, above=0.0)

    def __call__(self, r_pos: Float[Tensor, " B"], r_neg: Float[Tensor, "B H"]) -> Float[Tensor, " B"]:
        """Return the loss of each of B anchors, shape (B,).

        Args:
            r_pos: Distances to the positive, shape (B,).
            r_neg: Distances to H ≥ 1 negatives, shape (B, H).

        Returns:
            Shape (B,), in the dtype of the inputs; finite for any finite distances over τ.
        """
        return torch.logsumexp(self._logits(r_pos, r_neg), -1)

    def pair_weights(self, r_pos: Float[Tensor, " B"], r_neg: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """Return ξ_k = (1/τ) e^{−r_neg_k/τ} / (e^{−r_pos/τ} + Σ_j e^{−r_neg_j/τ}), shape (B, H)."""
        return torch.softmax(self._logits(r_pos, r_neg), -1)[..., 1:] / self.temperature

    def _logits(self, r_pos: Tensor, r_neg: Tensor) -> Tensor:
        """Return the logits relative to the positive, which stands first with logit 0."""
        _check_distances(r_pos, r_neg)
        relative = (r_pos.unsqueeze(-1) - r_neg) / self.temperature
        return torch.cat([torch.zeros_like(relative[..., :1]), relative], -1)


def half_squared_distances(
    left: Float[Tensor, "*batch N n_L"], right: Float[Tensor, "*batch M n_L"]
) -> Float[Tensor, "*batch N M"]:
    """Return r(u, v) = ½‖u − v‖² for all pairs, (..., N, n_L), (..., M, n_L) -> (..., N, M).

    The differences are formed explicitly, some rows at a time: expanding the square would lose half the
    digits of close pairs.

    Args:
        left: Points u, shape (..., N, n_L).
        right: Points v, shape (..., M, n_L).

    Returns:
        Shape (..., N, M).

    Raises:
        TypeError: If an argument is no float tensor, or dtypes differ.
        ValueError: If the shapes do not fit, or devices differ.

    Example:
        >>> half_squared_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
        tensor([[12.5000,  2.0000]])
    """
    require_float_tensor("left", left)
    require_float_tensor("right", right)
    require_same_kind("right", right, "left", left)
    if min(left.ndim, right.ndim) < 2 or left.shape[-1] != right.shape[-1]:
        raise ValueError(
            f"left and right must have shapes (..., N, n_L) and (..., M, n_L), got {tuple(left.shape)} and "
            f"{tuple(right.shape)}"
        )
    rows = max(1, _ROOM // max(1, right.numel()))
    parts = [
        0.5 * (some.unsqueeze(-2) - right.unsqueeze(-3)).square().sum(-1)
        for some in torch.split(left, rows, dim=-2)
    ]
    return torch.cat(parts, -2)


def require_loss(loss: object) -> None:
    """Raise TypeError unless `loss` is a `ContrastiveLoss`."""
    if not isinstance(loss, ContrastiveLoss):
        raise TypeError(f"loss must be a contrastive loss with pair_weights, got {type(loss).__name__}")


def _check_distances(r_pos: Tensor, r_neg: Tensor) -> None:
    require_float_tensor("r_pos", r_pos)
    require_float_tensor("r_neg", r_neg)
    require_rank("r_pos", r_pos, 1, "(B,)")
    require_rank("r_neg", r_neg, 2, "(B, H)")
    require_same_kind("r_neg", r_neg, "r_pos", r_pos)
    if r_neg.shape[0] != r_pos.shape[0] or r_neg.shape[1] < 1:
        raise ValueError(
            f"r_neg must have shape (B = {r_pos.shape[0]}, H ≥ 1), one row per entry of r_pos, "
            f"got {tuple(r_neg.shape)}"
        )
