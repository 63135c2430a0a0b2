"""What a predictor and a stopped gradient do to the weights of a layer (T15)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.networks import ReLUNetwork
from ssl_theory.validation import require_float_tensor, require_real, require_same_kind
from ssl_theory.views import as_views

__all__ = ["PredictorSizes", "predictor_operator", "predictor_sizes"]


class PredictorSizes(NamedTuple):
    """Fixed points of a balanced eigenmode under weight decay.

    Attributes:
        lost: p_-; a mode that starts below it collapses.
        kept: p_+; a mode that starts above p_- ends here.
    """

    lost: float
    kept: float


def predictor_operator(
    net: ReLUNetwork,
    views: Float[Tensor, "N A n_0"],
    layer: int,
    predictor: Float[Tensor, "_ _"],
    *,
    centred: bool = False,
) -> Float[Tensor, "D D"]:
    """Return E_x[K̄_p K̄ᵀ] − E[K_p K_pᵀ] with K_p = K W_pᵀ, whose product with vec(W_l) is the update.

    The update is minus the gradient of `ssl_theory.losses.predictor.predictor_loss`.

    Args:
        net: The network, without biases where the product with vec(W_l) is to be the update.
        views: Finite view set, shape (N, A, n_0).
        layer: l, from 1 to L.
        predictor: W_p, shape (n_L, n_L).
        centred: Whether the outputs have their mean subtracted: connections lose theirs.

    Returns:
        Shape (D, D); symmetric if W_p is, and in general not otherwise.

    Raises:
        TypeError: If views or predictor are no float tensors of the network's dtype.
        ValueError: If the views, the layer, the shape of the predictor or a device does not fit.
    """
    views = as_views(views)
    K = net.connection(views, layer)
    require_float_tensor("predictor", predictor)
    require_same_kind("predictor", predictor, "the weights", net.weights[0])
    size = K.shape[-1]
    if predictor.shape != (size, size):
        raise ValueError(f"predictor must have shape ({size}, {size}), got {tuple(predictor.shape)}")
    if centred:
        K = K - K.mean((0, 1))
    K_p = K @ predictor.mT
    positive = torch.einsum("ndk,nek->de", K_p.mean(1), K.mean(1)) / K.shape[0]
    return positive - torch.einsum("navk,nawk->vw", K_p, K_p) / (K.shape[0] * K.shape[1])


def predictor_sizes(between: float, total: float, decay: float) -> PredictorSizes | None:
    """Return where an eigenmode with equal weight and predictor stands still, p_± = (b ± √(b² − 4sφ))/(2s).

    Args:
        between: b > 0, the second moment of the mean over views along the mode.
        total: s ≥ b, that of single views.
        decay: φ ≥ 0.

    Returns:
        Both sizes, or None if the decay is beyond b²/(4s), where every mode collapses.

    Raises:
        TypeError: If an argument is no real number.
        ValueError: If one is out of range.

    Example:
        >>> predictor_sizes(1.0, 2.0, 0.0)
        PredictorSizes(lost=0.0, kept=0.5)
    """
    b, s = require_real("between", between, above=0.0), require_real("total", total)
    phi = require_real("decay", decay)
    if s < b or phi < 0.0:
        raise ValueError(f"total must be at least between and decay at least 0, got {s}, {b} and {phi}")
    root = b * b - 4.0 * s * phi
    if root < 0.0:
        return None
    return PredictorSizes(*((b + sign * math.sqrt(root)) / (2.0 * s) for sign in (-1.0, 1.0)))
