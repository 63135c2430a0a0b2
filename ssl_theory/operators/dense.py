"""The covariance operators of layer l as dense matrices, by exact enumeration of a finite view set (T3–T5).

Convention: one branch. The full shared-weight gradient step −∂L/∂vec(W_l) is twice the operator of the
loss times vec(W_l). Matrices act on the column-major vec(W_l).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.losses import ContrastiveLoss, SimpleContrastive
from ssl_theory.losses.weights import enumerate_losses, negative_tuples, view_distances
from ssl_theory.networks import ReLUNetwork
from ssl_theory.operators.pairs import Part, form_of
from ssl_theory.views import as_views

Views = Float[Tensor, "N A n_0"]
Square = Float[Tensor, "D D"]

_SIMPLE = SimpleContrastive()


def covariance_operator(
    net: ReLUNetwork, views: Views, layer: int, loss: ContrastiveLoss = _SIMPLE, negatives: int = 1
) -> Square:
    """Return the exact operator OP_l = ½ Σ_k E[ξ_k ((K1−K-_k)(K1−K-_k)ᵀ − (K1−K+)(K1−K+)ᵀ)].

    −∂E[L]/∂vec(W_l) = 2 OP_l vec(W_l). For the simple loss OP_l = V_x[K̄_l].

    Args:
        net: The network; biases are allowed, the identity then fails.
        views: Finite view set, shape (N, A, n_0); objects and views are drawn independently and
            uniformly, so x' may be x and x+ may be x1.
        layer: l, from 1 to L.
        loss: The loss.
        negatives: H; all (N·A)^H tuples are enumerated.

    Returns:
        Symmetric, shape (n_l·n_{l-1}, n_l·n_{l-1}), in the dtype of the views.

    Raises:
        TypeError: If the views are no float tensor of the network's dtype, or an integer is none.
        ValueError: If the views are no view set, `layer` or `negatives` is out of range, or there are too
            many tuples to enumerate.
    """
    return _dense("exact", net, views, layer, loss, negatives)


def leading_operator(
    net: ReLUNetwork, views: Views, layer: int, loss: ContrastiveLoss = _SIMPLE, negatives: int = 1
) -> Square:
    """Return the leading part ½ Σ_k E[ξ̄_k (K̄(x)−K̄(x'_k))(K̄(x)−K̄(x'_k))ᵀ], ξ̄ at r+ = 0 and r- = r̄.

    Positive semidefinite; arguments, result and errors as in `covariance_operator`.
    """
    return _dense("leading", net, views, layer, loss, negatives)


def residue(
    net: ReLUNetwork, views: Views, layer: int, loss: ContrastiveLoss = _SIMPLE, negatives: int = 1
) -> Square:
    """Return θ_l, the exact operator minus its leading part; arguments as in `covariance_operator`."""
    exact = covariance_operator(net, views, layer, loss, negatives)
    return exact - leading_operator(net, views, layer, loss, negatives)


def between_variance(net: ReLUNetwork, views: Views, layer: int) -> Square:
    """Return V_x[K̄_l], the variance between objects; arguments as in `covariance_operator`."""
    return _dense("between", net, views, layer)


def within_variance(net: ReLUNetwork, views: Views, layer: int) -> Square:
    """Return E_x V_aug[K_l | x], the mean variance within objects; arguments as in `covariance_operator`."""
    return _dense("within", net, views, layer)


def expected_loss(
    net: ReLUNetwork, views: Views, loss: ContrastiveLoss = _SIMPLE, negatives: int = 1
) -> Float[Tensor, ""]:
    """Return E[L(r+, r-_1 … r-_H)] over all objects and views, differentiable in the weights of `net`.

    Args:
        net: The network.
        views: Finite view set, shape (N, A, n_0).
        loss: The loss.
        negatives: H, how many negatives an anchor has.

    Returns:
        A scalar tensor.

    Raises:
        TypeError: If the views are no float tensor of the network's dtype.
        ValueError: If the views are no view set, or there are too many tuples to enumerate.
    """
    r_pos, r_neg = view_distances(net(as_views(views)))
    tuples = negative_tuples(r_pos, r_neg, negatives)
    sums = [loss(pos, neg).sum() for _, pos, neg in enumerate_losses(r_pos, r_neg, tuples)]
    return torch.stack(sums).sum() / (r_pos.numel() * tuples.shape[0])


def _dense(
    part: Part,
    net: ReLUNetwork,
    views: Tensor,
    layer: int,
    loss: ContrastiveLoss = _SIMPLE,
    negatives: int = 1,
) -> Tensor:
    views = as_views(views)
    connections = net.connection(views, layer)  # (N, A, D, n_L)
    rows = connections.transpose(-1, -2)  # (N, A, n_L, D)
    image = form_of(part, net(views), loss, negatives)(rows.flatten(2)).reshape(rows.shape)
    size = rows.shape[-1]
    return rows.reshape(-1, size).mT @ image.reshape(-1, size)
