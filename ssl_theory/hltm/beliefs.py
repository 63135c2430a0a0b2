"""Belief propagation from the leaves upwards (T11): exact on a tree, whatever its transition matrices.

The message of node v is λ_v(k) = P(leaves below v | z_v = k), the product over its children ν of
Σ_j P(z_ν = j | z_v = k) λ_ν(j). It holds no prior, so it stays finite where an inverse tanh would not. It
is kept as a logarithm: the evidence of many leaves against a state is smaller than any float64, yet no proof.

Source: Pearl, Probabilistic Reasoning in Intelligent Systems, 1988, section 4.2.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.hltm.topology import Topology, span

__all__: list[str] = []

_TINY = -600.0  # the logarithm of what may underflow in products


def leaf_messages(
    topology: Topology, transitions: Float[Tensor, "*seeds nodes m m"], leaves: Int[Tensor, "*seeds n leaves"]
) -> tuple[Float[Tensor, "*seeds nodes m n"], Float[Tensor, "*seeds nodes n"]]:
    """Pass the messages from the leaves to the root.

    Args:
        topology: The tree.
        transitions: P(z_v = k | z_parent = i) at [v, i, k].
        leaves: States, int64.

    Returns:
        log λ of every node without the logarithm of its sum (−∞ where the leaves are impossible), and that
        logarithm.
    """
    size, n = transitions.shape[-1], leaves.shape[-2]
    messages = transitions.new_zeros((*transitions.shape[:-2], size, n))
    states = torch.arange(size, device=leaves.device).unsqueeze(-1)
    messages[..., list(topology.leaves), :, :] = (leaves.mT.unsqueeze(-2) == states).to(messages.dtype).log()
    scale = transitions.new_zeros((*transitions.shape[:-2], n))
    for level in reversed(topology.levels):
        own = span(level)
        messages[..., own, :, :], total = _normalised(messages[..., own, :, :])
        scale[..., own, :] += total
        if level == topology.levels[0]:
            break
        parents = torch.tensor(topology.parents_of(level), device=leaves.device)
        messages.index_add_(-3, parents, _through(transitions[..., own, :, :], messages[..., own, :, :]))
        scale.index_add_(-2, parents, scale[..., own, :].clone())
    return messages, scale


def posterior(
    messages: Float[Tensor, "*seeds nodes m n"], marginals: Float[Tensor, "*seeds nodes m"]
) -> Float[Tensor, "*seeds nodes m n"]:
    """Return P(z_v = k | leaves below v) ∝ P(z_v = k) λ_v(k), from log λ.

    Raises:
        ValueError: If the leaves of a configuration have probability 0.
    """
    joint, evidence = _normalised(messages + marginals.log().unsqueeze(-1))
    if not bool((evidence > -torch.inf).all()):
        raise ValueError(
            "leaves must have positive probability under the tree, got an impossible configuration"
        )
    return joint.exp()


def _through(transitions: Float[Tensor, "*seeds v m m"], messages: Float[Tensor, "*seeds v m n"]) -> Tensor:
    """Return log Σ_j P(j | k) λ(j), (*seeds, v, m, n), from log λ."""
    unlikely = (messages < _TINY) & (messages > -torch.inf)
    if not bool(unlikely.any()):
        return (transitions @ messages.exp()).log()
    return (transitions.log().unsqueeze(-1) + messages.unsqueeze(-3)).logsumexp(-2)


def _normalised(messages: Float[Tensor, "*seeds v m n"]) -> tuple[Tensor, Tensor]:
    """Return log λ − log Σ λ and log Σ λ; both −∞ where all states are impossible."""
    total = messages.logsumexp(-2)
    return messages - torch.where(total > -torch.inf, total, 0.0).unsqueeze(-2), total
