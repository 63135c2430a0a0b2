"""Latent trees: categorical ones and the symmetric binary case (T7).

Source: Tian, Yu, Chen and Ganguli, arXiv:2010.00578, on hierarchical latent tree models.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.hltm.model import LatentModel
from ssl_theory.hltm.topology import Topology
from ssl_theory.validation import require_generator, require_integer, require_real

__all__ = [
    "CategoricalTree",
    "LatentTree",
    "small_tree",
]

_ROUNDING = 1e-6  # a law may miss its sum by what float32 loses; it is then divided by its sum


class CategoricalTree(LatentModel):
    """A latent tree with any number of states and any transition matrix on each edge.

    Args:
        parents: parents[0] = −1 marks the root; parents[v] < v for every other node.
        transitions: One matrix per node, transitions[v][i, k] = P(z_v = k | z_parent = i), of shape
            (states of the parent, states of v); transitions[0] is not used and may be None.
        root_law: P(z_0 = k), shape (m_0,).

    Raises:
        TypeError: If a parent is not an integer, or a law is no array of numbers.
        ValueError: If the parents form no tree, a matrix has the wrong shape, or a law has negative or NaN
            entries or does not sum to 1.
    """

    def __init__(
        self,
        parents: Sequence[int] | Tensor,
        transitions: Sequence[Tensor | Sequence[Sequence[float]] | None],
        root_law: Tensor | Sequence[float],
    ) -> None:
        topology = Topology(parents)
        if len(transitions) != len(topology):
            raise ValueError(
                f"transitions must hold one entry per node, {len(topology)}, got {len(transitions)}"
            )
        root = _laws("root_law", root_law, ndim=1)
        matrices = [torch.eye(len(root), dtype=torch.float64)]
        for node, parent in enumerate(topology.parents[1:], start=1):
            matrix = _laws(f"transitions[{node}]", transitions[node], ndim=2)
            if len(matrix) != matrices[parent].shape[-1]:
                raise ValueError(
                    f"transitions[{node}] must have one row for each of the {matrices[parent].shape[-1]} "
                    f"states of node {parent}, got shape {tuple(matrix.shape)}"
                )
            matrices.append(matrix)
        counts = tuple(matrix.shape[-1] for matrix in matrices)
        size = max(counts)
        table = torch.stack([_padded(matrix, size) for matrix in matrices])
        polarities = table[:, 1, 1] - table[:, 0, 1] if set(counts) == {2} else None
        super().__init__(topology, _padded(root, size), table, counts, polarities)

    @classmethod
    def regular(
        cls, depth: int, branching: int = 2, *, states: int = 3, generator: torch.Generator
    ) -> CategoricalTree:
        """Draw a tree with `states` states per node and laws uniform on the simplex.

        Args:
            depth: Edges from the root to each leaf, at least 0.
            branching: Children of an inner node, at least 1.
            states: States of every node, at least 1.
            generator: Source of randomness; numbers are drawn on its device, the tree lives on the CPU.

        Returns:
            The tree.

        Raises:
            TypeError: If an argument is not an integer, or the generator none.
            ValueError: If an argument is out of range.
        """
        topology = Topology.regular(depth, branching)
        states, generator = require_integer("states", states, 1), require_generator("generator", generator)
        shape = (len(topology) + 1, states, states)
        draw = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device).cpu()
        laws = -torch.log1p(-draw)
        laws = laws / laws.sum(-1, keepdim=True)
        return CategoricalTree(topology.parents, list(laws[:-1]), laws[-1, 0])


class LatentTree(CategoricalTree):
    """The symmetric binary latent tree, SB-HLTM: P(z_v = z_parent) = (1 + ρ_v)/2, P(z_0 = 1) = (1 + ρ_0)/2.

    Args:
        parents: parents[0] = −1 marks the root; parents[v] < v for every other node.
        polarities: ρ_v ∈ [−1, 1] of the edge above each node, shape (nodes,); polarities[0] is not used, a
            1 is stored in its place.
        root_polarity: ρ_0 ∈ [−1, 1].

    Raises:
        TypeError: If a parent is not an integer or a polarity is not a real number.
        ValueError: If the parents form no tree, there is not one polarity per node, or one lies outside
            [−1, 1].
    """

    def __init__(
        self,
        parents: Sequence[int] | Tensor,
        polarities: Tensor | Sequence[float],
        root_polarity: float | Tensor = 0.0,
    ) -> None:
        topology = Topology(parents)
        edges = _numbers("polarities", polarities)
        if edges.shape != (len(topology),):
            raise ValueError(
                f"polarities must have shape ({len(topology)},), one per node, got {tuple(edges.shape)}"
            )
        edges[0] = 1.0
        _check_polarities("polarities", edges)
        root = _numbers("root_polarity", root_polarity)
        if root.ndim:
            raise ValueError(f"root_polarity must be one number, got shape {tuple(root.shape)}")
        _check_polarities("root_polarity", root)
        same, other = (1.0 + edges) / 2.0, (1.0 - edges) / 2.0
        matrices = torch.stack([torch.stack([same, other], -1), torch.stack([other, same], -1)], -2)
        super().__init__(topology.parents, list(matrices), torch.stack([(1.0 - root) / 2, (1.0 + root) / 2]))
        self._polarities, self._root_polarity = edges, root

    @property
    def root_polarity(self) -> Float[Tensor, ""]:
        """ρ_0."""
        return self._root_polarity.to(self.device)

    @classmethod
    def regular(  # type: ignore[override]  # a binary tree is drawn from other parameters
        cls,
        depth: int,
        branching: int = 2,
        *,
        polarity: tuple[float, float],
        root_polarity: float = 0.0,
        generator: torch.Generator,
    ) -> LatentTree:
        """Draw a tree with |ρ| uniform in an interval and random signs.

        Args:
            depth: Edges from the root to each leaf, at least 0.
            branching: Children of an inner node, at least 1.
            polarity: (low, high) with 0 ≤ low ≤ high ≤ 1.
            root_polarity: ρ_0.
            generator: Source of randomness; numbers are drawn on its device, the tree lives on the CPU.

        Returns:
            The tree, its nodes numbered level by level.

        Raises:
            TypeError: If depth or branching is not an integer, or a polarity is not a real number.
            ValueError: If an argument is out of range.
        """
        topology = Topology.regular(depth, branching)
        require_generator("generator", generator)
        if not isinstance(polarity, Sequence) or len(polarity) != 2:
            raise ValueError(f"polarity must be a pair (low, high), got {polarity}")
        low, high = require_real("polarity[0]", polarity[0]), require_real("polarity[1]", polarity[1])
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"polarity must satisfy 0 ≤ low ≤ high ≤ 1, got ({low}, {high})")
        shape = (2, len(topology))
        draw = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device).cpu()
        sizes = low + (high - low) * draw[0]
        return LatentTree(topology.parents, torch.where(draw[1] < 0.5, sizes, -sizes), root_polarity)


def small_tree() -> LatentTree:
    """Return the small tree of the book: eight pixels, two children a node, polarities from 0.75 to 0.9.

    Its root is uniform. What a pixel has left of it is a product of three polarities, between 0.51 and 0.65.

    Example:
        >>> from ssl_theory.hltm import small_tree
        >>> small_tree().path_polarities()[[7, 14]]
        tensor([0.6480, 0.5419], dtype=torch.float64)
    """
    edges = [1.0, 0.8, 0.75, 0.9, 0.85, 0.8, 0.85, *[0.9, 0.85] * 4]
    return LatentTree(Topology.regular(3, 2).parents, edges)


def _padded(value: Tensor, size: int) -> Tensor:
    table = value.new_zeros([size] * value.ndim)
    table[tuple(slice(n) for n in value.shape)] = value
    return table


def _numbers(name: str, value: object) -> Tensor:
    """Return a float64 copy of an array of numbers on the CPU."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a real number, got {value}")
    if isinstance(value, Tensor):
        if value.is_complex() or value.dtype == torch.bool:
            raise TypeError(f"{name} must hold real numbers, got {value.dtype}")
        return value.detach().to("cpu", torch.float64, copy=True)
    try:
        return torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be an array of real numbers, got {value!r}") from error


def _laws(name: str, value: object, ndim: int) -> Tensor:
    """Return probabilities along the last dimension, float64, after checking and dividing by their sum."""
    laws = _numbers(name, value)
    if laws.ndim != ndim or 0 in laws.shape:
        raise ValueError(
            f"{name} must have {ndim} non-empty dimensions of states, got shape {tuple(laws.shape)}"
        )
    if not bool((laws >= 0.0).all()):
        raise ValueError(f"{name} must hold probabilities, got negative or NaN entries")
    sums = laws.sum(-1, keepdim=True)
    if not bool(((sums - 1.0).abs() <= _ROUNDING).all()):
        worst = float(sums.flatten()[(sums - 1.0).abs().argmax()])
        raise ValueError(f"{name} must sum to 1 along its rows, got a sum of {worst:g}")
    return laws / sums


def _check_polarities(name: str, value: Tensor) -> None:
    inside = (value >= -1.0) & (value <= 1.0)
    if not bool(inside.all()):
        place = int((~inside).int().argmax())
        entry = f"{name}[{place}]" if value.ndim else name
        raise ValueError(f"{entry} must lie in [−1, 1], got {float(value.flatten()[place])}")
