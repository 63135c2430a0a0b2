"""Networks whose gates do not depend on the picture, the setting of the closed forms of T9."""

from __future__ import annotations

import torch

from ssl_theory.hltm.network import TreeNetwork
from ssl_theory.validation import require_generator, require_integer, require_real

__all__ = ["fix_gates"]


def fix_gates(net: TreeNetwork, level: int, *, off: float = 0.0, generator: torch.Generator) -> TreeNetwork:
    """Return a network with one sign for all weights into a hidden neuron, from the root's level to another.

    Pixels are 0 or 1 and activations not negative, so that such a neuron is on wherever it reads anything but
    0, or always off. The root is linear and keeps its weights.

    Args:
        net: The networks, without biases.
        level: The lowest level whose gates are fixed; 0 for the root's, where nothing changes.
        off: Probability that a neuron is always off; the first of each node stays on.
        generator: Source of randomness; numbers are drawn on its device.

    Returns:
        New networks with copies of the weights; below the level they are those of `net`.

    Raises:
        TypeError: If the level is not an integer, `off` not a number or the generator none.
        ValueError: If there is no such level, `off` is not between 0 and 1, or the networks have biases.
    """
    if net.biases is not None:
        raise ValueError("net must have no biases, it has some: they open gates where nothing is read")
    level = require_integer("level", level, 0, len(net.levels) - 1)
    off, generator = require_real("off", off), require_generator("generator", generator)
    if not 0.0 <= off <= 1.0:
        raise ValueError(f"off must be a probability between 0 and 1, got {off:g}")
    weights = {node: net.weight(node).detach() for node in net.topology.inner}
    for node in [node for part in net.levels[1 : level + 1] for node in part.nodes]:
        shape = weights[node].shape[:2]
        stays = torch.rand(shape, generator=generator, device=generator.device).to(weights[node]) >= off
        stays[:, 0] = True
        weights[node] = torch.where(stays, 1.0, -1.0).to(weights[node]).unsqueeze(-1) * weights[node].abs()
    return TreeNetwork(net.topology, weights, normalise=net.normalise)
