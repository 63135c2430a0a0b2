"""What one latent tree and an ensemble of trees have in common (T7).

Tables carry the leading dimensions *seeds: none for one tree, one for an ensemble. State k of node v given
state i of its parent has the probability transitions[…, v, i, k]; nodes with fewer states than others are
padded by zeros. All probabilities are float64.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from ssl_theory.hltm import sampling
from ssl_theory.hltm.beliefs import leaf_messages, posterior
from ssl_theory.hltm.moments import LeafMoments, leaf_moments, product_states
from ssl_theory.hltm.topology import Topology, span
from ssl_theory.validation import require_device, require_generator, require_integer

__all__ = [
    "LatentModel",
    "Triples",
]

Model = TypeVar("Model", bound="LatentModel")  # typing.Self, which the annotation hook does not know


@dataclass(frozen=True)
class Triples:
    """n triples (x1, x+, x-): two views of one object and one of each of H others, stored block by block.

    Args:
        states: Shape (*seeds, (2 + H)n, nodes).
        negatives: H.
    """

    states: Shaped[Tensor, "*seeds draws nodes"]
    negatives: int = 1

    @property
    def anchor(self) -> Shaped[Tensor, "*seeds n nodes"]:
        """x1."""
        return self.states[..., : self._count, :]

    @property
    def positive(self) -> Shaped[Tensor, "*seeds n nodes"]:
        """x+, which shares z_0 with x1."""
        return self.states[..., self._count : 2 * self._count, :]

    @property
    def negative(self) -> Shaped[Tensor, "*seeds Hn nodes"]:
        """x-, each with its own z_0: n first negatives, n second ones and so on."""
        return self.states[..., 2 * self._count :, :]

    @property
    def _count(self) -> int:
        return int(self.states.shape[-2]) // (2 + self.negatives)


class LatentModel:
    """The methods of latent trees; build a `CategoricalTree`, a `LatentTree` or a `TreeEnsemble`.

    Args:
        topology: The shape of the tree.
        root_law: P(z_0 = k), shape (*seeds, m).
        transitions: Shape (*seeds, nodes, m, m); the root's matrix is the identity.
        state_counts: Number of states of each node, m their largest.
        polarities: ρ of the edge above each node if all nodes have two states, else None.
    """

    topology: Topology
    root_law: Float[Tensor, "*seeds m"]
    transitions: Float[Tensor, "*seeds nodes m m"]
    state_counts: tuple[int, ...]

    def __init__(
        self,
        topology: Topology,
        root_law: Tensor,
        transitions: Tensor,
        state_counts: tuple[int, ...],
        polarities: Tensor | None,
    ) -> None:
        self.topology, self.state_counts = topology, state_counts
        self.root_law, self.transitions, self._polarities = root_law, transitions, polarities
        self._symmetric = polarities is not None and torch.equal(transitions, transitions.flip(-1, -2))

    @property
    def parents(self) -> tuple[int, ...]:
        """The parent of every node, −1 for the root."""
        return self.topology.parents

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.topology)

    @property
    def leaves(self) -> tuple[int, ...]:
        """The nodes without children."""
        return self.topology.leaves

    @property
    def device(self) -> torch.device:
        """Where the tables are."""
        return self.transitions.device

    @property
    def polarities(self) -> Float[Tensor, "*seeds nodes"]:
        """ρ_{μν} = P(z_ν=1|z_μ=1) − P(z_ν=1|z_μ=0) of the edge above each node ν; 1 for the root.

        Raises:
            ValueError: If a node has not two states.
        """
        self._require_two_states()
        assert self._polarities is not None
        return self._polarities

    @property
    def root_polarity(self) -> Float[Tensor, "*seeds"]:
        """ρ_0 = P(z_0 = 1) − P(z_0 = 0); ValueError unless all nodes have two states."""
        self._require_two_states()
        return self.root_law[..., 1] - self.root_law[..., 0]

    def to(self: Model, device: torch.device | str) -> Model:
        """Return the same model with its tables on `device`; ValueError if it is not there."""
        device = require_device("device", device)
        moved = copy.copy(self)
        moved.root_law, moved.transitions = self.root_law.to(device), self.transitions.to(device)
        moved._polarities = None if self._polarities is None else self._polarities.to(device)
        return moved

    # Drawing configurations

    def sample(
        self,
        n: int,
        *,
        generator: torch.Generator,
        root: int | Int[Tensor, "..."] | None = None,
        dtype: torch.dtype = torch.int64,
    ) -> Shaped[Tensor, "*seeds n nodes"]:
        """Draw configurations of all latents and leaves.

        Args:
            n: How many, at least 0.
            generator: Source of randomness; numbers are drawn on its device.
            root: z_0, one state for all draws or a state per draw; None draws it from the root law.
            dtype: Of the result.

        Returns:
            States on the generator's device, shape (*seeds, n, nodes), the root at 0. The memory behind it
            has the draws last: `.mT` is contiguous.

        Raises:
            TypeError: If n or the root is not an integer.
            ValueError: If n is negative, or the root is no state of z_0 or has another shape.
        """
        n = require_integer("n", n, 0)
        model = self._beside(generator)
        roots = model._draw_roots(n, generator) if root is None else model._given_roots(n, root)
        return model._descend(roots, generator).to(dtype).mT

    def views(
        self, n: int, *, generator: torch.Generator, count: int = 2, dtype: torch.dtype = torch.int64
    ) -> Shaped[Tensor, "count *seeds n nodes"]:
        """Draw n objects and `count` augmented views of each: one z_0, everything below it drawn anew.

        Args:
            n: Number of objects, at least 0.
            generator: Source of randomness.
            count: Views of an object, at least 1.
            dtype: Of the result.

        Returns:
            States, shape (count, *seeds, n, nodes).

        Raises:
            TypeError: If n or `count` is not an integer.
            ValueError: If n is negative or `count` is not positive.
        """
        n, count = require_integer("n", n, 0), require_integer("count", count, 1)
        model = self._beside(generator)
        roots = model._draw_roots(n, generator)
        states = model._descend(torch.cat([roots] * count, -1), generator).to(dtype)
        return torch.stack(states.mT.tensor_split(count, -2))

    def triples(
        self,
        n: int,
        *,
        negatives: int = 1,
        generator: torch.Generator,
        dtype: torch.dtype = torch.int64,
    ) -> Triples:
        """Draw n triples (x1, x+, x-): x1 and x+ share z_0, every x- has its own.

        Args:
            n: Number of triples, at least 0.
            negatives: H, how many x- each has.
            generator: Source of randomness.
            dtype: Of the states.

        Returns:
            2 + H blocks of states, each (*seeds, n, nodes).

        Raises:
            TypeError: If a number is not an integer.
            ValueError: If n is negative, or there is no negative.
        """
        n, negatives = require_integer("n", n, 0), require_integer("negatives", negatives, 1)
        model = self._beside(generator)
        objects = model._draw_roots((1 + negatives) * n, generator)
        roots = torch.cat([objects[..., :n], objects], -1)
        return Triples(model._descend(roots, generator).to(dtype).mT, negatives)

    def _beside(self: Model, generator: torch.Generator) -> Model:
        require_generator("generator", generator)
        return self if self.device == generator.device else self.to(generator.device)

    def _draw_roots(self, n: int, generator: torch.Generator) -> Tensor:
        if self._symmetric:
            return sampling.draw_flips(self.root_law[..., 0] - self.root_law[..., 1], n, generator)
        return sampling.draw_states(self.root_law, n, generator)

    def _given_roots(self, n: int, root: int | Tensor) -> Tensor:
        shape = (*self.root_law.shape[:-1], n)
        if isinstance(root, Tensor):
            if root.is_floating_point() or root.is_complex():
                raise TypeError(f"root must hold integers, got {root.dtype}")
            if root.shape not in ((n,), shape):
                raise ValueError(f"root must have shape ({n},) or {shape}, got {tuple(root.shape)}")
            if root.numel():
                require_integer("root", int(root.max()), 0, self.state_counts[0] - 1)
                require_integer("root", int(root.min()), 0, self.state_counts[0] - 1)
            return root.to(self.device, torch.int64).expand(shape)
        state = require_integer("root", root, 0, self.state_counts[0] - 1)
        return torch.full(shape, state, dtype=torch.int64, device=self.device)

    def _descend(self, roots: Tensor, generator: torch.Generator) -> Tensor:
        if self._symmetric:
            return sampling.descend_symmetric(self.topology, self.polarities, roots, generator)
        return sampling.descend_categorical(self.topology, self.transitions, roots, generator)

    # Exact sums and closed forms

    def enumerate(self) -> tuple[Int[Tensor, "configurations nodes"], Float[Tensor, "*seeds configurations"]]:
        """Return every configuration and its probability.

        Returns:
            States, int64, shape (configurations, nodes), the last node changing fastest; probabilities,
            float64, shape (*seeds, configurations).

        Raises:
            ValueError: If there are more than 2^22 configurations.
        """
        states = product_states(self.state_counts, self.device)
        size = self.transitions.shape[-1]
        probabilities = self.root_law[..., states[:, 0]]
        for node, parent in enumerate(self.parents[1:], start=1):
            entries = states[:, parent] * size + states[:, node]
            probabilities = probabilities * self.transitions[..., node, :, :].flatten(-2)[..., entries]
        return states, probabilities

    def enumerate_leaves(self) -> Int[Tensor, "configurations leaves"]:
        """Return every configuration of the leaves alone, int64; ValueError if there are more than 2^22."""
        return product_states([self.state_counts[v] for v in self.leaves], self.device)

    def path_transition(self, node: int) -> Float[Tensor, "*seeds m_0 m_node"]:
        """Return P_{0,node} = Π P along the path from the root: the law of z_node given z_0, row by row.

        Raises:
            TypeError: If the node is not an integer.
            ValueError: If there is no such node.
        """
        return self.conditional_law(node, given=0)

    def path_polarity(self, node: int) -> Float[Tensor, "*seeds"]:
        """Return ρ_{0,node} = P(z=1|z_0=1) − P(z=1|z_0=0) = Π ρ on the path from the root; 1 for the root.

        Args:
            node: Any node.

        Returns:
            float64, a scalar for one tree, shape (S,) for an ensemble.

        Raises:
            TypeError: If the node is not an integer.
            ValueError: If there is no such node, or a node has not two states.
        """
        node = self.topology.check_node("node", node)
        return self.polarities[..., list(self.topology.path(0, node))].prod(-1)

    def path_polarities(self) -> Float[Tensor, "*seeds nodes"]:
        """Return ρ_{0,ν} of every node ν; ValueError if a node has not two states."""
        along = self.polarities.clone()
        for level in self.topology.levels[1:]:
            along[..., span(level)] *= along[..., list(self.topology.parents_of(level))]
        return along

    def marginals(self) -> Float[Tensor, "*seeds nodes m"]:
        """Return P(z_v = k) of every node, padded by zeros where a node has fewer states."""
        marginals = self.root_law.unsqueeze(-2).repeat_interleave(self.nodes, -2)
        for level in self.topology.levels[1:]:
            above = marginals[..., list(self.topology.parents_of(level)), :]
            step = torch.einsum("...vi,...vik->...vk", above, self.transitions[..., span(level), :, :])
            marginals[..., span(level), :] = step
        return marginals

    def joint_law(self, first: int, second: int) -> Float[Tensor, "*seeds m_first m_second"]:
        """Return P(z_first = i, z_second = k) of any two nodes.

        Raises:
            TypeError: If a node is not an integer.
            ValueError: If there is no such node.
        """
        first = self.topology.check_node("first", first)
        second = self.topology.check_node("second", second)
        top = self.topology.common_ancestor(first, second)
        law = self.marginals()[..., top, :].unsqueeze(-1)
        joint = self._down(top, first).mT @ (law * self._down(top, second))
        return joint[..., : self.state_counts[first], : self.state_counts[second]]

    def conditional_law(self, node: int, given: int) -> Float[Tensor, "*seeds m_given m_node"]:
        """Return P(z_node = k | z_given = i) of any two nodes, up, down or across the tree.

        Args:
            node: The node whose law is wanted.
            given: The node that is known.

        Returns:
            float64, one row for each state of `given`. Below `given` every row is a product of transition
            matrices; elsewhere a state of probability 0 has a row of NaN, for its law is not defined.

        Raises:
            TypeError: If a node is not an integer.
            ValueError: If there is no such node.
        """
        node = self.topology.check_node("node", node)
        given = self.topology.check_node("given", given)
        if self.topology.common_ancestor(node, given) == given:
            down = self._down(given, node)
            return down[..., : self.state_counts[given], : self.state_counts[node]]
        joint = self.joint_law(given, node)
        return joint / joint.sum(-1, keepdim=True)

    def root_variance(self, node: int, means: Float[Tensor, "... m_node k"]) -> Float[Tensor, "*seeds k k"]:
        """Return V_{z_0}[E[g | z_0]] = Mᵀ P_{0μ}ᵀ (diag π − ππᵀ) P_{0μ} M for g of the subtree of μ (T7).

        Its rank is at most the smallest number of states on the path, minus one.

        Args:
            node: μ.
            means: M, the rows E[g | z_μ = i], float64.

        Returns:
            float64, symmetric, positive semidefinite.

        Raises:
            TypeError: If the node is not an integer.
            ValueError: If there is no such node, or M has not one row for each of its states.
        """
        node = self.topology.check_node("node", node)
        if means.ndim < 2 or means.shape[-2] != self.state_counts[node]:
            raise ValueError(
                f"means must have shape (…, {self.state_counts[node]}, k), a row for each state of node "
                f"{node}, got {tuple(means.shape)}"
            )
        law = self.root_law[..., : self.state_counts[0]]
        given_root = self.path_transition(node) @ means
        centred = given_root - law.unsqueeze(-2) @ given_root
        return centred.mT @ (law.unsqueeze(-1) * centred)

    def leaf_moments(self) -> LeafMoments:
        """Return E[z_a] and E[z_a z_b] of all leaves, their states read as numbers from 0."""
        return leaf_moments(self.topology, self.transitions, self.marginals())

    def _down(self, ancestor: int, node: int) -> Tensor:
        size = self.transitions.shape[-1]
        product = torch.eye(size, dtype=torch.float64, device=self.device).expand(
            *self.root_law.shape[:-1], size, size
        )
        for step in self.topology.path(ancestor, node):
            product = product @ self.transitions[..., step, :, :]
        return product

    def _require_two_states(self) -> None:
        if self._polarities is None:
            raise ValueError(
                f"polarities belong to nodes of two states, got state counts {self.state_counts}"
            )

    # Inference from the leaves

    def likelihoods(self, leaves: Int[Tensor, "... n leaves"]) -> Float[Tensor, "*seeds n nodes m"]:
        """Return P(leaves below v | z_v = k) of every node v, by messages passed upwards.

        Args:
            leaves: States of the leaves in the order of `tree.leaves`, shape (n, leaves) or, for an
                ensemble, also (S, n, leaves).

        Returns:
            float64, shape (*seeds, n, nodes, m), 0 for padded states.

        Raises:
            TypeError: If the states are not integers.
            ValueError: If the last dimension is not the number of leaves, or a state does not exist.
        """
        messages, scale = leaf_messages(self.topology, self.transitions, self._checked_leaves(leaves))
        return (messages + scale.unsqueeze(-2)).exp().movedim(-1, -3)

    def beliefs(self, leaves: Int[Tensor, "... n leaves"]) -> Float[Tensor, "*seeds n nodes m"]:
        """Return P(z_v = k | leaves below v) of every node v; its prior is the node's own marginal.

        Exact for every polarity, 0 and ±1 included.

        Args:
            leaves: As in `likelihoods`.

        Returns:
            float64, shape (*seeds, n, nodes, m).

        Raises:
            TypeError: If the states are not integers.
            ValueError: If the shape or a state is wrong, or a configuration of the leaves has probability 0.
        """
        messages, _ = leaf_messages(self.topology, self.transitions, self._checked_leaves(leaves))
        return posterior(messages, self.marginals()).movedim(-1, -3)

    def belief_means(self, leaves: Int[Tensor, "... n leaves"]) -> Float[Tensor, "*seeds n nodes"]:
        """Return m_v = E[2 z_v − 1 | leaves below v] of every node; two states only, else as `beliefs`."""
        self._require_two_states()
        beliefs = self.beliefs(leaves)
        return beliefs[..., 1] - beliefs[..., 0]

    def _checked_leaves(self, leaves: Tensor) -> Tensor:
        if leaves.is_floating_point() or leaves.is_complex():
            raise TypeError(f"leaves must hold integer states, got {leaves.dtype}")
        seeds = self.root_law.shape[:-1]
        if leaves.ndim < 2 or leaves.shape[-1] != len(self.leaves) or leaves.shape[:-2] not in ((), seeds):
            expected = (*seeds, "n", len(self.leaves))
            raise ValueError(f"leaves must have shape {expected}, got {tuple(leaves.shape)}")
        counts = torch.tensor([self.state_counts[v] for v in self.leaves], device=leaves.device)
        if bool(((leaves < 0) | (leaves >= counts)).any()):
            raise ValueError(f"leaves must hold states from 0 to {int(counts.max()) - 1}, got others")
        return leaves.to(self.device, torch.int64).expand(*seeds, *leaves.shape[-2:])
