"""How a loss weights pairs of views, and the quadratic form that the weights make of the connections.

Every operator of the book has the form K Λ Kᵀ. K holds the connections of all N·A views of a finite view
set; Λ is a symmetric matrix over the views, (K_u)ᵀ vec(V) -> Λ, that depends on the network through its
outputs alone. A sum over pairs, ½ Σ_{u,v} s_{uv} (K_u − K_v)(K_u − K_v)ᵀ with symmetric s, has the graph
Laplacian Λ = diag(Σ_v s_{uv}) − s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.losses import ContrastiveLoss
from ssl_theory.losses.weights import leading_weights, mean_pair_weights, view_distances
from ssl_theory.operators.output_losses import OutputForm, OutputLoss

__all__ = ["Derivative", "PairForm", "Part", "form_of"]

Part = Literal["exact", "leading", "between", "within"]
Map = Callable[[Tensor], Tensor]


@runtime_checkable
class Derivative(Protocol):
    """The connections K of m views, known by their products alone."""

    @property
    def outputs(self) -> Tensor:
        """f_L of each view, shape (m, n_L)."""

    @property
    def width(self) -> int:
        """How many matrices go through at a time."""

    @property
    def matrix(self) -> Tensor:
        """W, shape (n_l, n_k)."""

    def jvp(self, matrices: Float[Tensor, "n_k k n_l"]) -> Float[Tensor, "m k n_L"]:
        """Return K_uᵀ vec(V) for each view u and each of k matrices Vᵀ."""

    def vjp(self, changes: Float[Tensor, "m k n_L"]) -> Float[Tensor, "n_k k n_l"]:
        """Return Σ_u K_u t_u as k matrices Vᵀ."""


@dataclass(frozen=True)
class PairForm:
    """Λ of one operator: a symmetric map over objects (their augmentation means) or over all views.

    Attributes:
        apply: t -> Λ t on the first dimension, (N, m) -> (N, m) or (N·A, m) -> (N·A, m).
        over_objects: Which of the two.
    """

    apply: Map
    over_objects: bool

    def __call__(self, t: Float[Tensor, "N A *m"]) -> Float[Tensor, "N A *m"]:
        """Return Λ t over views; a map over objects sees their means and hands each view an equal share."""
        n, a = t.shape[:2]
        if self.over_objects:
            image = self.apply(t.mean(1).reshape(n, -1)) / a
            return image.reshape(n, 1, *t.shape[2:]).expand(t.shape)
        return self.apply(t.reshape(n * a, -1)).reshape(t.shape)


def form_of(
    part: Part, outputs: Float[Tensor, "N A n_L"], loss: ContrastiveLoss | OutputLoss, negatives: int = 1
) -> PairForm | OutputForm:
    """Return Λ of one of the book's operators.

    Args:
        part: "exact" (the covariance operator of the loss), "leading" (its weighted covariance),
            "between" (V_x[K̄]) or "within" (E_x V_aug[K]).
        outputs: f_L of every view, shape (N, A, n_L).
        loss: The loss; it has no influence on "between" and "within", and an `OutputLoss` has no "leading".
        negatives: H, the number of independent negatives.

    Returns:
        The form.

    Raises:
        ValueError: If `part` is unknown, or enumerating the negatives is out of reach.
    """
    n, a, _ = outputs.shape
    if part == "between":
        return PairForm(lambda m: (m - m.mean(0)) / n, over_objects=True)
    if part == "within":

        def centre(t: Tensor) -> Tensor:
            views = t.reshape(n, a, -1)
            return ((views - views.mean(1, keepdim=True)) / (n * a)).reshape(t.shape)

        return PairForm(centre, over_objects=False)
    if part == "exact" and isinstance(loss, OutputLoss):
        return loss.form(outputs)
    if isinstance(loss, OutputLoss):
        raise ValueError(f"part must be 'exact', 'between' or 'within' for an OutputLoss, got {part!r}")
    if part == "leading":
        return PairForm(_laplacian(leading_weights(outputs, loss, negatives)), over_objects=True)
    if part == "exact":
        return PairForm(_laplacian(_exact_weights(outputs, loss, negatives)), over_objects=False)
    raise ValueError(f"part must be 'exact', 'leading', 'between' or 'within', got {part!r}")


def _exact_weights(outputs: Tensor, loss: ContrastiveLoss, negatives: int) -> Tensor:
    """Return the weights of the negative pairs minus those of the positive pairs, over all views."""
    n, a, _ = outputs.shape
    pos, neg = mean_pair_weights(loss, *view_distances(outputs), negatives)
    diagonal = torch.arange(n, device=outputs.device)
    signed = neg.reshape(n, a, n, a).clone()
    signed[diagonal, :, diagonal, :] -= pos.reshape(n, a, a)
    return signed.reshape(n * a, n * a) / (n * a)


def _laplacian(weights: Tensor) -> Map:
    symmetric = 0.5 * (weights + weights.mT)
    degree = symmetric.sum(1, keepdim=True)
    return lambda t: degree * t - symmetric @ t
