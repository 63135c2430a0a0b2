"""The shape of a rooted tree: who is whose parent, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from ssl_theory.validation import require_integer

__all__ = [
    "Topology",
]

_MAX_NODES = 2**24


class Generation(NamedTuple):
    """The nodes of one level below the root and where their parents stand."""

    children: slice | list[int]
    """The nodes."""
    parents: slice | list[int]
    """Their parents: each once where `each` is not 0, else one entry per child."""
    each: int
    """Children of every parent if nodes and parents are consecutive, so that a reshape pairs them; else 0."""


@dataclass(frozen=True)
class Topology:
    """A rooted tree, given by the parent of every node.

    Args:
        parents: parents[0] = −1 marks the root; parents[v] < v for every other node v.

    Raises:
        TypeError: If an entry is not an integer.
        ValueError: If there is no node, no root at 0, a second root, an unknown parent, a cycle, or a
            parent that stands after its child.
    """

    parents: tuple[int, ...]

    def __init__(self, parents: Sequence[int] | Tensor) -> None:
        object.__setattr__(self, "parents", _checked(parents))

    @classmethod
    def regular(cls, depth: int, branching: int) -> Topology:
        """Return the tree in which every node above level `depth` has `branching` children.

        Args:
            depth: Number of edges from the root to a leaf, at least 0.
            branching: Children of an inner node, at least 1.

        Returns:
            The tree, its nodes numbered level by level.

        Raises:
            TypeError: If an argument is not an integer.
            ValueError: If an argument is out of range, or the tree would have more than 2^24 nodes.
        """
        inner = regular_size(depth, branching)[1]
        return cls([-1, *(v for v in range(inner) for _ in range(branching))])

    def __len__(self) -> int:
        return len(self.parents)

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """The children of every node, in ascending order."""
        below: list[list[int]] = [[] for _ in self.parents]
        for node, parent in enumerate(self.parents[1:], start=1):
            below[parent].append(node)
        return tuple(map(tuple, below))

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """The nodes without children: the pixels. A single root is a leaf."""
        return tuple(v for v, below in enumerate(self.children) if not below)

    @cached_property
    def inner(self) -> tuple[int, ...]:
        """The nodes with children."""
        return tuple(v for v, below in enumerate(self.children) if below)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Number of edges between the root and each node."""
        depths = [0]
        for parent in self.parents[1:]:
            depths.append(depths[parent] + 1)
        return tuple(depths)

    @cached_property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """The nodes by their depth, the root's level first."""
        levels: list[list[int]] = [[] for _ in range(max(self.depths) + 1)]
        for node, depth in enumerate(self.depths):
            levels[depth].append(node)
        return tuple(map(tuple, levels))

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        """The levels below the root, from the top."""
        return tuple(self._generation(level) for level in self.levels[1:])

    def _generation(self, level: Sequence[int]) -> Generation:
        above = sorted({self.parents[v] for v in level})
        each = len(level) // len(above)
        paired = self.parents_of(level) == tuple(v for v in above for _ in range(each))
        children, parents = span(level), span(above)
        if paired and isinstance(children, slice) and isinstance(parents, slice):
            return Generation(children, parents, each)
        return Generation(children, list(self.parents_of(level)), 0)

    @cached_property
    def inner_levels(self) -> tuple[tuple[int, ...], ...]:
        """The inner nodes by their depth; none for a single root."""
        levels = (tuple(v for v in level if self.children[v]) for level in self.levels)
        return tuple(level for level in levels if level)

    def parents_of(self, nodes: Sequence[int]) -> tuple[int, ...]:
        """Return the parent of each of `nodes`."""
        return tuple(self.parents[v] for v in nodes)

    def path(self, ancestor: int, node: int) -> tuple[int, ...]:
        """Return the nodes below `ancestor` on the way down to `node`, which must lie in its subtree."""
        steps = []
        while node != ancestor:
            steps.append(node)
            node = self.parents[node]
        return tuple(reversed(steps))

    def common_ancestor(self, first: int, second: int) -> int:
        """Return the lowest node whose subtree holds both nodes."""
        while first != second:
            first, second = min(first, second), self.parents[max(first, second)]
        return first

    def leaves_below(self, node: int) -> tuple[int, ...]:
        """Return the leaves in the subtree of `node`."""
        return tuple(v for v in self.leaves if self.common_ancestor(v, node) == node)

    def check_node(self, name: str, node: int) -> int:
        """Return `node` if it is one of the tree's, else raise TypeError or ValueError naming `name`."""
        return require_integer(name, node, 0, len(self) - 1)


def regular_size(depth: int, branching: int) -> tuple[int, int]:
    """Return how many nodes and how many inner nodes `Topology.regular` has, without building it.

    Raises:
        TypeError: If an argument is not an integer.
        ValueError: As for `Topology.regular`.
    """
    depth = require_integer("depth", depth, 0)
    branching = require_integer("branching", branching, 1)
    if depth > _MAX_NODES or branching ** min(depth, _MAX_NODES.bit_length()) > _MAX_NODES:
        raise ValueError(
            f"depth and branching must give at most {_MAX_NODES} nodes, got {branching}^{depth} leaves"
        )
    inner = depth if branching == 1 else (branching**depth - 1) // (branching - 1)
    return inner + branching**depth, inner


def span(nodes: Sequence[int]) -> slice | list[int]:
    """Return an index for `nodes`: a slice, which costs no copy, where they are consecutive."""
    if list(nodes) == list(range(nodes[0], nodes[0] + len(nodes))):
        return slice(nodes[0], nodes[0] + len(nodes))
    return list(nodes)


def _checked(parents: Sequence[int] | Tensor) -> tuple[int, ...]:
    entries = parents.tolist() if isinstance(parents, Tensor) else list(parents)
    if not entries:
        raise ValueError("parents must hold at least the root, got an empty sequence")
    last = len(entries) - 1
    checked = tuple(require_integer(f"parents[{v}]", p, -1, last) for v, p in enumerate(entries))
    if checked[0] != -1:
        raise ValueError(f"parents[0] must be −1, the root stands first, got {checked[0]}")
    for node, parent in enumerate(checked[1:], start=1):
        if parent == -1:
            raise ValueError(f"parents must have one root, node 0, got a second one: parents[{node}] = −1")
        if parent >= node:
            reason = "parents must have no cycle" if _on_cycle(checked, node) else "a parent must stand first"
            raise ValueError(f"{reason}: parents[v] < v for every node, got parents[{node}] = {parent}")
    return checked


def _on_cycle(parents: tuple[int, ...], start: int) -> bool:
    seen: set[int] = set()
    node = start
    while node not in seen and node != -1:
        seen.add(node)
        node = parents[node]
    return node != -1
