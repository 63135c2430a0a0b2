"""The covariance operator of every node of a tree network, from one pass (T9).

The objects are the two states of the root, their views the leaves drawn below it. With

    Δ_μ = E[K_μ | z_0=1] − E[K_μ | z_0=0],    g = E[f_L | z_0=1] − E[f_L | z_0=0],

V_{z_0}[K̄_μ] = ((1−ρ_0²)/4) Δ_μ Δ_μᵀ, and one branch of the step of the leading part on W_μ is
((1−ρ_0²)/4) ξ̄(r̄) Δ_μ g with r̄ = ½‖g‖²; for the simple loss ξ̄ = 1 and the step is exact. With H
negatives, k of them in the other state than the anchor, (1−ρ_0²)/4 ξ̄ becomes ½ Σ_z P(z) Σ_k k P(k | z) ξ̄_k:
these k weigh the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.hltm.network import TreeNetwork
from ssl_theory.losses import ContrastiveLoss, SimpleContrastive
from ssl_theory.validation import require_integer

__all__ = [
    "NodeOperators",
    "node_operators",
    "sample_contrast",
]

_SIMPLE = SimpleContrastive()


@dataclass(frozen=True)
class NodeOperators:
    """Operators of all nodes of a network, for all seeds; build it by `node_operators`."""

    net: TreeNetwork
    gaps: Sequence[Float[Tensor, "_ _ _ _"]]
    """Δ_μ per level, the root's first, each (S·nodes, neurons, n_L, inputs)."""
    output_gap: Float[Tensor, "S n_L"]
    """g."""
    factor: Float[Tensor, " S"]
    """((1−ρ_0²)/4) ξ̄(r̄) for one negative."""

    def norms(self) -> Float[Tensor, "S inner"]:
        """Return ‖OP_μ‖_F of every inner node, in the order of `topology.inner`."""
        columns = {}
        for level, gaps in zip(self.net.levels, self.gaps, strict=True):
            gram = torch.einsum("kion,kipn->kop", gaps, gaps)  # ΔᵀΔ has the norm of ΔΔᵀ and is small
            norms = torch.linalg.matrix_norm(gram).view(self.net.seeds, -1)
            columns.update({node: norms[:, place] for place, node in enumerate(level.nodes)})
        stacked = torch.stack([columns[node] for node in self.net.topology.inner], 1)
        return self.factor.unsqueeze(1) * stacked

    def updates(self) -> list[Float[Tensor, "_ _ _"]]:
        """Return one branch's step factor·Δ_μ g of every node, per level like `net.weights`.

        It couples all nodes of a level through g.
        """
        steps = []
        for level, gaps in zip(self.net.levels, self.gaps, strict=True):
            pull = (self.factor.unsqueeze(1) * self.output_gap).repeat_interleave(len(level.nodes), 0)
            steps.append(torch.einsum("kion,ko->kin", gaps, pull))
        return steps

    def own_updates(self) -> list[Float[Tensor, "_ _ _"]]:
        """Return OP_μ vec(W_μ) of every node, per level: what its own operator does, the others left out."""
        steps = []
        for level, gaps, weight in zip(self.net.levels, self.gaps, self.net.weights, strict=True):
            own = torch.einsum("kion,kin->ko", gaps, weight.detach())
            factor = self.factor.repeat_interleave(len(level.nodes), 0)
            steps.append(torch.einsum("kion,ko,k->kin", gaps, own, factor))
        return steps

    def level_updates(self) -> list[Float[Tensor, "_ _ _"]]:
        """Return OP_l vec(W_l) of every level as one layer, per level like `net.weights`.

        It is `updates` where the output is linear in the level's weights, gates fixed: without biases, with
        a linear top, and if every pixel is below some node of the level.
        """
        steps = []
        for level, gaps, weight in zip(self.net.levels, self.gaps, self.net.weights, strict=True):
            own = torch.einsum("kion,kin->ko", gaps, weight.detach())
            pull = self.factor.unsqueeze(1) * own.view(self.net.seeds, len(level.nodes), -1).sum(1)
            pull = pull.repeat_interleave(len(level.nodes), 0)
            steps.append(torch.einsum("kion,ko->kin", gaps, pull))
        return steps

    def dense(self, node: int) -> Float[Tensor, "S D D"]:
        """Return OP_μ, which acts on the column-major vec(W_μ), D = |N_μ|·fan-in.

        Raises:
            TypeError: If the node is not an integer.
            ValueError: If it is no inner node.
        """
        gap = self.net.of_node(list(self.gaps), node)[..., : self.net.weight(node).shape[-1]]
        rows = gap.permute(0, 3, 1, 2).flatten(1, 2)  # (S, fan·width, n_L)
        return self.factor.view(-1, 1, 1) * rows @ rows.mT


