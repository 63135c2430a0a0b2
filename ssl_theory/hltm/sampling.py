"""Drawing configurations of latent trees: all nodes of a level, all draws and all trees at once.

States are kept with the nodes before the draws, (*seeds, nodes, n), so that a level is a block of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Float, Int, Int16, Shaped, UInt8
from torch import Tensor

from ssl_theory.hltm.topology import Topology, span

__all__: list[str] = []

WORD = 2**16


def descend_symmetric(
    topology: Topology,
    polarities: Float[Tensor, "*seeds nodes"],
    root: Shaped[Tensor, "*seeds n"],
    generator: torch.Generator,
) -> UInt8[Tensor, "*seeds nodes n"]:
    """Draw binary states below given roots: a child copies its parent or, with probability (1−ρ)/2, flips.

    Args:
        topology: The tree.
        polarities: ρ of the edge above each node; the root's entry is not used.
        root: z_0, integers.
        generator: Source of randomness, on the device of the other tensors.

    Returns:
        The states of all nodes, one byte each.
    """
    states = draw_flips(polarities, root.shape[-1], generator)
    states[..., 0, :] = root
    for children, parents, each in topology.generations:
        if each:  # no copy of the parents, and no index that a GPU would have to wait for
            above, below = states[..., parents, :], states[..., children, :]
            pairs = below.view(*above.shape[:-1], each, above.shape[-1])
            pairs ^= above.unsqueeze(-2)
        else:
            states[..., children, :] ^= states[..., parents, :]
    return states


def draw_flips(
    polarities: Float[Tensor, "*edges"], n: int, generator: torch.Generator
) -> UInt8[Tensor, "*edges n"]:
    """Return whether the ends of an edge differ, which has probability (1−ρ)/2, drawn n times for every edge.

    The rarer outcome, of probability p = (1−|ρ|)/2 ≤ ½, is compared with 16 random bits, then a negative
    sign turns all outcomes round. The threshold, a multiple of 2⁻¹⁶, is p rounded up or down at random, anew
    for every edge and call, with mean p: so each outcome has its probability exactly, and the price is a
    covariance of at most 2⁻³⁴ between two outcomes of one call. Where p is a multiple of 2⁻¹⁶, as at ρ = 0
    and ±1, nothing is rounded.
    """
    rare = (1.0 - polarities.abs()) / 2.0
    dither = torch.rand(rare.shape, dtype=rare.dtype, device=rare.device, generator=generator)
    thresholds = flip_thresholds(rare, dither)
    rarer = random_words((*polarities.shape, n), generator) < thresholds.unsqueeze(-1)
    # torch broadcasts the exclusive or of bytes fast, that of booleans slowly
    return rarer.view(torch.uint8) ^ (polarities < 0).view(torch.uint8).unsqueeze(-1)


def flip_thresholds(
    probability: Float[Tensor, "*edges"], dither: Float[Tensor, "*edges"]
) -> Int16[Tensor, "*edges"]:
    """Return T of which a random 16-bit integer is smaller with a probability p ≤ ½, rounded by the dither.

    For a dither uniform in [0, 1) the mean of that rounded probability is p.
    """
    return torch.add(dither, probability, alpha=WORD).floor_().sub_(WORD // 2).to(torch.int16)


def random_words(shape: Sequence[int], generator: torch.Generator) -> Int[Tensor, "..."]:
    """Return uniform 16-bit integers, drawn 64 bits at a time."""
    count = prod(shape)
    blocks = torch.empty(-(-count // 4), dtype=torch.int64, device=generator.device)
    blocks.random_(-(2**63), None, generator=generator)
    return blocks.view(torch.int16)[:count].view(*shape)


def descend_categorical(
    topology: Topology,
    transitions: Float[Tensor, "*seeds nodes m m"],
    root: Int[Tensor, "*seeds n"],
    generator: torch.Generator,
) -> Int[Tensor, "*seeds nodes n"]:
    """Draw states below given roots from the rows of the transition matrices.

    Args:
        topology: The tree.
        transitions: P(z_v = k | z_parent = i) at [v, i, k].
        root: z_0.
        generator: Source of randomness, on the device of the other tensors.

    Returns:
        The states of all nodes, int64.
    """
    bounds = inner_bounds(transitions)
    states = root.new_empty((*transitions.shape[:-2], root.shape[-1]))
    states[..., 0, :] = root
    for level in topology.levels[1:]:
        parents = states[..., list(topology.parents_of(level)), :]
        rows = torch.take_along_dim(bounds[..., span(level), :, :], parents.unsqueeze(-1), -2)
        states[..., span(level), :] = pick(rows, generator)
    return states


def draw_states(
    law: Float[Tensor, "*seeds m"], n: int, generator: torch.Generator
) -> Int[Tensor, "*seeds n"]:
    """Return n states drawn from each law."""
    rows = inner_bounds(law).unsqueeze(-2)
    return pick(rows.expand(*law.shape[:-1], n, rows.shape[-1]), generator)


def inner_bounds(law: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch m-1"]:
    """Return the inner bounds of the intervals of [0, 1) that stand for the states.

    A bound with no probability beyond it is moved out of reach: rounding must never let a state of
    probability 0 be drawn.
    """
    beyond = law.flip(-1).cumsum(-1).flip(-1)[..., 1:]
    return torch.where(beyond > 0.0, law.cumsum(-1)[..., :-1], 2.0)


def pick(bounds: Float[Tensor, "*batch k"], generator: torch.Generator) -> Int[Tensor, "*batch"]:
    """Return how many bounds a uniform number, one per row, has reached."""
    uniform = torch.rand(
        (*bounds.shape[:-1], 1), dtype=bounds.dtype, device=bounds.device, generator=generator
    )
    return (uniform >= bounds).sum(-1)
