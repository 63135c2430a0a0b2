"""Moments of the leaves in closed form, and the list of all configurations (T7)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.hltm.topology import Topology

__all__ = [
    "MAX_CONFIGURATIONS",
    "LeafMoments",
]

MAX_CONFIGURATIONS = 2**22


class LeafMoments(NamedTuple):
    """First and second moments of the leaves, their states read as numbers."""

    mean: Float[Tensor, "*seeds leaves"]
    """E[z_a]."""
    second: Float[Tensor, "*seeds leaves leaves"]
    """E[z_a z_b]."""

    @property
    def covariance(self) -> Float[Tensor, "*seeds leaves leaves"]:
        """E[z_a z_b] − E[z_a] E[z_b]."""
        return self.second - self.mean.unsqueeze(-1) * self.mean.unsqueeze(-2)


def leaf_moments(
    topology: Topology,
    transitions: Float[Tensor, "*seeds nodes m m"],
    marginals: Float[Tensor, "*seeds nodes m"],
) -> LeafMoments:
    """Return E[z_a] and E[z_a z_b] of all leaves.

    Two leaves are independent given the latent where their paths part; each inner node adds the pairs of
    leaves that part there.

    Args:
        topology: The tree.
        transitions: P(z_v = k | z_parent = i) at [v, i, k].
        marginals: P(z_v = k).

    Returns:
        The moments, the leaves in the order of `topology.leaves`.
    """
    leaves = topology.leaves
    shape = (*marginals.shape, len(leaves))
    given = marginals.new_zeros(shape)  # E[z_leaf | z_v = k], 0 for leaves that are not below v
    numbers = torch.arange(shape[-2], dtype=given.dtype, device=given.device)
    for position, leaf in enumerate(leaves):
        given[..., leaf, :, position] = numbers
    second = given.new_zeros((*shape[:-3], len(leaves), len(leaves)))
    for node in reversed(range(len(topology))):
        law = marginals[..., node, :, None]
        for child in topology.children[node]:
            through = transitions[..., child, :, :] @ given[..., child, :, :]
            given[..., node, :, :] += through
            second -= through.mT @ (law * through)  # pairs below one child part further down
        second += given[..., node, :, :].mT @ (law * given[..., node, :, :])
    mean = (marginals[..., :1, :] @ given[..., 0, :, :]).squeeze(-2)
    return LeafMoments(mean, second)


def product_states(counts: Sequence[int], device: torch.device) -> Int[Tensor, "configurations nodes"]:
    """Return all tuples of states, the last changing fastest.

    Raises:
        ValueError: If there are more than `MAX_CONFIGURATIONS`.
    """
    total = prod(counts)
    if total > MAX_CONFIGURATIONS:
        raise ValueError(
            f"the tree must have at most {MAX_CONFIGURATIONS} configurations to be enumerated, got {total}; "
            "enumerate a smaller tree or sample"
        )
    states = torch.empty(total, len(counts), dtype=torch.int64, device=device)
    block = total
    index = torch.arange(total, device=device)
    for column, count in enumerate(counts):
        block //= count
        states[:, column] = (index // block) % count
    return states