@torch.no_grad()
def node_operators(
    net: TreeNetwork,
    leaves: Float[Tensor, "S leaves batch"],
    contrast: Float[Tensor, "S batch"],
    root_polarity: Float[Tensor, "..."],
    loss: ContrastiveLoss = _SIMPLE,
    *,
    negatives: int = 1,
    chunk: int = 4096,
) -> NodeOperators:
    """Compute Δ_μ of every node, g and the factor.

    Args:
        net: The networks.
        leaves: Pixels, shape (S, leaves, batch).
        contrast: Weights c with Σ_b c_b h(x_b) = E[h | z_0=1] − E[h | z_0=0], shape (S, batch): the exact
            ones (`ExactTree.contrast`) or those of a sample (`sample_contrast`).
        root_polarity: ρ_0, a scalar or shape (S,).
        loss: The loss whose ξ̄ is taken.
        negatives: H.
        chunk: Columns of the batch worked on at once; the Jacobians of all nodes fill the memory.

    Returns:
        The operators.

    Raises:
        TypeError: If the pixels are no float tensor of the weights' dtype.
        ValueError: If a shape is wrong.
    """
    if contrast.shape != (leaves.shape[0], leaves.shape[-1]):
        raise ValueError(
            f"contrast must have shape (S, batch) = {(leaves.shape[0], leaves.shape[-1])}, "
            f"got {tuple(contrast.shape)}"
        )
    require_integer("chunk", chunk, 1)
    parts = zip(torch.split(leaves, chunk, -1), torch.split(contrast, chunk, -1), strict=True)
    sums = [torch.stack(terms).sum(0) for terms in zip(*(_gaps(net, x, c) for x, c in parts), strict=True)]
    output_gap, *gaps = sums
    distance = 0.5 * output_gap.square().sum(1)
    factor = _factor(loss, distance, root_polarity.to(distance), require_integer("negatives", negatives, 1))
    return NodeOperators(net, gaps, output_gap, factor)


def _factor(loss: ContrastiveLoss, distance: Tensor, root_polarity: Tensor, negatives: int) -> Tensor:
    """Return ½ Σ_z P(z) Σ_k k P(k | z) ξ̄_k, k the negatives in the other state, r̄ from the anchor's."""
    own, other = (1.0 + root_polarity) / 2.0, (1.0 - root_polarity) / 2.0
    total = torch.zeros_like(distance)
    for k in range(1, negatives + 1):
        r_neg = torch.zeros_like(distance).unsqueeze(1).repeat(1, negatives)
        r_neg[:, :k] = distance.unsqueeze(1)
        xi = loss.pair_weights(torch.zeros_like(distance), r_neg)[:, 0]
        rest = negatives - k
        law = comb(negatives, k) * (own ** (1 + rest) * other**k + other ** (1 + rest) * own**k)
        total = total + 0.5 * k * law * xi
    return total


def _gaps(net: TreeNetwork, leaves: Tensor, contrast: Tensor) -> list[Tensor]:
    """Return the share of g, then that of Δ_μ per level, of some columns of the batch."""
    trace = net.trace(leaves)
    shares = [(trace.output * contrast.unsqueeze(1)).sum(-1)]
    for level, inputs, jacobian in zip(net.levels, trace.inputs, net.jacobians(trace), strict=True):
        weights = contrast.repeat_interleave(len(level.nodes), 0).unsqueeze(1)
        flat = jacobian.flatten(1, 2) @ (inputs * weights).mT
        shares.append(flat.view(*jacobian.shape[:3], -1))
    return shares


def sample_contrast(root: Int[Tensor, "S batch"], dtype: torch.dtype) -> Float[Tensor, "S batch"]:
    """Return weights that turn sums over a sample into E[· | z_0=1] − E[· | z_0=0].

    Args:
        root: z_0 of every draw, 0 or 1.
        dtype: Of the result.

    Returns:
        1/n_1 where z_0 = 1 and −1/n_0 elsewhere, shape (S, batch).

    Raises:
        ValueError: If a seed's sample lacks one of the two states.
    """
    ones = root.sum(-1, keepdim=True)
    zeros = root.shape[-1] - ones
    if bool((ones == 0).any()) or bool((zeros == 0).any()):
        raise ValueError("root must take both states in every seed's sample; draw more")
    return torch.where(root == 1, 1.0 / ones, -1.0 / zeros).to(dtype)
