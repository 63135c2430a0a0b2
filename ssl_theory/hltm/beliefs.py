"""Belief propagation from the leaves upwards (T11): exact on a tree, whatever its transition matrices.

The message of node v is λ_v(k) = P(leaves below v | z_v = k), the product over its children ν of
Σ_j P(z_ν = j | z_v = k) λ_ν(j). It holds no prior, so it stays finite where an inverse tanh would not.

Source: Pearl, Probabilistic Reasoning in Intelligent Systems, 1988, section 4.2.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.hltm.topology import Topology, span


def leaf_messages(
    topology: Topology, transitions: Float[Tensor, "*seeds nodes m m"], leaves: Int[Tensor, "*seeds n leaves"]
) -> tuple[Float[Tensor, "*seeds nodes m n"], Float[Tensor, "*seeds nodes n"]]:
    """Pass the messages from the leaves to the root.

    Args:
        topology: The tree.
        transitions: P(z_v = k | z_parent = i) at [v, i, k].
        leaves: States, int64.

    Returns:
        λ of every node divided by its sum (0 for impossible leaves), and the logarithm of that sum.
    """
    size, n = transitions.shape[-1], leaves.shape[-2]
    messages = transitions.new_ones((*transitions.shape[:-2], size, n))
    states = torch.arange(size, device=leaves.device).unsqueeze(-1)
    messages[..., list(topology.leaves), :, :] = (leaves.mT.unsqueeze(-2) == states).to(messages.dtype)
    scale = transitions.new_zeros((*transitions.shape[:-2], n))
    for children in _eldest_first(topology):
        parents, below = list(topology.parents_of(children)), span(children)
        product = messages[..., parents, :, :] * (transitions[..., below, :, :] @ messages[..., below, :, :])
        total = product.sum(-2)
        messages[..., parents, :, :] = product / torch.where(total > 0.0, total, 1.0).unsqueeze(-2)
        scale[..., parents, :] += scale[..., below, :] + total.log()
    return messages, scale


def posterior(
    messages: Float[Tensor, "*seeds nodes m n"], marginals: Float[Tensor, "*seeds nodes m"]
) -> Float[Tensor, "*seeds nodes m n"]:
    """Return P(z_v = k | leaves below v) ∝ P(z_v = k) λ_v(k).

    Raises:
        ValueError: If the leaves of a configuration have probability 0.
    """
    joint = messages * marginals.unsqueeze(-1)
    evidence = joint.sum(-2, keepdim=True)
    if not bool((evidence > 0.0).all()):
        raise ValueError(
            "leaves must have positive probability under the tree, got an impossible configuration"
        )
    return joint / evidence


def _eldest_first(topology: Topology) -> list[list[int]]:
    """Return the nodes but the root, deepest first, in groups without siblings: no parent occurs twice."""
    rank = {child: position for below in topology.children for position, child in enumerate(below)}
    groups: list[list[int]] = []
    for level in reversed(topology.levels[1:]):
        ranks = sorted({rank[v] for v in level})
        groups.extend([v for v in level if rank[v] == position] for position in ranks)
    return groups
